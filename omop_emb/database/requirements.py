"""Database requirements: version, encoding, rights and pgvector, each with a remedy if it is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from omop_emb.database.database_url import url_name
from omop_emb.database.fetch import fetch_value
from omop_emb.database.readable_errors import readable_errors
from omop_emb.errors import DatabaseError
from omop_emb.sql import read

_OLDEST_SERVER = 14
_OLDEST_PGVECTOR = (0, 8)


@dataclass(frozen=True)
class DatabaseInfo:
    """What the server reports about itself, this database and this role; see the query database_info."""

    major: int
    server_version: str  # such as "18.6"
    database: str
    user: str
    encoding: str
    read_only: bool
    is_superuser: bool
    may_create_schema: bool
    may_use_schema: bool | None  # may create tables in omop_emb; None where that schema is missing
    installed_pgvector: str | None  # version of the extension in this database
    available_pgvector: str | None  # version that the server would install


def read_database_info(connection: psycopg.Connection[Any]) -> DatabaseInfo:
    """What the server reports, unjudged; nothing is changed."""
    with connection.cursor(row_factory=class_row(DatabaseInfo)) as cursor:
        info = cursor.execute(read("database_info")).fetchone()
    assert info is not None  # noqa: S101 - a select without from has one row
    return info


def check_database(connection: psycopg.Connection[Any]) -> DatabaseInfo:
    """Raise DatabaseError if the database lacks what omop-emb needs; nothing is changed.

    The message says what to run, and who must.
    """
    with readable_errors():
        info = read_database_info(connection)
        name = f"database {info.database!r}"
        if info.major < _OLDEST_SERVER:
            raise DatabaseError(
                f"omop-emb needs PostgreSQL {_OLDEST_SERVER} or newer, and this server is "
                f"{info.server_version}: upgrade it, or name another in {url_name()}"
            )
        if info.encoding != "UTF8":
            raise DatabaseError(
                f"{name} is encoded in {info.encoding}, and omop-emb needs UTF8: run CREATE "
                f"DATABASE omop_emb ENCODING 'UTF8' TEMPLATE template0; and name it in {url_name()}"
            )
        if info.read_only:
            raise DatabaseError(f"{name} is read-only (a standby?): name the primary server in {url_name()}")
        if info.may_use_schema is None and not info.may_create_schema:
            raise DatabaseError(
                f"role {info.user!r} may not create the schema omop_emb in {name}: let its owner run "
                f'GRANT CREATE ON DATABASE "{info.database}" TO "{info.user}";'
            )
        if info.may_use_schema is False:
            raise DatabaseError(
                f"role {info.user!r} may not create tables in the schema omop_emb of {name}: let its owner "
                f'run GRANT USAGE, CREATE ON SCHEMA omop_emb TO "{info.user}";'
            )
        _check_pgvector(name, info.installed_pgvector, info.available_pgvector)
        if info.installed_pgvector is None and not info.is_superuser:
            _check_may_install(connection, name, info.user)
    return info


def install_extension(connection: psycopg.Connection[Any], name: str) -> None:
    """Create an extension if the database lacks it, also where the search_path is empty."""
    is_searched = fetch_value(connection, "select current_schema() is not null")
    statement = SQL("create extension if not exists {}" + ("" if is_searched else " schema public"))
    connection.execute(statement.format(Identifier(name)))


def _check_pgvector(name: str, installed: str | None, available: str | None) -> None:
    oldest = ".".join(map(str, _OLDEST_PGVECTOR))
    if installed is None and available is None:
        raise DatabaseError(
            f"the server of {name} has no pgvector: install it there (the package postgresql-NN-pgvector, "
            f"{oldest} or newer), then run CREATE EXTENSION vector; in the database"
        )
    if _is_too_old(installed or available or ""):
        remedy = "install a newer one on the server"
        if available is not None and not _is_too_old(available):
            remedy = "let the extension's owner run ALTER EXTENSION vector UPDATE;"
        elif installed is not None:
            remedy += ", then run ALTER EXTENSION vector UPDATE;"
        raise DatabaseError(
            f"omop-emb needs pgvector {oldest} or newer, and {name} has {installed or available}: {remedy}"
        )


def _check_may_install(connection: psycopg.Connection[Any], name: str, user: str) -> None:
    # Managed servers let some roles that are no superusers: only trying shows it. It is rolled back.
    try:
        with connection.transaction(force_rollback=True):
            install_extension(connection, "vector")
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseError(
            f"{name} lacks the extension vector, and role {user!r} may not create it: let a superuser run "
            "CREATE EXTENSION vector; in that database"
        ) from error


def _is_too_old(version: str) -> bool:
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    return tuple(numbers) < _OLDEST_PGVECTOR
