"""Making a vector index after a load, with as much memory and as many workers as there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors as postgres

from omop_emb.machine import available_memory_bytes, processors, shared_memory_bytes
from omop_emb.spaces.registry import Space
from omop_emb.spaces.size import indexed_dimensions

_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Resources:
    """What an index build may use.

    Attributes:
        memory_bytes: for maintenance_work_mem.
        workers: processes beside the one that leads.
    """

    memory_bytes: int
    workers: int


def index_memory_bytes(rows: int, dimensions: int, m: int = 16) -> int:
    """What pgvector needs to build an HNSW index on halfvec in memory; see build_size.indexed_dimensions().

    Measured with pgvector 0.8.6: 2,251 bytes a row at 768 dimensions and m 16, 2,508 at m 24, 1,484 at
    384, 1,227 at 256, 810 of 768 bits; a tenth is added, as the share of rows on higher levels varies.
    """
    return int(rows * (203 + 32 * m + 2 * dimensions) * 1.1) + 16 * _MEBIBYTE


def make_index(
    connection: psycopg.Connection[Any], space: Space, rows: int, *, domain: int | None, name: str
) -> None:
    """Make a vector index of a space in the caller's transaction.

    Args:
        connection: in whose transaction it happens.
        space: whose rows are indexed.
        rows: how many these are, about.
        domain: only those of this domain; None: all.
        name: of the index.
    """
    dimensions = indexed_dimensions(space.fingerprint.dimensions, space.first_pass)
    found = resources(connection, index_memory_bytes(rows, dimensions, space.hnsw_m))
    try:
        with connection.transaction():
            _create(connection, space, found, domain, name)
    except (postgres.DiskFull, postgres.OutOfMemory, postgres.ConfigurationLimitExceeded):
        # Workers share the memory through /dev/shm, which containers keep small; one process needs none.
        with connection.transaction():
            _create(connection, space, Resources(found.memory_bytes, 0), domain, name)


def resources(connection: psycopg.Connection[Any], wanted_bytes: int) -> Resources:
    """What an index build that needs `wanted_bytes` may take of the server's machine.

    On this machine at most half of what is free, and of /dev/shm nine tenths. Of another machine only its
    settings are known: as much again as shared_buffers, which is customarily a quarter of its memory.
    """
    row = connection.execute(
        "select pg_size_bytes(current_setting('maintenance_work_mem')), "
        "pg_size_bytes(current_setting('shared_buffers')), "
        "least(current_setting('max_worker_processes')::int, current_setting('max_parallel_workers')::int)"
    ).fetchone()
    assert row is not None  # noqa: S101 - a select without from has one row
    configured, shared_buffers, workers = row
    if is_local(connection):
        allowed = max(configured, available_memory_bytes() // 2)
        workers = min(workers, processors() - 1)
        if min(wanted_bytes, allowed) > shared_memory_bytes() * 9 // 10:
            workers = 0
    else:
        allowed = max(configured, shared_buffers)
    # 2 GB less one kilobyte is the setting's limit on some platforms; 64-bit ones take more.
    return Resources(max(64 * _MEBIBYTE, min(wanted_bytes, allowed)), max(0, workers))


def is_local(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server runs on this machine, as far as the way to it tells."""
    host = connection.info.host
    return host.startswith("/") or host in ("localhost", "127.0.0.1", "::1")


def _create(
    connection: psycopg.Connection[Any], space: Space, found: Resources, domain: int | None, name: str
) -> None:
    settings = {
        "maintenance_work_mem": f"{found.memory_bytes // 1024}kB",
        "max_parallel_maintenance_workers": str(found.workers),
        "statement_timeout": "0",
    }
    for setting, value in settings.items():
        connection.execute("select set_config(%s, %s, true)", (setting, value))
    space.tables.create_hnsw(
        connection,
        m=space.hnsw_m,
        ef_construction=space.hnsw_ef_construction,
        first_pass=space.first_pass,
        domain=domain,
        name=name,
    )
