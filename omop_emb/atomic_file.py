"""Files that appear whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from omop_emb.errors import InputError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """A handle for the new content of a file, which takes its place when the block ends without an error.

    Until then, and after an error, a file that was there before is as it was. "-" is stdout, and what
    is not a regular file (a pipe, /dev/stdout) is written as it goes.

    Raises:
        InputError: the file cannot be made there, or the disk is full.
    """
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    # Through a link to what it stands for: renaming over the link would leave its target stale.
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        if target.is_dir():
            raise InputError(f"{path} is a folder; give the name of a file")
        with target.open("wb") as handle:
            yield handle
        return
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent}; make it first")
    beside = target.with_name(f".{target.name[:80]}.{uuid4().hex[:8]}.part")
    try:
        # Made with the permissions of a new file, as the user's umask wants it; tempfile's are 0600.
        handle = os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with handle:
            if target.exists():
                with suppress(OSError):
                    os.fchmod(handle.fileno(), target.stat().st_mode & 0o777)
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        beside.replace(target)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, BrokenPipeError):
            raise InputError(f"{path} cannot be written: {error.strerror}") from error
        raise
