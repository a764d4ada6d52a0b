"""Dumps: what is restored elsewhere answers as before; nothing is replaced or half restored."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from omop_emb import EmbeddingInterface, database_engine
from omop_emb.database.dump import dump_database, restore_database, run_program
from omop_emb.database.engine import session_scope
from omop_emb.errors import DatabaseError, InputError, OmopEmbError
from omop_emb.indexing.verify import verify_index

TERMS = ["asthma", "köhä", "blood pressure", "type 2 diabetes", "metformin 500 mg"]


EngineOf = Callable[[str], Engine]


@pytest.fixture
def engine_of() -> Iterator[EngineOf]:
    """A maker of engines, which are closed at the end."""
    with ExitStack() as stack:

        def make(url: str) -> Engine:
            engine = database_engine(url)
            stack.callback(engine.dispose)
            return engine

        yield make


def answers(engine: Engine) -> object:
    with session_scope(engine) as session:
        found = EmbeddingInterface().get_nearest_concepts_from_query_texts(
            session=session, query_texts=TERMS, k=5
        )
        return [[(match.concept_id, match.distance) for match in matches] for matches in found]


def test_a_database_that_is_restored_elsewhere_answers_as_before(
    engine_of: EngineOf, sample_database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "omop_emb.dump"
    source, target = engine_of(sample_database_url), engine_of(empty_database_url)
    dump_database(source, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    restore_database(target, file)
    assert answers(target) == answers(source)
    assert [check.check for check in verify_index(target, sample=20) if not check.ok] == []
    with pytest.raises(DatabaseError, match="has a schema omop_emb"):
        restore_database(target, file)


@pytest.fixture
def dump(engine_of: EngineOf, database_url: str, tmp_path: Path) -> Path:
    file = tmp_path / "small.dump"
    dump_database(engine_of(database_url), file)
    return file


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("grown", [False, True])
def test_half_a_dump_restores_nothing(
    engine_of: EngineOf, dump: Path, empty_database_url: str, share: float, grown: bool
) -> None:
    size = dump.stat().st_size
    os.truncate(dump, int(size * share))
    if grown:
        os.truncate(dump, size)
    with pytest.raises(OmopEmbError, match=r"^[^\n]+$"):
        restore_database(engine_of(empty_database_url), dump)
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select to_regnamespace('omop_emb')").fetchone() == (None,)


def test_what_is_no_dump_of_ours_is_refused(
    engine_of: EngineOf, database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    target = engine_of(empty_database_url)
    file = tmp_path / "other"
    for content in (b"", b"create schema omop_emb;", b"PK\3\4"):
        file.write_bytes(content)
        with pytest.raises(InputError, match="was not written by omop-emb db dump"):
            restore_database(target, file)
    with psycopg.connect(database_url) as connection:
        connection.execute("create schema theirs")
    with file.open("wb") as out:
        run_program("pg_dump", [f"--dbname={database_url}", "--format=custom"], out)
    with pytest.raises(InputError, match="for files of pg_dump, use pg_restore"):
        restore_database(target, file)
    with pytest.raises(DatabaseError, match="there is nothing to dump"):
        dump_database(target, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_pg_restore_reads_a_dump(dump: Path, empty_database_url: str) -> None:
    run_program("pg_restore", [f"--dbname={empty_database_url}", "--exit-on-error", str(dump)], None)
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select count(*) > 0 from omop_emb.migration").fetchone() == (True,)


def test_a_failed_dump_leaves_the_file_that_was_there(
    engine_of: EngineOf, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "kept"
    file.write_bytes(b"kept")
    with psycopg.connect(database_url) as connection:
        connection.execute("create table omop_emb.closed (x int)")
        connection.execute("create role omop_emb_reader_of_nothing")
        connection.execute("grant usage on schema omop_emb to omop_emb_reader_of_nothing")
    try:
        engine = engine_of(f"{database_url}&options=-crole%3Domop_emb_reader_of_nothing")
        with pytest.raises(DatabaseError, match=r"^pg_dump failed: [^\n]*permission denied"):
            dump_database(engine, file)
    finally:
        with psycopg.connect(database_url) as connection:
            connection.execute("drop owned by omop_emb_reader_of_nothing")
            connection.execute("drop role omop_emb_reader_of_nothing")
    assert file.read_bytes() == b"kept"
