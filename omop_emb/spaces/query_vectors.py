"""QueryVectors: query vectors cached in the database for a client; the least recently used are dropped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Engine

from omop_emb.database.engine import driver_connection, readable_errors
from omop_emb.errors import DatabaseError, InputError
from omop_emb.sql import read

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


class QueryVectors:
    """Vectors of queries by key, shared by every process that uses the database.

    No text is stored: a key is a hash of the text and of everything that shapes its vector. Each call is a
    transaction of its own. Where the database cannot be used, or this role may not write, a warning is
    logged once and queries are embedded without a store.

    Args:
        engine: the database, with its schema up to date (omop-emb db migrate).
        most_vectors: how many are stored; beyond, the least recently used are dropped.
    """

    def __init__(self, engine: Engine, *, most_vectors: int = 50_000) -> None:
        if most_vectors < 1:
            raise InputError(f"most_vectors must be above 0; found {most_vectors}")
        self._engine, self._most_vectors = engine, most_vectors
        self._has_warned = False

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """The stored vectors of these keys, as float32 in little endian."""

        def select(connection: psycopg.Connection[Any]) -> dict[bytes, bytes]:
            query = "select key, vector from omop_emb.query_vector where key = any(%s)"
            rows = dict(connection.execute(query, (list(keys),)).fetchall())
            if rows:
                connection.execute(read("query_vectors_touch"), {"keys": list(rows)})
            return rows

        return self._in_transaction(select) or {}

    def put_many(self, values: Mapping[bytes, bytes]) -> None:
        """Store vectors; those stored already stay unchanged."""

        def insert(connection: psycopg.Connection[Any]) -> None:
            connection.execute(
                "insert into omop_emb.query_vector (key, vector) "
                "select unnest(%s::bytea[]), unnest(%s::bytea[]) on conflict do nothing",
                (list(values), list(values.values())),
            )
            connection.execute(read("query_vectors_evict"), {"most": self._most_vectors})

        self._in_transaction(insert)

    def clear(self) -> int:
        """Drop every vector, and return how many there were."""
        with readable_errors(), self._engine.connect() as connection:
            driver = driver_connection(connection)
            dropped = driver.execute("delete from omop_emb.query_vector").rowcount
            driver.commit()
        return dropped

    def _in_transaction(self, call: Callable[[psycopg.Connection[Any]], _T]) -> _T | None:
        try:
            with readable_errors(), self._engine.connect() as connection:
                driver = driver_connection(connection)
                result = call(driver)
                driver.commit()
        except (DatabaseError, psycopg.Error) as error:
            # A query must not fail for a cache.
            if not self._has_warned:
                self._has_warned = True
                reason = error if isinstance(error, DatabaseError) else type(error).__name__
                logger.warning(
                    "query vectors are not kept in the database (%s): omop-emb db migrate updates it", reason
                )
            return None
        return result
