"""Who is at a build: each builder holds locks as long as its connection lives, and renews a lease.

A killed builder is noticed at once, as its locks go with its connection. A machine that vanished keeps its
connection for hours, as far as the server knows, and is noticed when its lease runs out. The connections that
enter(), renew() and claims use commit each statement by itself, so that none can be left with a lock on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event
from typing import Any
from uuid import UUID

import psycopg

from omop_emb.spaces.registry import Space
from omop_emb.sql import read

LEASE_SECONDS = 120.0


@dataclass(frozen=True)
class Builder:
    """One run of a build.

    Attributes:
        builder_id: new for each run.
        lease_seconds: how long after its last sign of life its work is taken over.
        backend_pid: of the connection that holds its locks.
        is_lost: set when that connection is: others may then take its pieces over.
    """

    builder_id: UUID
    lease_seconds: float
    backend_pid: int
    is_lost: Event = field(default_factory=Event, compare=False)


def acquire(
    connection: psycopg.Connection[Any], space: Space, builder_id: UUID, lease_seconds: float
) -> Builder:
    """Be at the build of a space as long as this connection is open, or until leave()."""
    for lock in (
        "pg_advisory_lock_shared(hashtext('omop_emb.builders'), %(space)s)",
        "pg_advisory_lock_shared(hashtext('omop_emb.builder'), hashtext(%(builder)s::uuid::text))",
    ):
        connection.execute(f"select {lock}", {"space": space.space_id, "builder": builder_id})
    return Builder(builder_id, lease_seconds, connection.info.backend_pid)


def release(connection: psycopg.Connection[Any], space: Space, builder: Builder) -> None:
    """Give up the locks and every piece that is still held."""
    connection.execute(
        "update omop_emb.build_chunk set builder = null, lease_until = null "
        "where space_id = %s and builder = %s",
        (space.space_id, builder.builder_id),
    )
    for lock in (
        "pg_advisory_unlock_shared(hashtext('omop_emb.builders'), %(space)s)",
        "pg_advisory_unlock_shared(hashtext('omop_emb.builder'), hashtext(%(builder)s::uuid::text))",
    ):
        connection.execute(f"select {lock}", {"space": space.space_id, "builder": builder.builder_id})


def renew(connection: psycopg.Connection[Any], space: Space, builder: Builder) -> None:
    """Keep the build and this builder's pieces for another lease."""
    parameters = {"space": space.space_id, "builder": builder.builder_id, "lease": builder.lease_seconds}
    for statement in (
        "update omop_emb.build set lease_until = clock_timestamp() + make_interval(secs => %(lease)s) "
        "where space_id = %(space)s",
        "update omop_emb.build_chunk set lease_until = clock_timestamp() + make_interval(secs => %(lease)s) "
        "where space_id = %(space)s and builder = %(builder)s",
    ):
        connection.execute(statement, parameters)


def limit_idle_time(connection: psycopg.Connection[Any], builder: Builder) -> None:
    """Let the server end this transaction if its client vanishes: its locks would stop all other builders."""
    connection.execute(
        "select set_config('idle_in_transaction_session_timeout', %s, true)",
        (f"{max(1, round(builder.lease_seconds * 1000))}ms",),
    )


def has_other_builders(connection: psycopg.Connection[Any], space: Space, builder: Builder | None) -> bool:
    """Whether another builder is at the build of a space."""
    parameters = {"space": space.space_id, "pid": builder.backend_pid if builder else 0}
    row = connection.execute(read("build_alive"), parameters).fetchone()
    return row is not None and bool(row[0])
