"""Query vectors kept in the database, the least recently used of them dropped; a VectorStore for a client."""

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

    Neither a text nor what it was asked for is stored: a key is a hash of the text and of everything that
    shapes its vector. Each call is a transaction of its own. Where the database cannot be used, or this role
    may not write, a warning is logged once and queries are embedded as if there were no store.

    Args:
        engine: the database; its schema must have been brought up to date (omop-emb db migrate).
        most_vectors: the least recently used are dropped beyond.
    """

    def __init__(self, engine: Engine, *, most_vectors: int = 50_000) -> None:
        if most_vectors < 1:
            raise InputError(f"most_vectors must be above 0; found {most_vectors}")
        self._engine, self._most_vectors = engine, most_vectors
        self._has_warned = False

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """The vectors of those keys that are there, as float32 in little endian."""

        def found(connection: psycopg.Connection[Any]) -> dict[bytes, bytes]:
            query = "select key, vector from omop_emb.query_vector where key = any(%s)"
            rows = dict(connection.execute(query, (list(keys),)).fetchall())
            if rows:
                connection.execute(read("query_vectors_touch"), {"keys": list(rows)})
            return rows

        return self._do(found) or {}

    def put_many(self, values: Mapping[bytes, bytes]) -> None:
        """Keep vectors; those that are there stay as they are."""

        def keep(connection: psycopg.Connection[Any]) -> None:
            connection.execute(
                "insert into omop_emb.query_vector (key, vector) "
                "select unnest(%s::bytea[]), unnest(%s::bytea[]) on conflict do nothing",
                (list(values), list(values.values())),
            )
            connection.execute(read("query_vectors_evict"), {"most": self._most_vectors})

        self._do(keep)

    def clear(self) -> int:
        """Drop every vector; how many there were."""
        with readable_errors(), self._engine.connect() as connection:
            driver = driver_connection(connection)
            dropped = driver.execute("delete from omop_emb.query_vector").rowcount
            driver.commit()
        return dropped

    def _do(self, call: Callable[[psycopg.Connection[Any]], _T]) -> _T | None:
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
                    "query vectors are not kept in the database (%s): omop-emb db migrate updates it",
                    reason,
                )
            return None
        return result
