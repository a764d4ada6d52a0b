"""Rows that wait on disk until all are there: in an anonymous temporary file, in their order."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class Spool(Generic[_Value]):
    """Values put in one by one and read back in the same order, in flat memory; gone with the block."""

    def __enter__(self) -> Spool[_Value]:
        # No name in the file system: nobody else can open it, and it is gone with the process.
        self._file = tempfile.TemporaryFile(prefix="omop-emb-")
        self._count = 0
        return self

    def put(self, value: _Value) -> None:
        """Add a value."""
        pickle.dump(value, self._file)
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[_Value]:
        self._file.seek(0)
        for _ in range(self._count):
            # Written by this process a moment ago, to a file without a name.
            yield pickle.load(self._file)  # noqa: S301 - see above

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
