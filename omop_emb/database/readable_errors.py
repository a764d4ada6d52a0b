"""Readable database errors: one line that says what to do, without passwords, statements or values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy.exc
from psycopg import errors

from omop_emb.database.damage import is_damage
from omop_emb.database.database_url import url_name
from omop_emb.errors import DamageError, DatabaseError

# The driver's class -> the message; the first class that matches counts. {reason} is the server's own first
# line, which in these classes holds no values.
_MESSAGES: tuple[tuple[type[psycopg.Error], str], ...] = (
    (errors.InsufficientPrivilege, "{reason}: have the owner grant that right, or use a role that has it"),
    (errors.ReadOnlySqlTransaction, "{reason}: name the primary server in {url}"),
    (errors.DiskFull, "the database's disk is full ({reason}): free some space there and run this again"),
    (
        errors.OutOfMemory,
        "the server is out of memory ({reason}): lower its maintenance_work_mem or work_mem",
    ),
    (errors.TooManyConnections, "{reason}: end some connections, or raise max_connections"),
    (errors.DeadlockDetected, "another process wrote the same rows in another order: run this again"),
    (errors.SerializationFailure, "another process changed the same rows: run this again"),
    (errors.LockNotAvailable, "another process holds what this needs ({reason}): wait, then run this again"),
    (errors.AdminShutdown, "the database server was stopped, or ended this connection: run this again"),
    (
        errors.CrashShutdown,
        "the database server crashed and is recovering: run this again; the server's log says why",
    ),
    (errors.CannotConnectNow, "the database server is starting or stopping: run this again in a moment"),
    (errors.InvalidCatalogName, "{reason}: create it, or name another in {url}"),
    (
        errors.InFailedSqlTransaction,
        "an earlier statement of this transaction failed: roll it back, then run this again",
    ),
    (
        errors.NumericValueOutOfRange,
        "{reason}: concept ids have 32 bits, as in OMOP's CDM; find larger ones in the vocabulary's tables",
    ),
    (
        errors.IdleInTransactionSessionTimeout,
        "the database ended a transaction that was idle for longer than "
        "idle_in_transaction_session_timeout: pass a session without a transaction (commit or roll back "
        "first), or raise that setting",
    ),
)

# What libpq reports while connecting -> the remedy, which goes before the variable's name.
_CONNECTION_REMEDIES: tuple[tuple[str, str], ...] = (
    (r"authentication failed|no password supplied", "check user and password (percent-encoded) in"),
    (r"no pg_hba\.conf entry", "allow this host and user in the server's pg_hba.conf, or check"),
    (r"database .* does not exist", "create the database, or check its name in"),
    (r"role .* does not exist", "create the role, or check its name in"),
    (r"could not translate host name|failed to resolve host|Name or service not known", "check the host in"),
    (r"Connection refused|No such file or directory", "is PostgreSQL running there? Check host and port in"),
    (r"timeout|timed out|unreachable", "is there a firewall in between? Check host and port in"),
    (r"SSL|certificate", "check sslmode in"),
    (
        r"too many (clients|connections)|remaining connection slots",
        "end some connections or raise max_connections, or check",
    ),
)
_NOT_READY = re.compile(
    r"database system is (starting up|shutting down|in recovery mode|not yet accepting connections)"
    r"|server closed the connection unexpectedly|Connection refused|No such file or directory"
)
_LOST = re.compile(
    r"server closed the connection|connection is lost|connection is closed|consuming input failed|"
    r"sending query failed|SSL connection has been closed|EOF detected|Broken pipe|connection reset",
    re.IGNORECASE,
)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn the driver's errors that a user can fix into one line; bugs pass unchanged."""
    try:
        yield
    except psycopg.Error as error:
        readable = _readable(error)
        if readable is None:
            raise
        raise readable from error
    except sqlalchemy.exc.TimeoutError as error:
        raise DatabaseError(
            "no database connection became free in time: close sessions that are no longer used"
        ) from error
    except sqlalchemy.exc.DBAPIError as error:
        readable = _readable(error.orig) if isinstance(error.orig, psycopg.Error) else None
        if readable is None:
            raise
        raise readable from error


