"""Server settings: sized from the memory, processors and disk of this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from omop_emb.machine import memory_bytes, processors

_MB = 1024**2
_GB = 1024**3

PORT = 5432  # only names the socket's file: the server listens on no TCP port


def configuration(*, cluster: Path, socket_dir: Path, cluster_name: str) -> str:
    """Text of the conf file that the server reads after its own; ALTER SYSTEM overrides it."""
    memory, cores = memory_bytes(), processors()
    maintenance = _clamp(memory // 8, 64 * _MB, 2 * _GB)
    settings: dict[str, str | int] = {
        "listen_addresses": "",
        "port": PORT,
        # The value is a list: quotation marks protect a comma in the path.
        "unix_socket_directories": '"' + str(socket_dir).replace('"', '""') + '"',
        "unix_socket_permissions": "0700",
        # Shown in the title of every process of this server, by which orphans are recognised.
        "cluster_name": cluster_name,
        "max_connections": 100,
        # Otherwise each connection and each parallel worker loads it: a quarter of a worker's start.
        "shared_preload_libraries": "vector",
        "shared_buffers": _kilobytes(_clamp(memory // 4, 32 * _MB, 8 * _GB)),
        "effective_cache_size": _kilobytes(memory // 2),
        "maintenance_work_mem": _kilobytes(maintenance),
        "work_mem": _kilobytes(_clamp(memory // 128, 4 * _MB, 64 * _MB)),
        "dynamic_shared_memory_type": _shared_memory_kind(maintenance),
        "max_worker_processes": max(8, cores + 4),
        "max_parallel_workers": max(1, cores),
        "max_parallel_maintenance_workers": max(1, cores - 1),
        # One core is the leader's; a worker without a core of its own costs more than it gains.
        "max_parallel_workers_per_gather": _clamp(cores - 1, 0, 4),
        "jit": "off",
        "random_page_cost": "1.1",
        # There is no standby, so a table created and filled in one transaction needs no log of its rows.
        "wal_level": "minimal",
        # By default PostgreSQL logs small new files, and a sequence created and used in one transaction then
        # repeats numbers after a crash (18.6). With zero it syncs new files instead.
        "wal_skip_threshold": 0,
        "max_wal_senders": 0,
        "max_wal_size": f"{_clamp(shutil.disk_usage(cluster).free // 10, 256 * _MB, 8 * _GB) // _MB}MB",
        "checkpoint_timeout": "15min",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "lc_messages": "C",
        # Errors, statements and their values may hold clinical text: only the client gets them.
        "log_min_messages": "log",
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        "log_checkpoints": "off",
        "log_startup_progress_interval": "2s",
    }
    lines = [f"{name} = '{str(value).replace(chr(39), chr(39) * 2)}'" for name, value in settings.items()]
    return "\n".join(["# Written by omop-emb at every start. Your own settings: ALTER SYSTEM.", *lines, ""])


def _shared_memory_kind(needed: int) -> str:
    # Parallel index builds take maintenance_work_mem from /dev/shm, 64 MB in a plain container.
    try:
        free = shutil.disk_usage("/dev/shm").free  # noqa: S108 - measured, not written to
    except OSError:
        return "posix"  # not Linux: shm_open has no such limit
    return "posix" if free >= 2 * needed else "sysv"


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))


def _kilobytes(value: int) -> str:
    return f"{value // 1024}kB"
