"""Database engine: connections to PostgreSQL, sessions, and the driver's connection inside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy
from psycopg.pq import TransactionStatus
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from omop_emb import config
from omop_emb.database import migrations
from omop_emb.database.damage import named_damage
from omop_emb.database.database_url import connection_parameters, shown_url
from omop_emb.database.readable_errors import (
    connection_problem,
    is_not_ready,
    readable_errors as readable_errors,
)
from omop_emb.database.requirements import read_database_info
from omop_emb.database.session_settings import correct_settings
from omop_emb.errors import DatabaseError, InputError, checked_keywords
from omop_emb.server import supervisor

if TYPE_CHECKING:
    from pathlib import Path


@checked_keywords
def database_engine(
    url: str | None = None, *, data_dir: Path | None = None, echo: bool = False
) -> sqlalchemy.Engine:
    """An engine for a PostgreSQL server, or the embedded one, which each new connection starts if needed.

    Nothing connects before the engine is used. Statements are not prepared on the server: a cached plan
    would ignore later search settings, and poolers need not support it.

    Args:
        url: a PostgreSQL URL; by default OMOP_EMB_DATABASE_URL, and the embedded server if that is not set.
        data_dir: the embedded server's folder; by default config.data_dir(). Not together with url.
        echo: log each statement, as SQLAlchemy does; the log then holds clinical text.

    Raises:
        ConfigurationError: the URL cannot be read, or names another database or driver.
    """
    if url is None and data_dir is None:
        url = config.variable("OMOP_EMB_DATABASE_URL")
    options: dict[str, Any] = {
        "poolclass": _ClosingPool,
        "pool_pre_ping": True,
        "echo": echo,
        "hide_parameters": not echo,
    }
    if url is None:
        shown: sqlalchemy.URL | str = "postgresql+psycopg://"
        options["creator"] = lambda: _embedded_connection(data_dir)
    else:
        parameters = connection_parameters(url)
        shown = shown_url(parameters)
        options["connect_args"] = parameters
    engine = sqlalchemy.create_engine(shown, **options)
    sqlalchemy.event.listen(engine, "connect", _correct_new_connection)
    return engine


class _ClosingPool(QueuePool):
    """Also closes connections that come back after dispose(), such as those of a thread that ends late.

    SQLAlchemy would keep them open, in a pool that nobody uses, until it is garbage.
    """

    _is_disposed = False

    def dispose(self) -> None:
        self._is_disposed = True
        super().dispose()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        super()._do_return_conn(record)
        if self._is_disposed:
            super().dispose()


def _correct_new_connection(connection: psycopg.Connection[Any], _: object) -> None:
    correct_settings(connection, for_session=True)


def driver_connection(
    source: Session | scoped_session[Session] | sqlalchemy.Connection,
) -> psycopg.Connection:
    """The psycopg connection inside a session's or connection's transaction; never commit through it.

    Its settings are those of correct_settings() until the transaction ends.
    """
    try:
        connection = _opened_connection(source)
        if not connection.in_transaction():
            connection.begin()
        driver = connection.connection.driver_connection
    except sqlalchemy.exc.InvalidRequestError as error:
        # Closed, without an engine, or in a transaction that has failed: SQLAlchemy says which.
        reason = str(error.args[0]).partition("\n")[0].partition("(Background")[0].rstrip(" .")
        raise InputError(f"this {type(source).__name__} cannot be used: {reason}") from error
    if not isinstance(driver, psycopg.Connection):
        raise DatabaseError(
            f"omop-emb needs PostgreSQL through psycopg 3, and this session uses {connection.dialect.name}+"
            f"{connection.dialect.driver}: make its engine with omop_emb.database_engine()"
        )
    if driver.info.transaction_status is not TransactionStatus.INERROR:
        correct_settings(driver)
    return driver


def writing_connection(
    source: Session | scoped_session[Session] | sqlalchemy.Connection,
) -> psycopg.Connection:
    """driver_connection() for a write of several statements, of which AUTOCOMMIT would leave half."""
    driver = driver_connection(source)
    if driver.autocommit:
        raise InputError(
            f"this {type(source).__name__} is in AUTOCOMMIT mode, in which a failed write is left half "
            "done: pass one with transactions, such as a Session of omop_emb.database_engine()"
        )
    return driver


@contextmanager
def short_transaction(
    source: Session | scoped_session[Session] | sqlalchemy.Connection,
) -> Iterator[psycopg.Connection]:
    """The driver's connection for one piece of work, after which the model or a person may be waited for.

    A session that is in a transaction lends its own, which stays open: it is the caller's. Otherwise the work
    gets a transaction that is committed at the end of the block, and nothing stays open.
    """
    session = source() if isinstance(source, scoped_session) else source
    bind = None
    if isinstance(session, Session) and not session.in_transaction() and not session.dispatch.after_begin:
        with suppress(
            sqlalchemy.exc.InvalidRequestError
        ):  # without an engine, which driver_connection() says
            bind = session.get_bind()
    if isinstance(bind, sqlalchemy.Engine):
        with bind.begin() as connection:
            yield driver_connection(connection)
        return
    is_own = isinstance(session, sqlalchemy.Connection) and not session.in_transaction()
    try:
        yield driver_connection(session)
    except BaseException:
        if is_own:
            session.rollback()
        raise
    if is_own:
        session.commit()


def is_in_transaction(source: Session | scoped_session[Session] | sqlalchemy.Connection) -> bool:
    """Whether the caller has begun a transaction."""
    session = source() if isinstance(source, scoped_session) else source
    return isinstance(session, Session | sqlalchemy.Connection) and session.in_transaction()


@contextmanager
def waiting_session(engine: sqlalchemy.Engine | None = None) -> Iterator[Session]:
    """A session for work that waits for a model: it begins in no transaction; else as session_scope()."""
    if engine is None:
        with engine_scope() as engine, waiting_session(engine) as session:
            yield session
        return
    with named_damage(engine), readable_errors(), Session(engine) as session:
        yield session
        session.commit()


def _opened_connection(source: object) -> sqlalchemy.Connection:
    if isinstance(source, scoped_session):
        source = source()
    if isinstance(source, Session):
        return source.connection()
    if isinstance(source, sqlalchemy.Connection):
        return source
    found = type(source).__name__
    remedy = "such as sqlalchemy.orm.Session(engine)"
    if found.startswith("Async"):
        remedy = "in a separate thread, for example with asyncio.to_thread(), because omop-emb does not await"
    raise InputError(f"session must be a SQLAlchemy Session or Connection, {remedy}; found {found}")


@contextmanager
def engine_scope() -> Iterator[sqlalchemy.Engine]:
    """database_engine(), whose connections are closed at the end of the block."""
    engine = database_engine()
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def session_scope(
    engine: sqlalchemy.Engine | None = None, *, statement_seconds: float | None = None
) -> Iterator[Session]:
    """A session, by default of engine_scope(), that is committed at the end or rolled back by an error.

    Errors of the driver that a user can fix become DatabaseError. The server ends a statement after
    `statement_seconds`; None leaves that to its own settings.
    """
    if engine is None:
        with engine_scope() as engine, session_scope(engine, statement_seconds=statement_seconds) as session:
            yield session
        return
    with named_damage(engine), readable_errors(), Session(engine) as session, session.begin():
        if statement_seconds is not None:
            milliseconds = str(round(statement_seconds * 1000))
            driver_connection(session).execute(
                "select set_config('statement_timeout', %s, true)", (milliseconds,)
            )
        yield session


def database_status(engine: sqlalchemy.Engine | None = None) -> dict[str, str | int]:
    """What `db status` shows: version, pgvector, database, user, pending_migrations."""
    with session_scope(engine) as session:
        connection = driver_connection(session)
        info = read_database_info(connection)
        return {
            "version": info.server_version,
            "pgvector": info.installed_pgvector
            or f"none (the server has {info.available_pgvector or 'none'})",
            "database": info.database,
            "user": info.user,
            "pending_migrations": len(migrations.pending_migrations(connection)),
        }


def _embedded_connection(data_dir: Path | None) -> psycopg.Connection:
    while True:
        target = supervisor.ensure_running(data_dir)
        try:
            return psycopg.connect(
                target, application_name="omop-emb", client_encoding="utf8", prepare_threshold=None
            )
        except psycopg.OperationalError as error:
            # It was ready, and now recovers from a crash or stops: the next round waits for it or starts it.
            if not is_not_ready(error):
                reason = connection_problem(error)
                raise DatabaseError(f"cannot connect to the embedded server: {reason}") from error
            supervisor.pause()
