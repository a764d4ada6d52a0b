"""A block of statements that happens wholly or not at all, inside whatever transaction the caller has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus


@contextmanager
def atomic(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Undo everything in the block if it raises; the caller's transaction is never committed.

    On a connection in autocommit mode that is in no transaction, the block is a transaction of its own.
    """
    if not connection.autocommit and connection.info.transaction_status is TransactionStatus.IDLE:
        # psycopg's transaction() would otherwise be the outermost one, and commit at its end.
        connection.execute("select 1")
    with connection.transaction():
        yield