def is_not_ready(error: psycopg.OperationalError) -> bool:
    """Whether a connection failed because the server is starting, stopping or recovering."""
    return _NOT_READY.search(str(error)) is not None


def _readable(error: psycopg.Error) -> DatabaseError | None:
    error = _first_cause(error)
    if is_damage(error):
        return DamageError(_first_line(error))
    message = _message(error)
    return None if message is None else DatabaseError(message)


def _first_cause(error: psycopg.Error) -> psycopg.Error:
    """Why the server ended a connection, where the loss was met again while rolling back."""
    earlier: BaseException | None = error
    while error.sqlstate is None and earlier is not None:
        if isinstance(earlier, psycopg.Error) and earlier.sqlstate is not None:
            return earlier
        earlier = earlier.__cause__ or earlier.__context__
    return error


def _message(error: psycopg.Error) -> str | None:
    reason = _first_line(error)
    for kind, message in _MESSAGES:
        if isinstance(error, kind):
            if "shared memory segment" in reason:
                return (
                    f"the database server has too little shared memory ({reason}): give its container a "
                    "larger --shm-size, or lower maintenance_work_mem"
                )
            return message.format(reason=reason, url=url_name())
    if isinstance(error, errors.QueryCanceled):
        cause = "statement_timeout" if "timeout" in reason else "a person or program"
        return f"the database cancelled a statement ({cause}): raise statement_timeout, or ask for less"
    if _lacks_pgvector(error, reason):
        return "the database lacks pgvector 0.8 or newer: let a superuser run CREATE EXTENSION vector; there"
    if isinstance(error, errors.UndefinedTable) and re.search(r"omop_emb\.space_\d", reason):
        return "this embedding space was dropped in the meantime: omop-emb index list shows the existing ones"
    if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName) and "omop_emb" in reason:
        return f"{reason}: run omop-emb db migrate"
    if isinstance(error, errors.UndefinedColumn):
        return f"{reason}: if the schema omop_emb is from an older version, run omop-emb db migrate"
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        if _LOST.search(str(error)):
            return "the connection to the database was lost: see whether the server runs, then run this again"
        return _connecting(error)
    return None


def _lacks_pgvector(error: psycopg.Error, reason: str) -> bool:
    if isinstance(error, errors.FeatureNotSupported | errors.UndefinedFile):
        return 'extension "vector"' in reason
    if isinstance(error, errors.UndefinedObject):
        return re.search(r'type "(vector|halfvec|sparsevec)"|hnsw\.', reason) is not None
    return False


def _connecting(error: psycopg.OperationalError) -> str:
    remedy = next((remedy for pattern, remedy in _CONNECTION_REMEDIES if _line(error, pattern)), "check")
    return f"cannot connect to the database: {connection_problem(error)}; {remedy} {url_name()}"


def connection_problem(error: psycopg.OperationalError) -> str:
    """The line that says why nothing could connect, of the several that libpq writes for several hosts."""
    lines = (_line(error, pattern) for pattern, _ in _CONNECTION_REMEDIES)
    return _plain(next(filter(None, lines), "")) or _first_line(error)


def _line(error: psycopg.OperationalError, pattern: str) -> str:
    lines = str(error).splitlines()
    return next((line for line in lines if re.search(pattern, line, re.IGNORECASE)), "")


def _plain(line: str) -> str:
    line = line.strip().removeprefix("- ").removeprefix("connection failed: ")
    return line.replace("FATAL:  ", "").rstrip(".,;")


def _first_line(error: psycopg.Error) -> str:
    reason = error.diag.message_primary or str(error).partition("\n")[0]
    return _plain(reason)
