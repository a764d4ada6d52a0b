"""Parquet files of others: opened and read only within bounds.

A few bytes can stand for billions of equal rows, or for a text that is repeated a million times. What a file
says of itself is checked before it is read, and texts are kept as they are stored, each once, until their
length is known. pyarrow is asked for nothing that it does not need itself to read the file: its descriptions
of groups of rows and their columns end the process where a file is damaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from omop_emb.errors import InputError, MissingExtraError
from omop_emb.safe_files.foreign_errors import foreign_errors, foreign_items
from omop_emb.safe_files.foreign_text import size
from omop_emb.safe_files.parquet_layout import NOT_PARQUET, ParquetLayout

MOST_ROWS = 100_000_000
_ANY_RATIO_TO = 1_000_000  # rows that a file of any size may have
_ROWS_PER_BYTE = 100
_MOST_PACKED, _ANY_BYTES_TO = 100, 256 << 20  # of a group of rows, as in a zip
_MOST_NESTED_VALUES = 20_000_000  # of a list in a group of rows
_MOST_BATCH_BYTES = 256 << 20  # of texts that are stored by what they differ in
_OBJECT_BYTES = 16
_MOST_WIDTH = 1 << 17  # bytes of a value of fixed width


def import_parquet(purpose: str = "reading Parquet files") -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet, which the extra parquet installs."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(purpose, "parquet") from error
    return arrow, parquet


class SafeParquetFile:
    """A pyarrow ParquetFile whose texts come as dictionaries.

    Attributes:
        schema: pyarrow's schema of the file.
        rows: how many it says that it has.
    """

    def __init__(self, file: Any, schema: Any, layout: ParquetLayout, name: str | Path) -> None:
        """Keep what open_parquet() has opened and checked."""
        self.schema, self.rows = schema, file.metadata.num_rows
        self._file, self._layout, self._name = file, layout, name

    def batches(self, rows: int) -> Iterator[Any]:
        """Record batches of up to so many rows; the last ones of a group of rows have fewer.

        Raises:
            InputError: the file is damaged, or beyond a bound.
        """
        # Read one group at a time: asked for all of them, pyarrow keeps each in memory until the end.
        for group in range(len(self._layout.groups)):
            longest = self._layout.check_pages(group)
            most_rows = max(1, _MOST_BATCH_BYTES // longest) if longest else rows
            batches = self._batches_of(group, min(rows, most_rows))
            yield from foreign_items(batches, self._name, NOT_PARQUET)

    def _batches_of(self, group: int, rows: int) -> Iterator[Any]:
        yield from self._file.iter_batches(rows, row_groups=[group])


@contextmanager
def open_parquet(handle: BinaryIO, name: str | Path) -> Iterator[SafeParquetFile]:
    """Open a Parquet file.

    Raises:
        InputError: it is none, or says of itself what is beyond a bound.
        MissingExtraError: pyarrow is not installed.
    """
    _, parquet = import_parquet()
    with foreign_errors(name, NOT_PARQUET):
        layout = ParquetLayout(handle, name)
        metadata = parquet.ParquetFile(handle).metadata
        schema = metadata.schema.to_arrow_schema()
        _check(metadata, schema, name, layout.file_size)
        _check_groups(layout, name)
        leaves = [metadata.schema.column(number) for number in range(metadata.num_columns)]
        delta = {
            number for group in layout.groups for number, chunk in enumerate(group.chunks) if chunk.is_delta
        }
        texts = [
            leaf.path
            for number, leaf in enumerate(leaves)
            if leaf.physical_type == "BYTE_ARRAY" and number not in delta
        ]
        file = parquet.ParquetFile(handle, pre_buffer=False, read_dictionary=texts)
    with file:
        yield SafeParquetFile(file, schema, layout, name)


def value_bytes(column: Any) -> npt.NDArray[np.int64]:
    """About how many bytes each value of a column takes once it is unpacked."""
    arrow, _ = import_parquet()
    import pyarrow.compute as compute

    is_kind = arrow.types
    if is_kind.is_dictionary(column.type):
        lengths = np.append(value_bytes(column.dictionary), 0)
        indices = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        # In a damaged file they may be any number: who reads the value finds out.
        return np.asarray(lengths[np.clip(indices, -1, len(lengths) - 1)], np.int64)
    if is_kind.is_list(column.type) or is_kind.is_large_list(column.type) or is_kind.is_map(column.type):
        ends = np.append(0, np.cumsum(value_bytes(column.values)))
        offsets = column.offsets.to_numpy(zero_copy_only=False)
        return np.asarray(ends[offsets[1:]] - ends[offsets[:-1]] + _OBJECT_BYTES, np.int64)
    if is_kind.is_struct(column.type):
        parts = [value_bytes(part) for part in column.flatten()]
        return np.asarray(np.sum([*parts, np.full(len(column), _OBJECT_BYTES)], axis=0), np.int64)
    if any(is_text(column.type) for is_text in (is_kind.is_string, is_kind.is_binary)):
        lengths = compute.binary_length(column).fill_null(0)
        return np.asarray(lengths.to_numpy(zero_copy_only=False), np.int64)
    return np.full(len(column), _OBJECT_BYTES, np.int64)


def _check(metadata: Any, schema: Any, name: str | Path, file_size: int) -> None:
    rows = metadata.num_rows
    if not 0 <= rows <= MOST_ROWS or rows > max(_ANY_RATIO_TO, _ROWS_PER_BYTE * file_size):
        raise InputError(
            f"{name} says that it has {rows:,} rows in {file_size:,} bytes: at most {MOST_ROWS:,} are "
            f"read, and {_ROWS_PER_BYTE} for each byte"
        )
    for field in schema:
        if "fixed_size_list" in str(field.type):
            raise InputError(f"{name} has lists of a fixed length in {field.name[:80]!r}, which are not read")
    columns = metadata.num_columns
    if widths := [
        leaf.length for leaf in map(metadata.schema.column, range(columns)) if leaf.length > _MOST_WIDTH
    ]:
        raise InputError(f"{name} has values of {max(widths):,} bytes; at most {_MOST_WIDTH:,} are read")


def _check_groups(layout: ParquetLayout, name: str | Path) -> None:
    for group in layout.groups:
        unpacked = sum(
            chunk.unpacked for chunk in group.chunks if chunk.unpacked > _MOST_PACKED * chunk.packed
        )
        if unpacked > _ANY_BYTES_TO:
            raise InputError(
                f"{name} is not read: a group of its rows would grow to {unpacked:,} bytes, over "
                f"{_MOST_PACKED} times; at most {size(_ANY_BYTES_TO)} may"
            )
        values = max((chunk.values for chunk in group.chunks), default=0)
        if values > max(group.rows, _MOST_NESTED_VALUES):
            raise InputError(
                f"{name} has lists of {values:,} values in a group whose number of rows is {group.rows:,}"
            )
