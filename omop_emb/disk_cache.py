"""The cache folder of matrices: found by name, made by one process at a time, bounded in size."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omop_emb import config

_MARGIN = 1 << 30  # bytes of the disk that are left free


def folder() -> Path:
    """Where matrices are kept."""
    return config.cache_dir() / "matrices"


def limit_bytes() -> int:
    """How much all matrices together may take: OMOP_EMB_CACHE_GB, by default 20."""
    return (config.positive_integer("OMOP_EMB_CACHE_GB") or 20) * 10**9


def contains(name: str) -> bool:
    """Whether a finished matrix of that name is there."""
    return (folder() / name).is_dir()


def cached_folder(name: str) -> Path | None:
    """The folder of a finished matrix, which is marked as used now; None where there is none."""
    path = folder() / name
    try:
        os.utime(path)
    except FileNotFoundError:
        return None
    return path


@contextmanager
def build_folder(name: str, needed: int, *, wait: bool = True) -> Iterator[Path | None]:
    """A folder to fill, which takes its name at the end of the block; None if another process has made it.

    Only one process at a time is in such a block; the others wait. Matrices that were not used for the
    longest time go, until `needed` bytes more are within the limit. If the block raises, nothing is left.

    Raises:
        OSError: no room for `needed` bytes, the folder cannot be written, or another process is in such a
            block and `wait` is false.
    """
    top = folder()
    top.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(top, wait=wait):
        if contains(name):
            yield None
            return
        for left in top.glob("*.part"):  # of a process that was killed: whoever makes one holds the lock
            shutil.rmtree(left, ignore_errors=True)
        _make_room(top, needed)
        part = top / f"{name}.part"
        part.mkdir(mode=0o700)
        try:
            yield part
            part.rename(top / name)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def clear() -> int:
    """Remove every matrix; how many bytes that freed. Who reads one at this moment can finish."""
    top = folder()
    if not top.is_dir():
        return 0
    freed = 0
    with _alone(top):
        for path in _finished(top):
            freed += _bytes(path)
            _remove(path)
    return freed


@contextmanager
def _alone(top: Path, *, wait: bool = True) -> Iterator[None]:
    with (top / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _make_room(top: Path, needed: int) -> None:
    limit = limit_bytes()
    if needed > limit:
        raise OSError(f"it takes {needed / 1e9:.1f} GB, OMOP_EMB_CACHE_GB allows {limit / 1e9:.0f}")
    oldest_first = sorted(_finished(top), key=lambda path: path.stat().st_mtime)
    taken = sum(_bytes(path) for path in oldest_first)
    while oldest_first and (taken + needed > limit or _free(top) < needed + _MARGIN):
        path = oldest_first.pop(0)
        taken -= _bytes(path)
        _remove(path)
    if _free(top) < needed + _MARGIN:
        raise OSError(f"it takes {needed / 1e9:.1f} GB, the disk has {_free(top) / 1e9:.1f} GB left")


def _free(top: Path) -> int:
    return shutil.disk_usage(top).free


def _finished(top: Path) -> list[Path]:
    return [path for path in top.glob("*") if path.is_dir() and not path.name.endswith(".part")]


def _bytes(path: Path) -> int:
    return sum(entry.stat().st_size for entry in path.glob("*"))


def _remove(path: Path) -> None:
    # Renamed first, so that nobody finds half a matrix; a reader's mapping outlives the file's name.
    gone = path.with_name(f"{path.name}.part")
    path.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
