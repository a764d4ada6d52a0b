"""Review queue: the terms that a person must look at, the most valuable first."""

from __future__ import annotations

from array import array
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from omop_emb.mapping.files.disk_buffer import DiskBuffer
from omop_emb.mapping.files.result_rows import term_columns, term_row
from omop_emb.mapping.files.table_writer import TableWriter
from omop_emb.mapping.records import Decision, MappedTerm


class ReviewQueueWriter:
    """Writes terms in review, and those without a match, by frequency times uncertainty, largest first.

    Rows wait on disk and only their order is in memory; equal priorities keep the order of the input.
    The file is written when the block ends.
    """

    def __init__(self, path: str | Path, *, extra_headers: tuple[str, ...] = ()) -> None:
        """Opens nothing yet."""
        self._table = TableWriter(path, term_columns(extra_headers))
        self._rows: DiskBuffer[dict[str, Any]] = DiskBuffer()
        self._stack = ExitStack()
        self._priorities, self._offsets = array("d"), array("q")

    def __enter__(self) -> ReviewQueueWriter:
        self._stack.enter_context(self._rows)
        return self

    def write(self, mapped: MappedTerm) -> None:
        """Add a term, unless it was accepted or approved before as having no match."""
        if mapped.decision is not Decision.ACCEPT and mapped.previous != (0,):
            self._priorities.append(mapped.priority)
            self._offsets.append(self._rows.append(term_row(mapped)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if error is not None:
                return
            with self._table as table:
                for number in sorted(range(len(self._offsets)), key=lambda n: (-self._priorities[n], n)):
                    table.write(self._rows.read(self._offsets[number]))
