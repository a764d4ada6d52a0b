"""Bringing the schema omop_emb up to date: numbered files, applied once each, never altered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import errors as postgres
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Composed

from omop_emb.errors import MigrationError
from omop_emb.sql import migrations as files
from omop_emb.sql import read
from omop_emb.transactions import atomic

_OLDEST_POSTGRESQL = 14
_OLDEST_PGVECTOR = (0, 8)


def migrate(connection: psycopg.Connection[Any]) -> list[str]:
    """Apply what is pending and return its names; the caller commits.

    Callers that migrate at the same time wait for each other. If a file fails, none of it is kept.

    Raises:
        MigrationError: a right, the extension vector or a recent enough version is missing, or the
            database was migrated by a newer omop-emb or with files that were altered since.
    """
    if not pending(connection):
        return []  # and wait for nobody: others may hold the lock in a long transaction
    with atomic(connection):
        connection.execute(read("migration_lock"))
        names = pending(connection)
        if names:
            _require_vector(connection)
            _in_words(connection, read("migration_table"))
        for name in names:
            _in_words(connection, files()[name])
            connection.execute(_record(name))
    return names


def pending(connection: psycopg.Connection[Any]) -> list[str]:
    """The names of the migrations that this database lacks, in order; nothing is changed.

    Raises:
        MigrationError: the database's history is not the beginning of this version's.
    """
    known = list(files())
    history = _history(connection)
    for (name, digest), expected in zip(history, [*known, *[None] * len(history)], strict=False):
        if name not in known:
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
                f"migration {name} is not the one that this database was migrated with: "
                "install an unaltered omop-emb"
            )
    return known[len(history) :]


def script(names: Sequence[str] | None = None) -> str:
    """What `migrate` would run, as SQL for an administrator; names defaults to every migration."""
    parts = ["begin;", read("migration_lock"), "create extension if not exists vector;"]
    parts.append(read("migration_table"))
    for name in files() if names is None else names:
        parts += [f"-- {name}", files()[name], _record(name).as_string() + ";"]
    return "\n".join([*parts, "commit;", ""])


def _history(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    cursor = connection.cursor(row_factory=tuple_row)
    try:
        row = cursor.execute(read("migration_exists")).fetchone()
        if row is None or not row[0]:
            return []
        return cursor.execute(read("migration_history")).fetchall()
    except postgres.InsufficientPrivilege as error:
        raise MigrationError(
            f"user {connection.info.user!r} may not read the schema omop_emb: its owner must run: "
            "grant usage on schema omop_emb to …; grant select on all tables in schema omop_emb to …"
        ) from error


def _record(name: str) -> Composed:
    statement = SQL("insert into omop_emb.migration (name, sha256) values ({}, {})")
    return statement.format(name, _sha256(name))


def _sha256(name: str) -> str:
    return hashlib.sha256(files()[name].encode()).hexdigest()


def _require_vector(connection: psycopg.Connection[Any]) -> None:
    if connection.info.server_version < _OLDEST_POSTGRESQL * 10_000:
        raise MigrationError(
            f"omop-emb needs PostgreSQL {_OLDEST_POSTGRESQL} or newer; this server is "
            f"{connection.info.server_version // 10_000}"
        )
    _in_words(connection, "create extension if not exists vector")
    cursor = connection.cursor(row_factory=tuple_row)
    row = cursor.execute("select extversion from pg_extension where extname = 'vector'").fetchone()
    version = row[0] if row else "none"
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _OLDEST_PGVECTOR:
        raise MigrationError(
            f"omop-emb needs pgvector 0.8 or newer; this database has {version}: install a newer one on the "
            "server, then run in this database: alter extension vector update"
        )


def _in_words(connection: psycopg.Connection[Any], statement: str) -> None:
    """Run a statement of a migration; say what to do where the server is not prepared for it."""
    try:
        connection.execute(statement)
    except postgres.InsufficientPrivilege as error:
        user, database = connection.info.user, connection.info.dbname
        if "extension" in str(error):
            raise MigrationError(
                f"user {user!r} may not create the extension vector: a superuser must run in database "
                f"{database!r}: create extension vector"
            ) from error
        raise MigrationError(
            f"user {user!r} may not make the schema omop_emb in database {database!r}: its owner must run: "
            f'grant create on database "{database}" to "{user}" ({error.diag.message_primary})'
        ) from error
    except (postgres.FeatureNotSupported, postgres.UndefinedFile) as error:
        if "extension" not in str(error):
            raise
        raise MigrationError(
            "the server has no extension vector: install pgvector 0.8 or newer on its machine "
            "(package postgresql-NN-pgvector), or unset OMOP_EMB_DATABASE_URL to use the embedded server"
        ) from error
