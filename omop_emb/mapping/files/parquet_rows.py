"""Parquet rows: every value as the text that a person would read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from omop_emb.errors import InputError
from omop_emb.mapping.files.delimited import MOST_CHARACTERS, TOO_LONG, Problem, TextRow
from omop_emb.mapping.files.plain_text import plain_text
from omop_emb.safe_files.foreign_text import clean_text
from omop_emb.safe_files.parquet_file import open_parquet, value_bytes

if TYPE_CHECKING:
    from omop_emb.mapping.files.input_file import InputFile

_BATCH_ROWS = 1_000
_BYTES_AT_ONCE = 16 << 20
_MOST_UNPACKED, _MOST_REPEATED = 4 << 30, 1_000  # a text that is stored once can be in every row
_MOST_BYTES = 4 * MOST_CHARACTERS


def parquet_rows(
    source: InputFile, report: Callable[[Problem], object] = lambda _problem: None
) -> Iterator[TextRow]:
    """The header and the rows of a Parquet file; a row's "line" is its number, from 1.

    A row with a value that is too long, or that cannot be read, is reported and left out.

    Raises:
        InputError: it is not a Parquet file, or beyond a bound.
        MissingExtraError: pyarrow is not installed.
    """
    with open_parquet(source.open(), source.name) as file:
        yield TextRow(0, [clean_text(name) for name in file.schema.names])
        number, unpacked = 1, 0
        for batch in file.batches(_BATCH_ROWS):
            sizes = [value_bytes(column) for column in batch.columns]
            unpacked += int(np.sum(sizes))
            if unpacked > _MOST_UNPACKED and unpacked > _MOST_REPEATED * source.size:
                raise InputError(f"{source.name} repeats its texts too often to be read")
            for part, is_short in _parts(sizes, batch.num_rows):
                rows = _rows(batch.slice(part.start, len(part))) if is_short else [TOO_LONG] * len(part)
                for line, values in zip(range(number + part.start, number + part.stop), rows, strict=True):
                    if isinstance(values, str):
                        report(Problem(line, values))
                    else:
                        yield TextRow(line, values)
            number += batch.num_rows


def _parts(sizes: list[npt.NDArray[np.int64]], rows: int) -> Iterator[tuple[range, bool]]:
    """Ranges of rows that may be unpacked together, in order, and whether their values are short enough."""
    longest = np.max(sizes, axis=0) if sizes else np.zeros(rows, np.int64)
    total = np.sum(sizes, axis=0) if sizes else longest
    is_short = longest <= _MOST_BYTES
    start, unpacked = 0, 0
    for row in range(rows):
        unpacked += int(total[row])
        if row > start and (unpacked > _BYTES_AT_ONCE or is_short[row] != is_short[start]):
            yield range(start, row), bool(is_short[start])
            start, unpacked = row, int(total[row])
    if rows:
        yield range(start, rows), bool(is_short[start])


def _rows(batch: Any) -> list[list[str] | str]:
    """The values of each row as text, or why it cannot be used."""
    try:
        columns = [column.to_pylist() for column in batch.columns]
        rows = [[clean_text(plain_text(cell)) for cell in cells] for cells in zip(*columns, strict=True)]
    except Exception as error:
        # Such as text that is not UTF-8, or a time beyond Python's calendar: it costs its row.
        if batch.num_rows == 1:
            return [f"a value cannot be read ({type(error).__name__})"]
        return [_rows(batch.slice(row, 1))[0] for row in range(batch.num_rows)]
    return [TOO_LONG if any(len(value) > MOST_CHARACTERS for value in row) else row for row in rows]
