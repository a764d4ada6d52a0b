"""The way to the database: an engine, sessions, the driver's connection, and what a database must offer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy
from psycopg.rows import class_row
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from omop_emb import config, server
from omop_emb.database_errors import is_not_ready, readable_errors
from omop_emb.errors import ConfigurationError, DatabaseError
from omop_emb.sql import read

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DatabaseFacts",
    "check_database",
    "database_engine",
    "driver_connection",
    "readable_errors",
    "session_scope",
]

_DRIVERS = ("postgresql", "postgres", "postgresql+psycopg")
_URL_EXAMPLE = "postgresql://user:password@host:5432/database"
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
class _Found:
    """The row of the query database_facts."""

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


def database_engine(
    url: str | None = None, *, data_dir: Path | None = None, echo: bool = False
) -> sqlalchemy.Engine:
    """An engine for a PostgreSQL server, or the embedded one, which each new connection starts if need be.

    Nothing is connected to before the engine is used. Statements are not prepared on the server: a cached
    plan would ignore later settings of the search, and poolers need not support it.

    Args:
        url: a PostgreSQL URL; by default OMOP_EMB_DATABASE_URL, and the embedded server if that is not set.
        data_dir: the embedded server's folder; by default config.data_dir(). Not together with url.
        echo: log each statement, as SQLAlchemy does; the log then holds clinical text.

    Raises:
        ConfigurationError: the URL cannot be read, or names another database or driver.
    """
    if url is None and data_dir is None:
        url = config.text_or_none("OMOP_EMB_DATABASE_URL")
    if url is None:
        return sqlalchemy.create_engine(
            "postgresql+psycopg://",
            creator=lambda: _embedded_connection(data_dir),
            pool_pre_ping=True,
            echo=echo,
            hide_parameters=not echo,
        )
    parsed = _parsed(url)
    given = parsed.normalized_query
    chosen = {"application_name": "omop-emb", "connect_timeout": "10"}
    return sqlalchemy.create_engine(
        parsed,
        connect_args={
            "prepare_threshold": None,
            **{name: value for name, value in chosen.items() if name not in given},
        },
        pool_pre_ping=True,
        echo=echo,
        hide_parameters=not echo,
    )


def driver_connection(source: Session | sqlalchemy.Connection) -> psycopg.Connection:
    """The psycopg connection inside a session's or connection's transaction; its user never commits.

    Raises:
        DatabaseError: the engine uses another database or driver.
    """
    connection = source.connection() if isinstance(source, Session) else source
    if not connection.in_transaction():
        connection.begin()
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise DatabaseError(
            f"omop-emb needs PostgreSQL through psycopg 3, and this session uses {connection.dialect.name}+"
            f"{connection.dialect.driver}: make its engine with omop_emb.database_engine()"
        )
    return driver


@contextmanager
def session_scope(engine: sqlalchemy.Engine) -> Iterator[Session]:
    """A session that is committed at the end, or rolled back by an error, which is then readable.

    Raises:
        DatabaseError: in place of the driver's errors that a person can do something about.
    """
    with readable_errors(), Session(engine) as session, session.begin():
        yield session


def describe(engine: sqlalchemy.Engine | None = None) -> dict[str, str | int]:
    """The database in use, for a person: version, pgvector, database, user, pending_migrations.

    Unlike check_database() it does not judge: what is missing is "none".

    Raises:
        DatabaseError: it cannot be reached.
    """
    from omop_emb import migrations

    with session_scope(engine or database_engine()) as session:
        connection = driver_connection(session)
        found = _facts(connection)
        return {
            "version": found.server_version,
            "pgvector": found.installed or f"none (the server has {found.available or 'none'})",
            "database": found.database,
            "user": found.role,
            "pending_migrations": len(migrations.pending(connection)),
        }


def check_database(connection: psycopg.Connection) -> DatabaseFacts:
    """What the database runs on, if it has all that omop-emb needs; nothing is changed.

    Raises:
        DatabaseError: the server or pgvector is missing or too old, or this role lacks a right. The message
            says what to run, and who must.
    """
    with readable_errors():
        found = _facts(connection)
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


def _facts(connection: psycopg.Connection) -> _Found:
    with connection.cursor(row_factory=class_row(_Found)) as cursor:
        found = cursor.execute(read("database_facts")).fetchone()
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


def _check_may_install(connection: psycopg.Connection, name: str, role: str) -> None:
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


def _parsed(url: str) -> sqlalchemy.URL:
    # No message repeats the URL, nor chains an error that does: it may hold a password.
    try:
        parsed = make_url(url.strip())
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ConfigurationError(f"the database URL cannot be read: write it as {_URL_EXAMPLE}") from None
    if parsed.drivername not in _DRIVERS:
        raise ConfigurationError(
            f"omop-emb works with PostgreSQL through psycopg 3, not with {parsed.drivername!r}: "
            f"write the database URL as {_URL_EXAMPLE}"
        )
    return parsed.set(drivername="postgresql+psycopg")


def _embedded_connection(data_dir: Path | None) -> psycopg.Connection:
    while True:
        target = server.ensure_running(data_dir)
        try:
            return psycopg.connect(target, application_name="omop-emb", prepare_threshold=None)
        except psycopg.OperationalError as error:
            # It was ready, and now recovers from a crash or is being stopped: the next round waits or starts.
            if not is_not_ready(error):
                raise
            server.pause()
