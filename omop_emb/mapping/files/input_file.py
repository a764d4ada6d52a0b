"""Input files: the bytes of a path, of stdin or of an open file, readable repeatedly."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, BinaryIO

from omop_emb.errors import InputError
from omop_emb.safe_files.foreign_text import size as shown_size

_CHUNK = 1 << 20
_MOST_STDIN_BYTES = 8 << 30


class InputFile:
    """An input file; stdin ("-") is copied to an anonymous temporary file. Close it, or use it in a `with`.

    Attributes:
        name: for messages: the path, or "stdin".
    """

    def __init__(
        self, path: str | Path, *, stdin: BinaryIO | None = None, content: IO[bytes] | None = None
    ) -> None:
        """Check that a path is a file (else InputError), or read stdin to its end.

        `content` is an open file, of which the path is only the name; it stays the caller's.
        """
        self._copy: IO[bytes] | None = content
        self._path = Path(path)
        self._handles = ExitStack()
        self.name = "stdin" if str(path) == "-" and content is None else str(path)
        if content is not None:
            return
        if str(path) == "-":
            # Without a name in the file system nobody else can open it, and it is gone with the process.
            self._copy = self._handles.enter_context(tempfile.TemporaryFile(prefix="omop-emb-"))
            try:
                _copy_stdin(stdin if stdin is not None else sys.stdin.buffer, self._copy)
            except BaseException:
                self._handles.close()
                raise
        elif self._path.is_dir():
            raise InputError(f"{self.name} is a folder; name a file in it")
        elif not self._path.exists():
            raise InputError(f"there is no file {self.name}")
        elif not self._path.is_file():
            raise InputError(f"{self.name} is not a regular file; pipe it to stdin and give - as the input")

    @property
    def suffix(self) -> str:
        """The name's ending in lower case, such as ".csv"; "" for stdin."""
        return self._path.suffix.lower()

    def open(self) -> io.BufferedReader:
        """A new handle at the beginning of the bytes, closed with this object at the latest."""
        if self._copy is not None:
            return io.BufferedReader(_SharedReader(self._copy.fileno()))
        try:
            return self._handles.enter_context(self._path.open("rb"))
        except OSError as error:
            raise InputError(f"{self.name} cannot be read: {error.strerror}") from error

    @property
    def size(self) -> int:
        """Of the file in bytes."""
        return os.fstat(self._copy.fileno()).st_size if self._copy is not None else self._path.stat().st_size

    def digest(self) -> str:
        """SHA-256 of the bytes, as 64 hexadecimal digits."""
        with self.open() as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    def close(self) -> None:
        """Close all handles, and delete the copy of stdin."""
        self._handles.close()

    def __enter__(self) -> InputFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _copy_stdin(stdin: BinaryIO, copy: IO[bytes]) -> None:
    left = _MOST_STDIN_BYTES
    try:
        while chunk := stdin.read(min(_CHUNK, left)):
            copy.write(chunk)
            left -= len(chunk)
        copy.flush()
    except OSError as error:
        raise InputError(
            f"stdin cannot be copied to {tempfile.gettempdir()}: {error.strerror}; free some space there, or "
            "set TMPDIR"
        ) from error
    if not left:
        raise InputError(f"stdin has {shown_size(_MOST_STDIN_BYTES)} or more: name a file instead")


class _SharedReader(io.RawIOBase):
    """Reads a shared descriptor at its own position, so that readers do not move each other."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._position = descriptor, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed's WriteableBuffer
        data = os.pread(self._descriptor, len(buffer), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            offset += os.fstat(self._descriptor).st_size
        self._position = offset
        return offset
