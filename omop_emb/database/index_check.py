"""Index check: PostgreSQL's amcheck and pageinspect compare indexes with their tables, for superusers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from omop_emb.database.fetch import fetch_value
from omop_emb.database.transactions import atomic
from omop_emb.records import counted
from omop_emb.sql import read

_EXTENSIONS = ("amcheck", "pageinspect")
_CREATE_EXTENSION = sql.SQL("create extension if not exists {} schema pg_catalog")
_SETTINGS = {
    "lock_timeout": "2s",  # that another check, or a build, may hold up this one
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "search_path": "pg_catalog",  # with it, names that the server prints have their schema
}
# Of an index whose entries are sought in its table one by one, 4 million a minute. The tables with larger
# ones, spaces and vocabularies, have their rows counted in other ways too.
_MOST_BYTES_BY_ENTRY = 128 * 1024**2
_MOST_BYTES_IN_PASSING = 2 * 1024**2
_FUNCTIONS = {"btree": "bt_index_check", "gin": "gin_index_check"}  # of GIN since PostgreSQL 18

# Kind and name of a damaged relation, and what is wrong.
Problem = tuple[str, str, str]


class IndexCheck:
    """The extensions in a transaction that is rolled back, and what is checked with them.

    Unless it is thorough, the entries of larger indexes are not compared with their table.
    """

    def __init__(self, connection: psycopg.Connection[Any], *, thorough: bool) -> None:
        """Create the extensions; psycopg.Error where this role or server cannot."""
        self._connection, self._is_thorough = connection, thorough
        with atomic(connection):
            for name, value in _SETTINGS.items():
                connection.execute("select set_config(%s, %s, true)", (name, value))
            for name in _EXTENSIONS:
                connection.execute(_CREATE_EXTENSION.format(sql.Identifier(name)))
            schemas = connection.execute(read("check_extensions"), (list(_EXTENSIONS),)).fetchall()
        self._schemas = {name: sql.Identifier(schema) for name, schema in schemas}
        self._amcheck_schema: str = dict(schemas)["amcheck"]

    def table_problem(self, oid: int, name: str) -> Problem | None:
        """The first row whose format is wrong or whose TOAST values lack a part."""
        statement = sql.SQL(
            "select msg from {}.verify_heapam(%s::oid::regclass, check_toast => true) limit 1"
        )
        with self._undone():
            problem = fetch_value(self._connection, statement.format(self._schemas["amcheck"]), (oid,))
        return None if problem is None else ("table", name, problem)

    def index_problem(self, oid: int, name: str, method: str, size: int, lists_rows: bool) -> Problem | None:
        """What is wrong with an index, or with the table whose rows it lists."""
        most_bytes = _MOST_BYTES_BY_ENTRY if self._is_thorough else _MOST_BYTES_IN_PASSING
        with self._undone():
            if method in _FUNCTIONS:
                self._compare(oid, method, all_rows=self._is_thorough or size <= most_bytes)
            if method != "btree":
                pages = self._inspect("check_zero_pages", oid)
                return ("index", name, f"{counted(pages, 'page')} of zeros") if pages else None
            return self._lost_rows(oid) if lists_rows and size <= most_bytes else None

    def _compare(self, oid: int, method: str, *, all_rows: bool) -> None:
        """Let the server read an index, and look each row up in it; it raises what it finds."""
        exists = "select exists (select from pg_proc where pronamespace = %s::regnamespace and proname = %s)"
        if not fetch_value(self._connection, exists, (self._amcheck_schema, _FUNCTIONS[method])):
            return
        function = sql.SQL("{}.{}").format(self._schemas["amcheck"], sql.Identifier(_FUNCTIONS[method]))
        if method == "btree":
            statement = sql.SQL("select {}(%s::oid::regclass, %s)").format(function)
            self._connection.execute(statement, (oid, all_rows))
        else:
            self._connection.execute(sql.SQL("select {}(%s::oid::regclass)").format(function), (oid,))

    def _lost_rows(self, oid: int) -> Problem | None:
        row = self._connection.execute(read("check_table_of_index"), (oid,)).fetchone()
        if row is None:
            return None
        # Without vacuum, an entry's row is there, though it may be dead.
        lock = sql.SQL("lock table {} in share update exclusive mode")
        self._connection.execute(lock.format(sql.Identifier(*row)))
        lost = self._inspect("check_index_entries", oid)
        problem = f"it lacks {counted(lost, 'row')} that are in its index"
        return ("table", ".".join(row), problem) if lost else None

    def _inspect(self, query: str, oid: int) -> int:
        statement = sql.SQL(read(query)).format(schema=self._schemas["pageinspect"])
        return int(fetch_value(self._connection, statement, {"index": oid}))

    @contextmanager
    def _undone(self) -> Iterator[None]:
        with self._connection.transaction(force_rollback=True):
            yield
