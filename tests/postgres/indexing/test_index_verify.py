"""index verify: it passes a built space, and finds each thing that is broken by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from omop_emb import EmbeddingInterface, IndexType, database_engine
from omop_emb.database.engine import driver_connection
from omop_emb.errors import ProviderError, SpaceNotFoundError
from omop_emb.indexing.build import build_index
from omop_emb.indexing.verify import Check, verify_index
from omop_emb.spaces import registry
from tests.builds import build_with
from tests.small_vocabulary import (
    ConceptRow,
    CountingProvider,
    SmallVocabulary,
    counting_client,
    five_concepts,
)

BREAKAGE = {
    "rows": "delete from omop_emb.space_1_text where text = 'HTN'",
    "rows of the other table": "delete from omop_emb.space_1 where concept_id = 3",
    "hashes": "update omop_emb.space_1 set text_hash = 1 where concept_id = 3;"
    "update omop_emb.space_1_text set text_hash = 1 where concept_id = 3",
    "vectors": "update omop_emb.space_1 set embedding = '[2,0,0,0,0,0,0,0]' where concept_id = 3",
    "index": "drop index omop_emb.space_1_hnsw",
    "index that is invalid": "update pg_index set indisvalid = false "
    "where indexrelid = 'omop_emb.space_1_hnsw'::regclass",
    "vocabulary": "update omop_emb.space_1_text set domain_id = 'Device' where concept_id = 3",
    "model": "update omop_emb.space_1 set embedding = '[1,0,0,0,0,0,0,0]' where concept_id = 3",
}
# What else is told of the same breakage.
ALSO = {
    "hashes": {"vocabulary"},
    "vectors": {"model"},
    "index": {"recall"},
    "index that is invalid": {"recall"},
}


@pytest.fixture
def vocabulary(engine: Engine, tmp_path: Path) -> SmallVocabulary:
    return five_concepts(engine, tmp_path)


def run(engine: Engine, sql: str) -> None:
    with engine.connect() as connection:
        driver_connection(connection).execute(sql.encode())
        driver_connection(connection).commit()


def failed(engine: Engine, **options: object) -> dict[str, Check]:
    options.setdefault("client", counting_client())
    checks = list(verify_index(engine, **options))  # type: ignore[arg-type]  # the options of verify_index()
    assert all(check.details and bool(check.next_step) is not check.ok for check in checks)
    return {check.check: check for check in checks if not check.ok}


@pytest.mark.parametrize("index_type", IndexType)
@pytest.mark.parametrize("template", ["", "{text} ({domain_id})"])
def test_a_built_space_passes_and_every_text_is_compared(
    engine: Engine, vocabulary: SmallVocabulary, index_type: IndexType, template: str
) -> None:
    build_with(engine, counting_client(), index_type=index_type, template=template)
    provider = CountingProvider()
    assert failed(engine, client=counting_client(provider)) == {}
    assert len(provider.sent) == (7 if template else 6)


@pytest.mark.parametrize("what", BREAKAGE)
def test_each_breakage_is_found_by_its_check(engine: Engine, vocabulary: SmallVocabulary, what: str) -> None:
    build_index(engine, counting_client(), index_type=IndexType.HNSW)
    run(engine, BREAKAGE[what])
    found = failed(engine)
    assert set(found) >= {what.split(" ")[0]}
    assert set(found) <= {what.split(" ")[0], "vocabulary"} | ALSO.get(what, set())


def test_a_domains_missing_index_is_found_and_built_by_the_next_build(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build_with(engine, counting_client(), index_type=IndexType.HNSW, partial="Condition")
    assert failed(engine) == {}
    with engine.connect() as connection:
        (domain,) = registry.active_space(driver_connection(connection)).partial_domains
    run(engine, f"drop index omop_emb.space_1_hnsw_{domain}")
    found = failed(engine)
    assert found["index"].details == "HNSW indexes are missing, of 1 domain"
    assert found["index"].next_step == "run omop-emb index build --name m-hnsw"
    build_index(engine, counting_client(), index_type=IndexType.HNSW)
    assert failed(engine) == {}


@pytest.mark.parametrize("what", ["hashes", "index", "index that is invalid", "vocabulary"])
def test_what_the_next_build_can_repair_is_named_as_such_and_repaired(
    engine: Engine, vocabulary: SmallVocabulary, what: str
) -> None:
    build_index(engine, counting_client(), index_type=IndexType.HNSW)
    run(engine, BREAKAGE[what])
    next_steps = {check.next_step for check in failed(engine).values()}
    assert next_steps == {"run omop-emb index build --name m-hnsw"}
    report = build_index(engine, counting_client(), index_type=IndexType.HNSW)
    assert failed(engine) == {}
    assert report.index_made is what.startswith("index")


def test_a_newer_release_and_an_unfinished_build_are_found(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build_index(engine, counting_client(), index_type=IndexType.FLAT)
    vocabulary.load(ConceptRow(6, "Asthma"), ConceptRow(7, "Gout"), without=[4])
    (check,) = failed(engine).values()
    assert check.details == "texts differ from release 2: 2 missing, 1 no longer in it"
    with pytest.raises(ProviderError):
        build_with(
            engine, counting_client(CountingProvider(fails_after=0)), index_type=IndexType.FLAT, chunk_texts=1
        )
    assert failed(engine)["build"].details == "unfinished: 2 texts to go, no builder running"


def test_texts_that_the_model_refused_do_not_fail_a_check(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build_index(engine, counting_client(CountingProvider(refuses=["HTN"])), index_type=IndexType.FLAT)
    assert failed(engine) == {}


def test_another_model_or_one_that_is_down_fails_its_check_and_the_others_go_on(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build_index(engine, counting_client(), index_type=IndexType.FLAT)
    assert "prefix" in failed(engine, client=counting_client(prefix="x"))["model"].details
    down = counting_client(CountingProvider(fails_after=0))
    assert failed(engine, client=down)["model"].details == "it cannot be used: the model is down"
    assert failed(engine, client=down, sample=0) == {}


def test_a_space_written_by_the_interface_alone_passes(engine: Engine) -> None:
    with Session(engine) as session:
        EmbeddingInterface(counting_client()).embed_and_upsert_concepts(
            session=session, index_type=IndexType.FLAT, concept_ids=(1, 2), concept_texts=("Asthma", "Gout")
        )
        session.commit()
    assert failed(engine) == {}
    with pytest.raises(SpaceNotFoundError, match="no space 'other'"):
        failed(engine, name="other")


def test_recall_is_measured_and_fails_its_check_if_it_is_too_low(sample_database_url: str) -> None:
    engine = database_engine(sample_database_url)
    try:
        assert failed(engine, name="all-MiniLM-L6-v2-hnsw", client=None, sample=20) == {}
        run(
            engine,
            "drop index omop_emb.space_2_hnsw;"
            "create index space_2_hnsw on omop_emb.space_2 using hnsw (embedding halfvec_cosine_ops) "
            "with (m = 2, ef_construction = 4);"
            "update omop_emb.space set recall = '[[10, 40, 1.0]]'",
        )
        found = failed(engine, name="all-MiniLM-L6-v2-hnsw", client=None, sample=0)
        assert set(found) == {"recall"}
        assert "of the 10 nearest at ef_search" in found["recall"].details
    finally:
        engine.dispose()


@pytest.mark.parametrize("table", ["space_1", "space_1_text"])
def test_a_table_whose_file_was_cut_short_is_found(sample_database_url: str, table: str) -> None:
    engine = database_engine(sample_database_url)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            driver = driver_connection(connection)
            driver.execute(f"vacuum omop_emb.{table}".encode())
            driver.execute("checkpoint")
            row = driver.execute(
                "select current_setting('data_directory') || '/' || pg_relation_filepath(%s)",
                (f"omop_emb.{table}",),
            ).fetchone()
        assert row is not None
        file = Path(row[0])
        if not file.exists():
            pytest.skip("the server's files are on another machine")
        os.truncate(file, file.stat().st_size // 8192 // 2 * 8192)
        assert "rows" in failed(engine, sample=0)
    finally:
        engine.dispose()
