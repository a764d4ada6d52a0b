"""Atomic files: written beside the target, then renamed, so that they appear complete or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from omop_emb.errors import InputError
from omop_emb.safe_files.part_file import make_part


@contextmanager
def atomic_write(path: str | Path, *, is_private: bool = False) -> Iterator[BinaryIO]:
    """A handle for a file's new content, which replaces the old when the block ends without an error.

    "-" is stdout; that, and what is no regular file (a pipe, /dev/stdout), is written directly. A new file
    that is private is never open to others. Raises InputError if the file cannot be written, or the disk is
    full.
    """
    with AtomicFiles() as files:
        with files.open(path, is_private=is_private) as handle:
            yield handle
        files.publish()


def check_folder_of(path: str | Path) -> None:
    """Raise InputError if there is no folder for a file, or the path is itself a folder."""
    target = Path(path).resolve()
    if target.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file")
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent}; create it first")


class AtomicFiles:
    """Files that wait, complete and on disk, until all of them are published; those left are deleted."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str | Path, Path, Path]] = []  # path as given, temporary file, target
        self._locks: list[int] = []  # descriptors

    def __enter__(self) -> AtomicFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for _path, temporary, _target in self._waiting:
            temporary.unlink(missing_ok=True)
        while self._locks:
            os.close(self._locks.pop())

    @contextmanager
    def open(self, path: str | Path, *, is_private: bool = False) -> Iterator[BinaryIO]:
        """A handle for a file's new content; see atomic_write() for what is written directly."""
        if str(path) == "-":
            with _readable_errors("stdout"):
                yield sys.stdout.buffer
                sys.stdout.buffer.flush()
            return
        # Links are followed: renaming over a link would leave its target unchanged.
        target = Path(path).resolve()
        check_folder_of(path)
        if target.exists() and not target.is_file():
            with _readable_errors(path), target.open("wb") as handle:
                yield handle
            return
        with _readable_errors(path):
            temporary, descriptor = make_part(target, is_private=is_private)
            self._locks.append(os.dup(descriptor))  # keeps the lock when the handle is closed
            handle = os.fdopen(descriptor, "wb")
        try:
            with _readable_errors(path), handle:
                if target.exists():
                    with suppress(OSError):
                        os.fchmod(handle.fileno(), target.stat().st_mode & 0o777)
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._waiting.append((path, temporary, target))

    def publish(self) -> None:
        """Rename all files to their names, one after the other."""
        while self._waiting:
            path, temporary, target = self._waiting[0]
            with _readable_errors(path):
                temporary.replace(target)
            del self._waiting[0]


@contextmanager
def _readable_errors(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, BrokenPipeError):
            raise
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
