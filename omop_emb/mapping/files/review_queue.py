"""The terms that a person must look at, the most valuable first."""

from __future__ import annotations

import pickle
import tempfile
from array import array
from pathlib import Path
from types import TracebackType
from typing import Any

from omop_emb.mapping.files.candidates import term_columns, term_row
from omop_emb.mapping.files.table_out import TableWriter
from omop_emb.mapping.records import Decision, MappedTerm


class ReviewQueueWriter:
    """Writes terms in review, and those without a match, by frequency times uncertainty, largest first.

    Rows wait in an anonymous temporary file, so that memory holds only their order; equal priorities
    keep the order of the file. Nothing is written until the block ends.
    """

    def __init__(self, path: str | Path, *, extra_headers: tuple[str, ...] = ()) -> None:
        """Open nothing yet."""
        self._table = TableWriter(path, term_columns(extra_headers))
        self._priorities, self._offsets = array("d"), array("q")

    def __enter__(self) -> ReviewQueueWriter:
        self._waiting = tempfile.TemporaryFile(prefix="omop-emb-")
        return self

    def write(self, mapped: MappedTerm) -> None:
        """Add a term; what was accepted, or approved before as without a match, is not for review."""
        if mapped.decision is not Decision.ACCEPT and mapped.previous != (0,):
            self._priorities.append(mapped.priority)
            self._offsets.append(self._waiting.tell())
            pickle.dump(term_row(mapped), self._waiting)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._waiting:
            if error is not None:
                return
            order = sorted(range(len(self._offsets)), key=lambda n: (-self._priorities[n], n))
            with self._table as table:
                for number in order:
                    self._waiting.seek(self._offsets[number])
                    # Written by this process a moment ago, to a file without a name.
                    row: dict[str, Any] = pickle.load(self._waiting)  # noqa: S301 - see above
                    table.write(row)
