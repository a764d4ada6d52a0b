"""Index upkeep: progress of its creation, interrupted creation, VACUUM and ANALYZE after a build."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from omop_emb import IndexType
from omop_emb.database.engine import driver_connection
from omop_emb.indexing.build import build_index
from omop_emb.indexing.finish import report_index_progress
from omop_emb.indexing.report import Phase, Progress
from omop_emb.spaces import registry
from tests.small_vocabulary import ConceptRow, SmallVocabulary, counting_client, five_concepts


@pytest.fixture
def vocabulary(engine: Engine, tmp_path: Path) -> SmallVocabulary:
    return five_concepts(engine, tmp_path)


def test_the_progress_of_an_index_is_reported_while_it_is_built(
    engine: Engine, connection: psycopg.Connection
) -> None:
    connection.execute("create temporary table many (embedding vector(32))")
    connection.execute(
        "insert into many select array(select random() from generate_series(1, 32) where row > 0)::vector "
        "from generate_series(1, 4000) row"
    )
    reported: list[Progress] = []
    with report_index_progress(engine, connection, reported.append, seconds=0.02):
        connection.execute("create index on many using hnsw (embedding vector_cosine_ops)")
    fractions = [progress.fraction for progress in reported if progress.fraction is not None]
    assert {progress.phase for progress in reported} == {Phase.FINISH}
    assert fractions == sorted(fractions)
    assert 0 < fractions[-1] <= 1


def test_the_work_goes_on_if_progress_cannot_be_read(
    engine: Engine, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omop_emb.indexing.finish.read", lambda name: "select nonsense")
    reported: list[Progress] = []
    with report_index_progress(engine, connection, reported.append, seconds=0.01):
        connection.execute("select pg_sleep(0.2)")
    assert reported == []


def test_an_index_whose_creation_was_interrupted_is_built_again(
    engine: Engine, vocabulary: SmallVocabulary, database_url: str
) -> None:
    build_index(engine, counting_client(), index_type=IndexType.HNSW)
    with (
        psycopg.connect(database_url, autocommit=True) as connection,
        psycopg.connect(database_url) as writer,
    ):
        connection.execute("drop index omop_emb.space_1_hnsw")
        # As an administrator would make it, beside writers; it waits for one of them, and is given up.
        writer.execute("lock table omop_emb.space_1 in row exclusive mode")
        connection.execute("set statement_timeout = '1s'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(
                "create index concurrently space_1_hnsw on omop_emb.space_1 "
                "using hnsw (embedding halfvec_cosine_ops)"
            )
        writer.rollback()
        connection.execute("set statement_timeout = 0")
        valid = "select indisvalid from pg_index where indexrelid = 'omop_emb.space_1_hnsw'::regclass"
        assert connection.execute(valid).fetchone() == (False,)
        report = build_index(engine, counting_client(), index_type=IndexType.HNSW)
        assert (report.index_made, report.embedded) == (True, 0)
        assert connection.execute(valid).fetchone() == (True,)


@pytest.mark.parametrize("index_type", IndexType)
def test_a_build_that_changed_rows_leaves_its_tables_vacuumed_unless_that_is_dear(
    engine: Engine, vocabulary: SmallVocabulary, database_url: str, index_type: IndexType
) -> None:
    # What VACUUM could achieve depends on transactions of others, such as autovacuum's.
    def done() -> list[tuple[int, int]]:
        with psycopg.connect(database_url) as connection:
            return connection.execute(
                "select vacuum_count, analyze_count from pg_stat_user_tables "
                "where relname in ('space_1', 'space_1_text') order by relname"
            ).fetchall()

    build_index(engine, counting_client(), index_type=index_type)
    after_first = done()
    assert len(after_first) == 2
    assert all(vacuumed and analysed for vacuumed, analysed in after_first)
    vocabulary.load(ConceptRow(6, "Asthma"), without=[4])
    build_index(engine, counting_client(), index_type=index_type)
    (rows_vacuumed, *_), _ = changes = [
        tuple(count > earlier for earlier, count in zip(before, after, strict=True))
        for before, after in zip(after_first, done(), strict=True)
    ]
    # Deleted rows leave an HNSW index only at the cost of building it: autovacuum does that, in its time.
    assert rows_vacuumed is (index_type is IndexType.FLAT)
    assert changes[0][1]
    assert changes[1] == (True, True)
    with engine.connect() as connection:
        assert [space.has_index for space in registry.all_spaces(driver_connection(connection))] == [
            index_type is IndexType.HNSW
        ]
