"""Machine: the memory and processors that this process may use, control groups (containers) included."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
_UNKNOWN_MEMORY_BYTES = 1 << 30


def memory_bytes(root: Path = _ROOT) -> int:
    """Memory that this process may use: the machine's, or its control group's limit where that is less.

    Args:
        root: where proc and sys are mounted; tests pass a folder.
    """
    return min([_physical_bytes(), *(limit for limit, _ in _memory_limits(root))])


def available_memory_bytes(root: Path = _ROOT) -> int:
    """Memory free for this process now, file caches included; 1 GiB where the system says nothing."""
    return min([_free_bytes(root), *(max(0, limit - used) for limit, used in _memory_limits(root))])


def shared_memory_bytes() -> int:
    """Free shared memory; very much where no file system limits it."""
    try:
        status = os.statvfs("/dev/shm")  # noqa: S108 - measured, not written to
    except OSError:
        return 1 << 62
    return status.f_bavail * status.f_frsize


def processors(root: Path = _ROOT) -> int:
    """Processors that this process may use: its affinity, or its control group's quota where that is less."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([allowed, *_processor_quotas(root)])


def _physical_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _free_bytes(root: Path) -> int:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return _physical_bytes() // 2
    except (OSError, ValueError):
        return _UNKNOWN_MEMORY_BYTES


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use, in bytes, of each control group above this process; file caches are not use."""
    for controller, folder in _control_groups(root):
        version_1 = controller == "memory"
        if controller not in ("", "memory"):
            continue
        limit = _number(folder / ("memory.limit_in_bytes" if version_1 else "memory.max"))
        if limit is None:
            continue
        used = _number(folder / ("memory.usage_in_bytes" if version_1 else "memory.current")) or 0
        yield limit, used - _inactive_file_bytes(folder / "memory.stat")


def _processor_quotas(root: Path) -> Iterator[int]:
    for controller, folder in _control_groups(root):
        if controller == "":
            quota, period = _quota(folder / "cpu.max")
        elif controller == "cpu":
            quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        else:
            continue
        if quota and period and quota > 0:
            yield max(1, math.ceil(quota / period))


def _control_groups(root: Path) -> Iterator[tuple[str, Path]]:
    """Controller ("" for version 2) and folder of each control group, from this process's own upwards."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            top = root / "sys/fs/cgroup" / controller
            # Inside a container the path may not exist; the folders above it do.
            folder = top / path.lstrip("/")
            for group in (folder, *folder.parents):
                yield controller, group
                if group == top:
                    break


def _number(file: Path) -> int | None:
    """The number in a file; None where there is none ("max")."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _quota(file: Path) -> tuple[int | None, int | None]:
    try:
        quota, period = file.read_text().split()
        return int(quota), int(period)
    except (OSError, ValueError):
        return None, None  # no such file, or no limit ("max 100000")


def _inactive_file_bytes(file: Path) -> int:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file") and value.isdecimal():
            return int(value)
    return 0
