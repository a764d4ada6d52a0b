"""Part files: a file's content under a temporary name, locked as long as its process lives."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


def make_part(target: Path, *, is_private: bool = False) -> tuple[Path, int]:
    """A new file beside the target, to be renamed to it, and its descriptor, which holds a lock.

    What killed processes left of the same target is deleted. A private one is never open to others.
    """
    _remove_left(target)
    # A new file has the permissions of the user's umask (tempfile's are 0600), another keeps its own.
    mode = 0o600 if is_private or target.exists() else 0o666
    while True:
        part = target.with_name(f"{_beginning(target)}{uuid4().hex[:8]}.part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with suppress(OSError):  # some network file systems have no locks; they keep what is left
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if part.exists():
            return part, descriptor
        os.close(descriptor)  # another process has deleted it before it was locked


def _beginning(target: Path) -> str:
    return f".{target.name[:80]}."


def _remove_left(target: Path) -> None:
    part_name = re.compile(rf"{re.escape(_beginning(target))}[0-9a-f]{{8}}\.part")
    with suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            if part_name.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_if_left(Path(entry.path))


def _remove_if_left(part: Path) -> None:
    """Delete a part file of this user's own that no process has locked."""
    descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if it is in use
            part.unlink()
    finally:
        os.close(descriptor)
