"""Review queue: the terms that a person must look at, the most valuable first."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omop_emb.mapping.files.disk_buffer import DiskBuffer
from omop_emb.mapping.files.result_rows import term_columns, term_row
from omop_emb.mapping.files.table_writer import OpenFile, write_table
from omop_emb.mapping.records import Decision, MappedTerm
from omop_emb.safe_files.atomic_file import atomic_write


@contextmanager
def write_review_queue(
    path: str | Path, *, extra_headers: Sequence[str] = (), open_file: OpenFile = atomic_write
) -> Iterator[Callable[[MappedTerm], None]]:
    """A function that takes mapped terms; the queue is written when the block ends.

    It has the terms in review, and those without a match unless that was approved before, by frequency
    times uncertainty, largest first; equal ones in the order of the input. Rows wait on disk, only their
    order is in memory. No cell is a formula for a spreadsheet.
    """
    priorities, offsets = array("d"), array("q")
    with DiskBuffer[dict[str, Any]]() as rows:

        def add(mapped: MappedTerm) -> None:
            if mapped.decision is not Decision.ACCEPT and mapped.previous != (0,):
                priorities.append(mapped.priority)
                offsets.append(rows.append(term_row(mapped)))

        yield add
        columns = term_columns(extra_headers)
        with write_table(path, columns, for_people=True, open_file=open_file) as write_row:
            for number in sorted(range(len(offsets)), key=lambda n: (-priorities[n], n)):
                write_row(rows.read(offsets[number]))
