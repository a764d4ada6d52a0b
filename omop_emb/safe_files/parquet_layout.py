"""Parquet layout: where a file's pages are and how large they say that they are, checked before reading.

pyarrow reserves what a page's header asks for before it reads the page, and ends the process at some damaged
descriptions of columns. So what a file says of itself is read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from omop_emb.errors import InputError
from omop_emb.safe_files.foreign_text import size
from omop_emb.safe_files.thrift import Struct, ThriftReader, Value

NOT_PARQUET = "is not a Parquet file, or is damaged"
_MAGIC = b"PAR1"
_MOST_FOOTER_BYTES = 64 << 20
_FIRST_BYTES_OF_HEADER, _MOST_BYTES_OF_HEADER = 256, 16 << 20
_ANY_BYTES_OF_CHUNK_TO = 16 << 20  # whatever the chunk says that it grows to
_MOST_EMPTY_PAGES = 1_000  # of a chunk
_UNCOUNTED_BYTES = 100  # of a chunk's first header, in files of old writers
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3  # kinds of pages; 1, an index, is skipped by readers
# By kind, the field of a page's header that describes it, and there the field of its encoding; 1 is values.
_FIELDS_OF_KIND = {_DATA: (5, 2), _DICTIONARY: (7, 2), _DATA_V2: (8, 4)}
_DELTA_LENGTHS, _DELTA_STRINGS = 6, 7  # encodings of texts that pyarrow cannot give as dictionaries
_WIDTHS = {
    1: 4,
    2: 8,
    3: 12,
    4: 4,
    5: 8,
    6: 4,
}  # bytes of a value in a dictionary, by physical type: at least
_MOST_BYTES = 1 << 62


@dataclass(frozen=True)
class Chunk:
    """The values of a column in a group of rows.

    Attributes:
        physical_type: Parquet's number of it.
        is_delta: texts are stored by what they differ in from the text before, or by their lengths.
        start: of its first page in the file.
        packed: bytes of its pages in the file.
        unpacked: bytes that they grow to.
    """

    physical_type: int
    is_delta: bool
    values: int
    start: int
    packed: int
    unpacked: int


@dataclass(frozen=True)
class _Page:
    kind: int
    encoding: int
    values: int
    unpacked: int


@dataclass(frozen=True)
class Group:
    """A group of rows, with a chunk for each column."""

    rows: int
    chunks: tuple[Chunk, ...]


class ParquetLayout:
    """The groups of rows of an open file."""

    def __init__(self, handle: BinaryIO, name: str | Path) -> None:
        """Read the end of the file; InputError if it is not that of a Parquet file."""
        self._handle, self._name = handle, name
        self.file_size = handle.seek(0, 2)
        try:
            self.groups = tuple(map(_group, _structs(self._footer()[4])))
        except (ValueError, KeyError) as error:
            raise self._damaged("its last part cannot be read") from error
        chunks = [chunk for group in self.groups for chunk in group.chunks]
        last = max((chunk.start + chunk.packed for chunk in chunks), default=0)
        # Nor may they overlap, or a short file could make readers read the same pages over and over.
        if max(last, sum(chunk.packed for chunk in chunks)) > self.file_size:
            raise self._damaged("its parts are larger than the file")

    def check_pages(self, number: int) -> int:
        """Check the pages of a group of rows; InputError where one is larger than it can be.

        Returns:
            How many bytes a text can have that is stored by what it differs in from others.
        """
        longest = 0
        for chunk in self.groups[number].chunks:
            left = max(chunk.unpacked, _ANY_BYTES_OF_CHUNK_TO)
            for page in self._pages(chunk):
                left -= page.unpacked
                if left < 0:
                    raise self._damaged(f"a page says that it grows to {size(page.unpacked)}")
                width = _WIDTHS.get(chunk.physical_type, 1)
                most = page.unpacked // width if page.kind == _DICTIONARY else chunk.values
                if page.values > most:
                    raise self._damaged(
                        f"a page of {page.unpacked:,} bytes says that it has {page.values:,} values"
                    )
                if page.encoding == _DELTA_STRINGS:
                    longest = max(longest, page.unpacked)
        return longest

    def _pages(self, chunk: Chunk) -> Iterator[_Page]:
        """The pages of a chunk that a reader would read."""
        position, values, empty = chunk.start, 0, 0
        while values < chunk.values and position < chunk.start + chunk.packed + _UNCOUNTED_BYTES:
            try:
                header, position = self._header(position)
                kind, unpacked, packed = (_whole(header[number]) for number in (1, 2, 3))
                page = _Page(kind, -1, 0, unpacked)
                if kind in _FIELDS_OF_KIND:
                    described, encoding = _FIELDS_OF_KIND[kind]
                    detail = _struct(header[described])
                    page = _Page(kind, _whole(detail[encoding]), _whole(detail[1]), unpacked)
            except (ValueError, KeyError) as error:
                raise self._damaged("a page has no header") from error
            position += packed
            if position > self.file_size:
                raise self._damaged("a page is larger than the file")
            yield page
            values += 0 if kind == _DICTIONARY else page.values
            empty += page.values == 0
            if empty > _MOST_EMPTY_PAGES:
                raise self._damaged("it has too many empty pages")

    def _header(self, position: int) -> tuple[Struct, int]:
        length = _FIRST_BYTES_OF_HEADER
        while True:
            reader = ThriftReader(self._read(position, length))
            try:
                header = reader.struct()
            except ValueError:
                if length >= min(_MOST_BYTES_OF_HEADER, self.file_size - position):
                    raise
                length *= 16
            else:
                return header, position + reader.position

    def _footer(self) -> Struct:
        end = self._read(max(0, self.file_size - 8), 8)
        length = int.from_bytes(end[:4], "little")
        if len(end) < 8 or end[4:] != _MAGIC or length > self.file_size - 8:
            raise ValueError("no Parquet file")
        if length > _MOST_FOOTER_BYTES:
            raise InputError(
                f"{self._name} has {size(length)} of metadata; at most {size(_MOST_FOOTER_BYTES)} are read"
            )
        return ThriftReader(self._read(self.file_size - 8 - length, length)).struct()

    def _read(self, position: int, length: int) -> bytes:
        self._handle.seek(position)
        return self._handle.read(length)

    def _damaged(self, reason: str) -> InputError:
        return InputError(f"{self._name} {NOT_PARQUET}: {reason}")


def _group(group: Struct) -> Group:
    return Group(_whole(group[3]), tuple(map(_chunk, _structs(group[1]))))


def _chunk(chunk: Struct) -> Chunk:
    data = _struct(chunk[3])
    encodings = [encoding for encoding in _list(data[2]) if isinstance(encoding, int)]
    starts = [_whole(data[number]) for number in (9, 11) if data.get(number)]
    return Chunk(
        physical_type=_whole(data[1]),
        is_delta=not {_DELTA_LENGTHS, _DELTA_STRINGS}.isdisjoint(encodings),
        values=_whole(data[5]),
        start=min(starts, default=0),
        packed=_whole(data[7]),
        unpacked=_whole(data[6]),
    )


def _whole(value: Value) -> int:
    if not isinstance(value, int) or not 0 <= value <= _MOST_BYTES:
        raise ValueError("no size")
    return value


def _struct(value: Value) -> Struct:
    if not isinstance(value, dict):
        raise ValueError("no structure")
    return value


def _list(value: Value) -> list[Value]:
    if not isinstance(value, list):
        raise ValueError("no list")
    return value


def _structs(value: Value) -> list[Struct]:
    return [_struct(item) for item in _list(value)]
