"""Database connections of indexing: opened for one purpose, of the driver's own type."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from sqlalchemy import Engine

from omop_emb.database.damage import named_damage
from omop_emb.database.engine import driver_connection
from omop_emb.database.readable_errors import readable_errors
from omop_emb.database.session_settings import correct_settings

Connection: TypeAlias = psycopg.Connection[Any]


@contextmanager
def open_connection(engine: Engine, *, autocommit: bool = False) -> Iterator[Connection]:
    """A connection for the block; what the block does not commit is rolled back."""
    with named_damage(engine), readable_errors(), engine.connect() as connection:
        if autocommit:
            connection.execution_options(isolation_level="AUTOCOMMIT")
        driver = driver_connection(connection)
        # Of a caller's engine, whose settings end with each transaction otherwise.
        correct_settings(driver, for_session=True)
        yield driver
