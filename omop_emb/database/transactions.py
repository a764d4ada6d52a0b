"""Atomic blocks: statements that happen all or not at all, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus


@contextmanager
def atomic(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Undo everything in the block if it raises; the caller's transaction is never committed.

    On a connection in autocommit mode outside a transaction, the block is its own transaction.
    """
    if not connection.autocommit and connection.info.transaction_status is TransactionStatus.IDLE:
        # Otherwise psycopg's transaction() would be the outermost one, and commit at its end.
        connection.execute("select 1")
    with connection.transaction():
        yield
