"""Builder leases: who works on a build, and until when.

A builder holds advisory locks as long as its connection lives, and renews a lease. A killed builder is
noticed at once, because its locks go with its connection. The server keeps the connection of a machine that
vanished for hours; that builder is noticed when its lease runs out. Leases are written on a connection that
commits each statement, so that none can be left behind with a row lock.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import Engine

from omop_emb.indexing.connections import open_connection
from omop_emb.spaces.registry import Space
from omop_emb.sql import read

logger = logging.getLogger(__name__)

_LOCK = """
select pg_advisory_lock_shared(hashtext('omop_emb.builders'), %(space)s),
       pg_advisory_lock_shared(hashtext('omop_emb.builder'), hashtext(%(builder)s::uuid::text))
"""
_UNLOCK = """
select pg_advisory_unlock_shared(hashtext('omop_emb.builders'), %(space)s),
       pg_advisory_unlock_shared(hashtext('omop_emb.builder'), hashtext(%(builder)s::uuid::text))
"""


@dataclass(frozen=True)
class Builder:
    """One run of a build.

    Attributes:
        builder_id: new for each run.
        lease_seconds: how long after its last renewal others take its work over.
        backend_pid: server process of the connection that holds its locks.
        is_lost: set when that connection is lost, after which others may take its chunks over.
    """

    builder_id: UUID
    lease_seconds: float
    backend_pid: int
    is_lost: Event = field(default_factory=Event, compare=False)


@contextmanager
def builder_lease(engine: Engine, space: Space, lease_seconds: float) -> Iterator[Builder]:
    """Register a builder of a space for the block, and renew its lease however long the model takes.

    At the end its remaining chunks are released, so that the next builder can claim them at once.
    """
    ended = Event()

    def keep_renewing(connection: psycopg.Connection[Any], builder: Builder) -> None:
        while not ended.wait(lease_seconds / 4):
            try:
                renew(connection, space, builder)
            except psycopg.Error as error:
                # The thread that writes meets the same error and reports it.
                logger.debug("a lease was not renewed: %s", type(error).__name__)
                if connection.closed:
                    builder.is_lost.set()
                    return

    with open_connection(engine, autocommit=True) as connection:
        builder = acquire(connection, space, uuid4(), lease_seconds)
        thread = Thread(target=keep_renewing, args=(connection, builder), name="omop-emb-lease", daemon=True)
        thread.start()
        try:
            yield builder
        finally:
            ended.set()
            thread.join()
            with suppress(psycopg.Error):
                release(connection, space, builder)


def acquire(
    connection: psycopg.Connection[Any], space: Space, builder_id: UUID, lease_seconds: float
) -> Builder:
    """Register a builder of a space until this connection closes or release() is called."""
    connection.execute(_LOCK, {"space": space.space_id, "builder": builder_id})
    return Builder(builder_id, lease_seconds, connection.info.backend_pid)


def renew(connection: psycopg.Connection[Any], space: Space, builder: Builder) -> None:
    """Extend the build and this builder's chunks by another lease."""
    parameters = {"space": space.space_id, "builder": builder.builder_id, "lease": builder.lease_seconds}
    for statement in (
        "update omop_emb.build set lease_until = clock_timestamp() + make_interval(secs => %(lease)s) "
        "where space_id = %(space)s",
        "update omop_emb.build_chunk set lease_until = clock_timestamp() + make_interval(secs => %(lease)s) "
        "where space_id = %(space)s and builder = %(builder)s",
    ):
        connection.execute(statement, parameters)


def release(connection: psycopg.Connection[Any], space: Space, builder: Builder) -> None:
    """Give up the locks and every chunk that this builder still holds."""
    parameters = {"space": space.space_id, "builder": builder.builder_id}
    connection.execute(
        "update omop_emb.build_chunk set builder = null, lease_until = null "
        "where space_id = %(space)s and builder = %(builder)s",
        parameters,
    )
    connection.execute(_UNLOCK, parameters)


def limit_idle_time(connection: psycopg.Connection[Any], builder: Builder) -> None:
    """Let the server end this transaction if its client vanishes: its locks would block other builders."""
    connection.execute(
        "select set_config('idle_in_transaction_session_timeout', %s, true)",
        (f"{max(1, round(builder.lease_seconds * 1000))}ms",),
    )


def has_other_builders(connection: psycopg.Connection[Any], space: Space, builder: Builder) -> bool:
    """Whether another builder works on the space's build now."""
    parameters = {"space": space.space_id, "pid": builder.backend_pid}
    row = connection.execute(read("build_alive"), parameters).fetchone()
    return row is not None and bool(row[0])
