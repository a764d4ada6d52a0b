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
from dataclasses import dataclass, field, replace
from threading import Event, Thread
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import Engine

from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.indexing.build_options import BuildOptions
from omop_emb.indexing.connections import Connection, open_connection
from omop_emb.search.vector_indexes import IndexSettings
from omop_emb.spaces.recipe import Recipe
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
    """One run of a build: who brings a space to a recipe and indexes, with which client and options."""

    engine: Engine
    client: EmbeddingClient
    space: Space
    recipe: Recipe
    indexes: IndexSettings
    options: BuildOptions
    backend_pid: int = 0  # server process of the connection that holds the locks
    builder_id: UUID = field(default_factory=uuid4)
    is_lost: Event = field(default_factory=Event, compare=False)  # set when that connection is lost

    @property
    def parameters(self) -> dict[str, object]:
        """Bind parameters of statements about this builder."""
        return {
            "space": self.space.space_id,
            "builder": self.builder_id,
            "lease": self.options.lease_seconds,
            "pid": self.backend_pid,
        }


@contextmanager
def builder_lease(builder: Builder) -> Iterator[Builder]:
    """Register a builder for the block, and renew its lease however long the model takes.

    At the end its remaining chunks are released, so that the next builder can claim them at once.
    """
    ended = Event()

    def keep_renewing(connection: Connection, builder: Builder) -> None:
        while not ended.wait(builder.options.lease_seconds / 4):
            try:
                _renew(connection, builder)
            except psycopg.Error as error:
                # The thread that writes meets the same error and reports it.
                logger.debug("a lease was not renewed: %s", type(error).__name__)
                if connection.closed:
                    builder.is_lost.set()
                    return

    with open_connection(builder.engine, autocommit=True) as connection:
        builder = replace(builder, backend_pid=connection.info.backend_pid)
        connection.execute(_LOCK, builder.parameters)
        thread = Thread(target=keep_renewing, args=(connection, builder), name="omop-emb-lease", daemon=True)
        thread.start()
        try:
            yield builder
        finally:
            ended.set()
            thread.join()
            with suppress(psycopg.Error):
                _release(connection, builder)


def _renew(connection: Connection, builder: Builder) -> None:
    for statement in (
        "update omop_emb.build set lease_until = clock_timestamp() + make_interval(secs => %(lease)s) "
        "where space_id = %(space)s",
        "update omop_emb.build_chunk set lease_until = clock_timestamp() + make_interval(secs => %(lease)s) "
        "where space_id = %(space)s and builder = %(builder)s",
    ):
        connection.execute(statement, builder.parameters)


def _release(connection: Connection, builder: Builder) -> None:
    connection.execute(
        "update omop_emb.build_chunk set builder = null, lease_until = null "
        "where space_id = %(space)s and builder = %(builder)s",
        builder.parameters,
    )
    connection.execute(_UNLOCK, builder.parameters)


def limit_idle_time(connection: Connection, builder: Builder) -> None:
    """Let the server end this transaction if its client vanishes: its locks would block other builders."""
    connection.execute(
        "select set_config('idle_in_transaction_session_timeout', %s, true)",
        (f"{max(1, round(builder.options.lease_seconds * 1000))}ms",),
    )


def has_other_builders(connection: Connection, builder: Builder) -> bool:
    """Whether another builder works on the same space now."""
    row = connection.execute(read("build_has_other_builders"), builder.parameters).fetchone()
    return row is not None and bool(row[0])
