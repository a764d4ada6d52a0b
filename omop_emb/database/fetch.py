"""Single values: the first column of a query's first row."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.abc import Params
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Composed


def fetch_value(
    connection: psycopg.Connection[Any], query: str | SQL | Composed, parameters: Params | None = None
) -> Any:
    """The first column of the first row, or None; the connection's row factory does not matter."""
    row = connection.cursor(row_factory=tuple_row).execute(query, parameters).fetchone()
    return None if row is None else row[0]
