"""Relation check: tables are read whole and counted by scan and by index; indexes are compared with them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy
from psycopg import errors, sql
from psycopg.rows import class_row

from omop_emb.database.damage import damaged_relation, remedy
from omop_emb.database.engine import driver_connection
from omop_emb.database.fetch import fetch_value
from omop_emb.database.index_check import IndexCheck, Problem
from omop_emb.database.readable_errors import is_not_ready, readable_errors
from omop_emb.errors import DatabaseError
from omop_emb.records import counted
from omop_emb.sql import read

_RECOVERY_SECONDS = 60  # for a server that a damaged page has crashed
# Errors of these classes say nothing of a relation's pages.
_NOT_DAMAGE = (
    errors.InsufficientPrivilege,
    errors.LockNotAvailable,
    errors.QueryCanceled,
    errors.OutOfMemory,
    errors.DiskFull,
)
# Nor can anything be checked after these.
_NO_SERVER = (errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow)


@dataclass(frozen=True)
class Relation:
    """A table, index or sequence of ours."""

    oid: int
    schema: str
    own_name: str
    kind: str  # "table", "index" or "sequence"
    method: str  # of an index, such as "btree"
    bytes: int
    may_read: bool
    lists_rows: bool  # whether it is the index by which a table's rows are sought

    @property
    def name(self) -> str:
        """The name with its schema."""
        return f"{self.schema}.{self.own_name}"


@dataclass(frozen=True)
class Damage:
    """A relation that is damaged."""

    kind: str  # "table", "index" or "sequence"
    name: str  # with its schema
    problem: str

    @property
    def next_step(self) -> str:
        """What to do about it."""
        return remedy(self.kind, self.name)


class _ConnectionLostError(Exception):
    """The connection was lost for the first time at a relation."""


class RelationCheck:
    """The checks of single relations, each in a transaction of its own; nothing is changed.

    Unless it is thorough, the entries of larger indexes are not compared with their table.

    Attributes:
        damages: what was found so far, one for each relation.
        not_checked: what could not be done with this role or server, and why.
        row_counts: the rows of each table that was read, by name.
    """

    def __init__(self, engine: sqlalchemy.Engine, *, thorough: bool = True) -> None:
        self._engine, self._is_thorough = engine, thorough
        self._reader: sqlalchemy.Connection | None = None
        self._examiner: sqlalchemy.Connection | None = None
        self._indexes: IndexCheck | None = None  # in the examiner's transaction
        self._is_examined = False  # whether that was tried
        self.damages: list[Damage] = []
        self.not_checked: list[str] = []
        self.row_counts: dict[str, int] = {}

    def close(self) -> None:
        """Give the connections back."""
        for connection in (self._reader, self._examiner):
            if connection is not None:
                with suppress(sqlalchemy.exc.SQLAlchemyError, psycopg.Error):
                    connection.close()
        self._reader = self._examiner = self._indexes = None
        self._is_examined = False

    def relations(self, tables: Sequence[str] = ()) -> list[Relation]:
        """Those of the schema omop_emb and of other tables (quoted names), each table before its indexes."""
        with self.reading() as connection, connection.cursor(row_factory=class_row(Relation)) as cursor:
            return cursor.execute(read("check_relations"), {"tables": list(tables)}).fetchall()

    def check(self, relation: Relation) -> None:
        """Read a relation; what is wrong with it is added to damages."""
        if not relation.may_read:
            if relation.kind == "sequence":
                return  # whose right a reader of all tables lacks
            self.not_checked.append(f"{relation.name}: this role may not read it")
            return
        try:
            self._check(relation, is_first=True)
        except _ConnectionLostError:
            # By the network, or by a page that crashes the server: that happens again.
            self._check(relation)

    def _check(self, relation: Relation, *, is_first: bool = False) -> None:
        with self._guarded(relation.kind, relation.name, is_first=is_first):
            if relation.kind != "index":
                self._check_rows(relation)
            elif (check := self._index_check()) is not None:
                details = relation.method, relation.bytes, relation.lists_rows
                self._add(check.index_problem(relation.oid, relation.name, *details))

    def add_damage(self, kind: str, name: str, problem: str) -> None:
        """Add to damages, once for each relation."""
        if not any((damage.kind, damage.name) == (kind, name) for damage in self.damages):
            self.damages.append(Damage(kind, name, problem))

    @contextmanager
    def reading(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection in a transaction that sees one moment; indexes are not used."""
        with readable_errors():
            if self._reader is None:
                self._reader = _open(self._engine)
            driver = driver_connection(self._reader)
            try:
                driver.execute("set transaction isolation level repeatable read, read only")
                driver.execute("set local statement_timeout = 0")
                _switch(driver, "off", "indexscan", "indexonlyscan", "bitmapscan")
                yield driver
            finally:
                with suppress(psycopg.Error):
                    self._reader.rollback()

    @contextmanager
    def reading_of(self, kind: str, name: str) -> Iterator[psycopg.Connection[Any]]:
        """reading() for a relation: an error in the block that means damage is added to damages."""
        with self._guarded(kind, name), self.reading() as connection:
            yield connection

    @contextmanager
    def _guarded(self, kind: str, name: str, *, is_first: bool = False) -> Iterator[None]:
        """Record errors that say something of a relation; raise others, and a first lost connection."""
        try:
            yield
        except (psycopg.Error, sqlalchemy.exc.DBAPIError, DatabaseError) as error:
            cause = _driver_error(error)
            is_lost = isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None
            if cause is None or isinstance(cause, _NO_SERVER) or not (is_lost or cause.sqlstate):
                raise
            if is_lost:
                self.close()
                if is_first:
                    raise _ConnectionLostError from error
                self._reader = _open(self._engine)
                self.add_damage(kind, name, "the server crashes when reading it")
            else:
                self._record(kind, name, cause)

    def _record(self, kind: str, name: str, error: psycopg.Error) -> None:
        reason = error.diag.message_primary or str(error).partition("\n")[0]
        if isinstance(error, errors.UndefinedTable):
            return  # dropped meanwhile
        if isinstance(error, _NOT_DAMAGE):
            self.not_checked.append(f"{name}: {reason}")
        else:
            self.add_damage(*(damaged_relation(self._engine, reason) or (kind, name)), reason)

    def _check_rows(self, relation: Relation) -> None:
        table = sql.Identifier(relation.schema, relation.own_name)
        with self.reading() as connection:
            if relation.kind == "sequence":
                if connection.execute(sql.SQL("select last_value from {}").format(table)).fetchone() is None:
                    self.add_damage(relation.kind, relation.name, "its page is empty")
                return
            rows = fetch_value(connection, sql.SQL(read("check_table")).format(table=table))
            self.row_counts[relation.name] = rows
            # By the index that is cheapest; where the table has none, by reading it again.
            _switch(connection, "on", "indexscan", "indexonlyscan")
            _switch(connection, "off", "seqscan")
            indexed = fetch_value(connection, sql.SQL("select count(*) from {}").format(table))
        if rows != indexed:
            found = f"{counted(rows, 'row')} can be read, and its index has {indexed:,}"
            self.add_damage(relation.kind, relation.name, found)
        if (check := self._index_check()) is not None:
            self._add(check.table_problem(relation.oid, relation.name))

    def _index_check(self) -> IndexCheck | None:
        """What compares indexes with tables; None where this role or server cannot."""
        if not self._is_examined:
            self._is_examined = True
            self._examiner = _open(self._engine)
            try:
                driver = driver_connection(self._examiner)
                self._indexes = IndexCheck(driver, thorough=self._is_thorough)
            except psycopg.Error as error:
                reason = error.diag.message_primary or "the connection was lost"
                self.not_checked.append(
                    f"the entries of indexes, for which a superuser needs amcheck and pageinspect ({reason})"
                )
        return self._indexes

    def _add(self, problem: Problem | None) -> None:
        if problem is not None:
            self.add_damage(*problem)


def _open(engine: sqlalchemy.Engine) -> sqlalchemy.Connection:
    """A new connection; waits for a server that recovers from a crash."""
    deadline = time.monotonic() + _RECOVERY_SECONDS
    while True:
        try:
            with readable_errors():
                return engine.connect()
        except DatabaseError as error:
            cause = _driver_error(error)
            if not isinstance(cause, psycopg.OperationalError) or not is_not_ready(cause):
                raise
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _driver_error(error: BaseException | None) -> psycopg.Error | None:
    """The driver's error behind an error of SQLAlchemy's or ours."""
    while error is not None and not isinstance(error, psycopg.Error):
        error = getattr(error, "orig", None) or error.__cause__
    return error


def _switch(connection: psycopg.Connection[Any], value: str, *methods: str) -> None:
    for method in methods:
        connection.execute("select set_config(%s, %s, true)", (f"enable_{method}", value))
