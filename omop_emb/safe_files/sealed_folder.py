"""Sealed folders: a manifest of sizes and digests shows damage before the files are believed.

The sizes are compared at every use, the contents at the first use after a file was touched or the machine
started: SHA-256 of 300 MB takes 0.2 to 0.6 s, a search 10 ms.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeAlias

_MANIFEST, _VERIFIED = "manifest.json", "verified.json"
_BLOCK = 8 << 20
_CLOCK_TICK_SECONDS = 0.02  # a file system's clock: what is written later than that has another time
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

Mark: TypeAlias = list[int]
"""Inode, size and times of a file: another one after whatever is written to it."""

_verified: dict[str, dict[str, Mark]] = {}
"""The marks of the files of each folder that this process found intact."""


def seal(folder: Path) -> None:
    """Force a finished folder's files to the disk, and note their sizes and digests."""
    files = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    (folder / _MANIFEST).write_text(json.dumps(files))
    for path in (*folder.iterdir(), folder):
        force_to_disk(path)
    _remember(folder, {name: _mark(folder / name) for name in files})
    time.sleep(_CLOCK_TICK_SECONDS)


def publish(folder: Path, target: Path) -> None:
    """Give a sealed folder its name, so that a crash leaves the whole folder there or none."""
    folder.rename(target)
    force_to_disk(target.parent)


def is_intact(folder: Path) -> bool:
    """Whether a sealed folder's files are still what was sealed; False for any doubt."""
    try:
        names = _verified.get(str(folder))
        if names is not None and names == {name: _mark(folder / name) for name in names}:
            return True
        files = json.loads((folder / _MANIFEST).read_bytes())
        marks = {name: _mark(folder / name) for name in files}
        if not marks:
            return False
        if not _was_verified(folder, marks):
            if any(marks[name][1] != size for name, (size, _) in files.items()):
                return False
            if any(file_digest(folder / name) != digest for name, digest in files.items()):
                return False
            _remember(folder, marks)
    except (OSError, ValueError, TypeError, AttributeError):
        return False
    _verified[str(folder)] = marks
    return True


def _mark(path: Path) -> Mark:
    status = path.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def file_digest(path: Path) -> list[int | str]:
    """The size of a file and the digest of its blocks' digests."""
    with path.open("rb") as file:
        return open_file_digest(file.fileno())


def open_file_digest(descriptor: int) -> list[int | str]:
    """The same of an open file."""
    size = os.fstat(descriptor).st_size

    def block(start: int) -> bytes:
        return hashlib.sha256(os.pread(descriptor, _BLOCK, start)).digest()

    with ThreadPoolExecutor() as pool:
        whole = hashlib.sha256(b"".join(pool.map(block, range(0, size, _BLOCK))))
    return [size, whole.hexdigest()]


def _was_verified(folder: Path, marks: dict[str, Mark]) -> bool:
    boot = _boot()
    with suppress(OSError, ValueError):
        return boot != "" and json.loads((folder / _VERIFIED).read_bytes()) == [boot, marks]
    return False


def _remember(folder: Path, marks: dict[str, Mark]) -> None:
    with suppress(OSError):  # a folder that this user may only read: each process verifies for itself
        (folder / _VERIFIED).write_text(json.dumps([_boot(), marks]))


@cache
def _boot() -> str:
    """An id of the time since the machine started; "" where the system has none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def force_to_disk(path: Path) -> None:
    """Wait until a file's or folder's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
