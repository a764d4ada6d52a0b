"""Database check on a server that is whole: who may run it, while others write, in what schema."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from omop_emb.database.engine import database_engine
from omop_emb.errors import DatabaseError
from omop_emb.service.database_check import check_relations
from tests.conftest import as_url

_READER = "omop_emb_test_check_reader"


def _extensions(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("select extname from pg_extension")}


def test_a_database_is_left_as_it_was(sample_database_url: str) -> None:
    before = _extensions(sample_database_url)
    engine = database_engine(sample_database_url)
    seen: list[tuple[int, int]] = []
    report = check_relations(engine, on_progress=lambda done, total, _: seen.append((done, total)))
    engine.dispose()
    assert (report.damages, report.not_checked, report.skipped_bytes) == ((), (), 0)
    assert len(seen) == report.relations
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {report.bytes}
    assert _extensions(sample_database_url) == before


def test_a_database_that_others_write_is_not_called_damaged(sample_database_url: str) -> None:
    engine = database_engine(sample_database_url)
    with psycopg.connect(sample_database_url) as connection:
        connection.execute("delete from omop_emb.space_1_text where concept_id % 2 = 0")
        connection.execute("create table omop_emb.space_99 ()")
        assert check_relations(engine).damages == ()
        connection.rollback()
    engine.dispose()


def test_a_role_that_may_only_read_checks_what_it_may(server_conninfo: str, sample_database_url: str) -> None:
    reader = sql.Identifier(_READER)
    with psycopg.connect(sample_database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} login").format(reader))
        try:
            connection.execute(sql.SQL("grant usage on schema omop_emb to {}").format(reader))
            connection.execute(sql.SQL("grant select on all tables in schema omop_emb to {}").format(reader))
            connection.execute(sql.SQL("revoke all on omop_emb.mapping_memory from {}").format(reader))
            connection.execute("delete from omop_emb.space_1_text where concept_id = 4329847")
            name = connection.info.dbname
            engine = database_engine(as_url(make_conninfo(server_conninfo, dbname=name, user=_READER)))
            report = check_relations(engine)
            engine.dispose()
        finally:
            connection.execute(sql.SQL("drop owned by {}; drop role {}").format(reader, reader))
    assert [damage.name for damage in report.damages] == ["omop_emb.space_1_text"]
    assert any("mapping_memory: this role may not read it" in line for line in report.not_checked)
    assert any("superuser" in line for line in report.not_checked)


def test_a_database_without_the_schema_is_refused(empty_database_url: str) -> None:
    engine = database_engine(empty_database_url)
    with pytest.raises(DatabaseError, match="no schema omop_emb"):
        check_relations(engine)
    engine.dispose()


def test_the_tables_of_a_cdm_are_read_too(sample_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(sample_database_url) as connection:
        connection.execute('create schema "My CDM"')
        connection.execute('create table "My CDM".concept as select * from omop_emb.concept_1')
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "My CDM")
    engine = database_engine(sample_database_url)
    names: list[str] = []
    report = check_relations(engine, on_progress=lambda done, total, name: names.append(name))
    engine.dispose()
    assert report.damages == ()
    assert "My CDM.concept" in names
