"""Disk cache: folders found by name, built by one process at a time, limited in size, checked when opened."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from omop_emb import config
from omop_emb.safe_files.private_file import cache_folder, open_private
from omop_emb.safe_files.sealed_folder import is_intact, publish, seal

logger = logging.getLogger(__name__)

_NAME = "matrices"
_FREE_BYTES = 1 << 30  # of the disk that are never used


def folder() -> Path:
    """Where everything is cached."""
    return config.cache_dir() / _NAME


def limit_bytes() -> int:
    """How much everything together may take: OMOP_EMB_CACHE_GB, by default 20."""
    return (config.positive_integer("OMOP_EMB_CACHE_GB") or 20) * 10**9


def cached_folder(name: str) -> Path | None:
    """The finished folder of that name, marked as used now; None where there is none, or it is damaged."""
    try:
        path = cache_folder(config.cache_dir(), _NAME, make=False) / name
    except FileNotFoundError:
        return None
    with suppress(OSError):
        os.utime(path)
    return path if is_intact(path) else None


@contextmanager
def build_folder(name: str, size: int, *, wait: bool = True) -> Iterator[Path | None]:
    """A folder to fill with `size` bytes, sealed and named at the end; None if another process has built it.

    Only one process at a time is in such a block; the others wait. Folders that were not used for the longest
    time are removed until the new one fits the limit. If the block raises, nothing is left.

    Raises:
        OSError: there is no room, the folder cannot be written, or another process is in such a block and
            `wait` is false.
        ConfigurationError: another user can write to the folder, see cache_folder().
    """
    top = cache_folder(config.cache_dir(), _NAME)
    with _locked(top, wait=wait):
        if (top / name).is_dir():
            if is_intact(top / name):
                yield None
                return
            logger.warning("%s was damaged and is being rebuilt: is the disk healthy?", top / name)
            _remove(top / name)
        for unfinished in top.glob("*.part"):  # of a process that was killed: this one holds the lock
            shutil.rmtree(unfinished, ignore_errors=True)
        _make_room(top, size)
        part = top / f"{name}.part"
        part.mkdir(mode=0o700)
        try:
            yield part
            seal(part)
            publish(part, top / name)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def clear() -> int:
    """Remove everything; how many bytes that freed. A process that reads from it can finish."""
    try:
        top = cache_folder(config.cache_dir(), _NAME, make=False)
    except FileNotFoundError:
        return 0
    freed = 0
    with _locked(top):
        for path in _finished(top):
            freed += _bytes(path)
            _remove(path)
    return freed


@contextmanager
def _locked(top: Path, *, wait: bool = True) -> Iterator[None]:
    with os.fdopen(open_private(top / ".lock"), "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _make_room(top: Path, size: int) -> None:
    limit = limit_bytes()
    if size > limit:
        raise OSError(f"it takes {size / 1e9:.1f} GB, OMOP_EMB_CACHE_GB allows {limit / 1e9:.0f}")
    oldest_first = sorted(_finished(top), key=lambda path: path.stat().st_mtime)
    used = sum(_bytes(path) for path in oldest_first)
    while oldest_first and (used + size > limit or _free(top) < size + _FREE_BYTES):
        path = oldest_first.pop(0)
        used -= _bytes(path)
        _remove(path)
    if _free(top) < size + _FREE_BYTES:
        raise OSError(f"it takes {size / 1e9:.1f} GB, the disk has {_free(top) / 1e9:.1f} GB left")


def _free(top: Path) -> int:
    return shutil.disk_usage(top).free


def _finished(top: Path) -> list[Path]:
    return [path for path in top.glob("*") if path.is_dir() and not path.name.endswith(".part")]


def _bytes(path: Path) -> int:
    return sum(entry.stat().st_size for entry in path.glob("*"))


def _remove(path: Path) -> None:
    # Renamed first, so that nobody finds half a folder; a reader's mapping outlives the file's name.
    part = path.with_name(f"{path.name}.part")
    path.rename(part)
    shutil.rmtree(part, ignore_errors=True)
