"""HNSW indexes: created with the memory and workers that the machine can give."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import errors as postgres

from omop_emb.machine import available_memory_bytes, processors, shared_memory_bytes
from omop_emb.spaces.registry import Space
from omop_emb.spaces.size import indexed_dimensions

_MEBIBYTE = 1 << 20
_MIN_MEMORY_BYTES = 64 * _MEBIBYTE  # PostgreSQL's own default of maintenance_work_mem


def index_memory_bytes(rows: int, dimensions: int, m: int = 16) -> int:
    """What pgvector needs to build an HNSW index over so many dimensions of halfvec in memory.

    Measured with pgvector 0.8.6: 2,251 bytes a row at 768 dimensions and m 16, 2,508 at m 24, 1,484 at
    384, 1,227 at 256, 810 of 768 bits. A tenth is added, because the share of rows on higher levels varies.
    """
    return int(rows * (203 + 32 * m + 2 * dimensions) * 1.1) + 16 * _MEBIBYTE


def create_index(
    connection: psycopg.Connection[Any], space: Space, rows: int, *, domain: int | None, name: str
) -> None:
    """Create a vector index over about so many rows, all or a domain's, in the caller's transaction."""
    dimensions = indexed_dimensions(space.fingerprint.dimensions, space.first_pass)
    memory_bytes, workers = _resources(connection, index_memory_bytes(rows, dimensions, space.hnsw_m))
    try:
        with connection.transaction():
            _create(connection, space, memory_bytes, workers, domain, name)
    except (postgres.DiskFull, postgres.OutOfMemory, postgres.ConfigurationLimitExceeded):
        # Workers share memory through /dev/shm, which containers keep small; a single process needs none.
        with connection.transaction():
            _create(connection, space, memory_bytes, 0, domain, name)


def memory_limit_bytes(connection: psycopg.Connection[Any]) -> int:
    """The most memory that building an index may take.

    On this machine half of the free memory. Of another machine only its settings are known: its
    shared_buffers, which is customarily a quarter of its memory.
    """
    row = connection.execute(
        "select pg_size_bytes(current_setting('maintenance_work_mem')), "
        "pg_size_bytes(current_setting('shared_buffers'))"
    ).fetchone()
    assert row is not None  # noqa: S101 - a select without from has one row
    configured, shared_buffers = map(int, row)
    return max(configured, available_memory_bytes() // 2 if _is_local(connection) else shared_buffers)


def _resources(connection: psycopg.Connection[Any], needed_bytes: int) -> tuple[int, int]:
    """maintenance_work_mem in bytes, and parallel workers, for an index that needs so much memory.

    On this machine workers share at most nine tenths of /dev/shm.
    """
    allowed = memory_limit_bytes(connection)
    row = connection.execute(
        "select least(current_setting('max_worker_processes')::int, "
        "current_setting('max_parallel_workers')::int)"
    ).fetchone()
    assert row is not None  # noqa: S101 - a select without from has one row
    workers = int(row[0])
    if _is_local(connection):
        workers = min(workers, processors() - 1)
        if min(needed_bytes, allowed) > shared_memory_bytes() * 9 // 10:
            workers = 0
    # Some platforms limit the setting to 2 GB less one kilobyte; 64-bit Linux and macOS do not.
    return max(_MIN_MEMORY_BYTES, min(needed_bytes, allowed)), max(0, workers)


def _is_local(connection: psycopg.Connection[Any]) -> bool:
    host = connection.info.host
    return host.startswith("/") or host in ("localhost", "127.0.0.1", "::1")


def _create(
    connection: psycopg.Connection[Any],
    space: Space,
    memory_bytes: int,
    workers: int,
    domain: int | None,
    name: str,
) -> None:
    settings = {
        "maintenance_work_mem": f"{memory_bytes // 1024}kB",
        "max_parallel_maintenance_workers": str(workers),
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
