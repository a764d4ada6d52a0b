"""What a database must offer: version, encoding, rights, pgvector. Each lack is one line with its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from omop_emb.database.readable_errors import readable_errors
from omop_emb.errors import DatabaseError
from omop_emb.sql import read

_OLDEST_SERVER = 14
_OLDEST_PGVECTOR = (0, 8)


@dataclass(frozen=True)
class DatabaseFacts:
    """What a usable database runs on.

    Attributes:
        server_version: such as "18.6".
        pgvector_version: such as "0.8.6"; the installed one, else the one that would be installed.
        pgvector_installed: whether the extension is in this database already.
        database, user: their names.
    """

    server_version: str
    pgvector_version: str
    pgvector_installed: bool
    database: str
    user: str


@dataclass(frozen=True)
class FoundFacts:
    """The row of the query database_facts: each None is "there is none"."""

    major: int
    server_version: str
    database: str
    role: str
    encoding: str
    read_only: bool
    is_superuser: bool
    may_create_schema: bool
    may_use_schema: bool | None
    installed: str | None
    available: str | None


def check_database(connection: psycopg.Connection[Any]) -> DatabaseFacts:
    """What the database runs on, if it has all that omop-emb needs; nothing is changed.

    Raises:
        DatabaseError: the server or pgvector is missing or too old, or this role lacks a right. The message
            says what to run, and who must.
    """
    with readable_errors():
        found = read_database_info(connection)
        name = f"database {found.database!r}"
        if found.major < _OLDEST_SERVER:
            raise DatabaseError(
                f"omop-emb needs PostgreSQL {_OLDEST_SERVER} or newer, and this server is "
                f"{found.server_version}: upgrade it, or unset OMOP_EMB_DATABASE_URL for the embedded server"
            )
        if found.encoding != "UTF8":
            raise DatabaseError(
                f"{name} is encoded in {found.encoding}, and omop-emb needs UTF8: run CREATE "
                "DATABASE omop_emb ENCODING 'UTF8' TEMPLATE template0; and name it in OMOP_EMB_DATABASE_URL"
            )
        if found.read_only:
            raise DatabaseError(
                f"{name} is read-only (a standby?): name the primary server in OMOP_EMB_DATABASE_URL"
            )
        if found.may_use_schema is None and not found.may_create_schema:
            raise DatabaseError(
                f"role {found.role!r} may not make the schema omop_emb in {name}: let its owner run "
                f'GRANT CREATE ON DATABASE "{found.database}" TO "{found.role}";'
            )
        if found.may_use_schema is False:
            raise DatabaseError(
                f"role {found.role!r} may not make tables in the schema omop_emb of {name}: let its owner "
                f'run GRANT USAGE, CREATE ON SCHEMA omop_emb TO "{found.role}";'
            )
        _check_pgvector(name, found.installed, found.available)
        if found.installed is None and not found.is_superuser:
            _check_may_install(connection, name, found.role)
    return DatabaseFacts(
        server_version=found.server_version,
        pgvector_version=found.installed or found.available or "",
        pgvector_installed=found.installed is not None,
        database=found.database,
        user=found.role,
    )


def read_database_info(connection: psycopg.Connection[Any]) -> FoundFacts:
    """What the server says of itself and of this role's rights, unjudged."""
    with connection.cursor(row_factory=class_row(FoundFacts)) as cursor:
        found = cursor.execute(read("database_info")).fetchone()
    assert found is not None  # noqa: S101 - a select without from has one row
    return found


def _check_pgvector(name: str, installed: str | None, available: str | None) -> None:
    oldest = ".".join(map(str, _OLDEST_PGVECTOR))
    if installed is None and available is None:
        raise DatabaseError(
            f"the server of {name} has no pgvector: install it there (the package postgresql-NN-pgvector, "
            f"{oldest} or newer), then run CREATE EXTENSION vector; in the database"
        )
    if _too_old(installed or available or ""):
        remedy = "install a newer one on the server"
        if available is not None and not _too_old(available):
            remedy = "let the extension's owner run ALTER EXTENSION vector UPDATE;"
        elif installed is not None:
            remedy += ", then run ALTER EXTENSION vector UPDATE;"
        raise DatabaseError(
            f"omop-emb needs pgvector {oldest} or newer, and {name} has {installed or available}: {remedy}"
        )


def _check_may_install(connection: psycopg.Connection[Any], name: str, role: str) -> None:
    # Managed servers let some roles that are no superusers: only trying tells. It is rolled back.
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("create extension vector")
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseError(
            f"{name} lacks the extension vector, and role {role!r} may not make it: let a superuser run "
            "CREATE EXTENSION vector; in that database"
        ) from error


def _too_old(version: str) -> bool:
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    return tuple(numbers) < _OLDEST_PGVECTOR
