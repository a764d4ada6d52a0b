"""Migrations of the schema omop_emb: numbered SQL files, each applied once and never altered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import errors as postgres
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Composed

from omop_emb.database.fetch import fetch_value
from omop_emb.database.requirements import check_database, install_extension
from omop_emb.database.transactions import atomic
from omop_emb.errors import MigrationError
from omop_emb.sql import migrations as files, read


def migrate(connection: psycopg.Connection[Any]) -> list[str]:
    """Apply the pending migrations and return their names; the caller commits.

    Callers that migrate at the same time wait for each other. If a file fails, everything is undone.

    Raises:
        MigrationError: the database was migrated by a newer omop-emb or with files that were altered since.
        DatabaseError: a right, the extension vector or a recent enough version is missing.
    """
    if not pending_migrations(connection):
        return []  # without waiting: others may hold the lock in a long transaction
    with atomic(connection):
        connection.execute(read("migration_lock"))
        names = pending_migrations(connection)
        if names:
            check_database(connection)
            install_extension(connection, "vector")
            connection.execute(read("migration_table"))
            search_path = fetch_value(connection, "select current_setting('search_path')")
            connection.execute(read("migration_search_path"))
            for name in names:
                connection.execute(files()[name])
                connection.execute(_record(name))
            connection.execute("select set_config('search_path', %s, true)", (search_path,))
    return names


def pending_migrations(connection: psycopg.Connection[Any]) -> list[str]:
    """The names of the migrations that this database lacks, in order; nothing is changed.

    If its history is not the beginning of this version's, MigrationError is raised.
    """
    names = list(files())
    history = _history(connection)
    for (name, digest), expected in zip(history, [*names, *[None] * len(history)], strict=False):
        if name not in names:
            raise MigrationError(
                f"the database has migration {name}, which this version of omop-emb does not know: "
                "upgrade omop-emb"
            )
        if name != expected:
            raise MigrationError(
                f"the database has migration {name} but not {expected} before it: restore the schema "
                "omop_emb from a backup, or drop it and build it again"
            )
        if digest != _sha256(name):
            raise MigrationError(
                f"migration {name} differs from the one that this database was migrated with: install an "
                "unaltered omop-emb"
            )
    return names[len(history) :]


def migration_script(names: Sequence[str] | None = None) -> str:
    """What migrate() would run, as SQL for an administrator; by default, every migration."""
    parts = ["begin;", read("migration_lock"), "create extension if not exists vector;"]
    parts += [read("migration_table"), read("migration_search_path").rstrip() + ";"]
    for name in files() if names is None else names:
        parts += [f"-- {name}", files()[name], _record(name).as_string() + ";"]
    return "\n".join([*parts, "commit;", ""])


def _history(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    try:
        if not fetch_value(connection, read("migration_exists")):
            return []
        return connection.cursor(row_factory=tuple_row).execute(read("migration_history")).fetchall()
    except postgres.InsufficientPrivilege as error:
        role = connection.info.user
        raise MigrationError(
            f"role {role!r} may not read the schema omop_emb: let its owner run "
            f'GRANT USAGE ON SCHEMA omop_emb TO "{role}"; '
            f'GRANT SELECT ON ALL TABLES IN SCHEMA omop_emb TO "{role}";'
        ) from error


def _record(name: str) -> Composed:
    statement = SQL("insert into omop_emb.migration (name, sha256) values ({}, {})")
    return statement.format(name, _sha256(name))


def _sha256(name: str) -> str:
    return hashlib.sha256(files()[name].encode()).hexdigest()
