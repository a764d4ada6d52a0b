"""Disk buffer: values kept in an anonymous temporary file until all of them are known."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class DiskBuffer(Generic[_Value]):
    """Values appended one by one, then read in order or by offset; deleted when the block ends."""

    def __init__(self) -> None:
        # Without a name in the file system nobody else can open it, and it is gone with the process.
        self._file = tempfile.TemporaryFile(prefix="omop-emb-")
        self._count = 0

    def append(self, value: _Value) -> int:
        """Add a value; returns the offset to read() it from."""
        offset = self._file.tell()
        pickle.dump(value, self._file)
        self._count += 1
        return offset

    def read(self, offset: int) -> _Value:
        """The value at an offset; do not append after reading."""
        self._file.seek(offset)
        value: _Value = pickle.load(self._file)  # noqa: S301 - this process wrote it, to a nameless file
        return value

    def __iter__(self) -> Iterator[_Value]:
        offset = 0
        for _ in range(self._count):
            yield self.read(offset)
            offset = self._file.tell()

    def __enter__(self) -> DiskBuffer[_Value]:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
