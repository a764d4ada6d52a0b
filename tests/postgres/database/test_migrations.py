"""Migrations: each file once, in order, all or nothing, with one history."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from omop_emb.database import migrations
from omop_emb.errors import MigrationError
from omop_emb.sql import migrations as files

ALL = list(files())


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_database_url) as opened:
        yield opened


@contextmanager
def as_new_role(connection: psycopg.Connection) -> Iterator[None]:
    """The connection acts as a role without any grant inside the block."""
    role = f"omop_emb_test_{uuid4().hex}"
    connection.execute(SQL("create role {}").format(Identifier(role)))
    connection.execute(SQL("set role {}").format(Identifier(role)))
    try:
        yield
    finally:
        connection.rollback()


def _tables(connection: psycopg.Connection) -> set[tuple[str, str]]:
    rows = connection.execute(
        "select schemaname, tablename from pg_tables"
        " where schemaname not in ('pg_catalog', 'information_schema')"
    )
    return set(rows.fetchall())


def test_files_are_numbered_without_gaps_and_names_say_what_they_do() -> None:
    assert [name[:5] for name in ALL] == [f"{number:04}_" for number in range(1, len(ALL) + 1)]
    assert all(len(name) > 5 for name in ALL)


def test_an_empty_database_gets_each_file_once_and_in_order(empty: psycopg.Connection) -> None:
    assert migrations.pending_migrations(empty) == ALL
    assert migrations.migrate(empty) == ALL
    assert migrations.pending_migrations(empty) == []
    assert migrations.migrate(empty) == []
    recorded = empty.execute("select name from omop_emb.migration order by applied_at, name").fetchall()
    assert [name for (name,) in recorded] == ALL


def test_all_our_tables_are_in_our_schema_beside_a_cdm(empty: psycopg.Connection) -> None:
    empty.execute("create table public.concept (concept_id int, note text)")
    empty.execute("insert into public.concept values (1, 'theirs')")
    empty.execute("create schema cdm")
    empty.execute("create table cdm.vocabulary (vocabulary_id text)")
    before = _tables(empty)
    migrations.migrate(empty)
    assert {schema for schema, _ in _tables(empty) - before} == {"omop_emb"}
    assert empty.execute("select * from public.concept").fetchall() == [(1, "theirs")]


def test_the_caller_s_transaction_is_not_committed(empty: psycopg.Connection) -> None:
    migrations.migrate(empty)
    empty.rollback()
    assert migrations.pending_migrations(empty) == ALL


def test_a_connection_in_autocommit_mode_applies_all_files_in_one_transaction(
    empty_database_url: str,
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        assert migrations.migrate(connection) == ALL
    with psycopg.connect(empty_database_url) as connection:
        assert migrations.pending_migrations(connection) == []


def test_a_file_that_fails_leaves_nothing(empty: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {**files(), "9999_broken": "create table omop_emb.half_way (); select no_such_function()"}
    monkeypatch.setattr(migrations, "files", lambda: broken)
    with pytest.raises(psycopg.errors.UndefinedFunction):
        migrations.migrate(empty)
    assert _tables(empty) == set()


def test_concurrent_migrations_wait_for_each_other(empty_database_url: str) -> None:
    def migrate(_: int) -> list[str]:
        with psycopg.connect(empty_database_url) as connection:
            return migrations.migrate(connection)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(migrate, range(4))) == [[], [], [], ALL]


def test_a_database_that_is_up_to_date_waits_for_nobody(
    connection: psycopg.Connection, database_url: str
) -> None:
    with psycopg.connect(database_url) as other:
        other.execute("select pg_advisory_xact_lock(7306083101)")
        connection.execute("set statement_timeout = '2s'")
        assert migrations.migrate(connection) == []


@pytest.mark.parametrize("call", [migrations.migrate, migrations.pending_migrations])
def test_an_altered_file_is_refused(connection: psycopg.Connection, call: object) -> None:
    connection.execute("update omop_emb.migration set sha256 = 'other' where name = %s", (ALL[0],))
    with pytest.raises(
        MigrationError, match=rf"{ALL[0]} differs from the one .* install an unaltered omop-emb"
    ):
        call(connection)  # type: ignore[operator] # either of two functions


def test_the_history_of_a_newer_version_is_refused(connection: psycopg.Connection) -> None:
    connection.execute("insert into omop_emb.migration (name, sha256) values ('9998_later', '')")
    with pytest.raises(MigrationError, match=r"9998_later, which this version .* upgrade omop-emb"):
        migrations.migrate(connection)


def test_a_history_with_a_gap_is_refused(connection: psycopg.Connection) -> None:
    connection.execute("delete from omop_emb.migration where name = %s", (ALL[0],))
    with pytest.raises(MigrationError, match=f"has migration {ALL[1]} but not {ALL[0]} before it"):
        migrations.pending_migrations(connection)


def test_a_role_that_may_not_read_our_schema_learns_the_grant(connection: psycopg.Connection) -> None:
    with (
        as_new_role(connection),
        pytest.raises(MigrationError, match=r"GRANT USAGE ON SCHEMA omop_emb TO \""),
    ):
        migrations.pending_migrations(connection)


def test_the_script_does_what_migrate_does(empty: psycopg.Connection) -> None:
    assert "begin;" in migrations.migration_script()
    empty.autocommit = True
    empty.execute(migrations.migration_script())
    assert migrations.pending_migrations(empty) == []


def test_the_script_of_pending_migrations_contains_no_others() -> None:
    script = migrations.migration_script(ALL[1:])
    assert ALL[1] in script
    assert ALL[0] not in script
