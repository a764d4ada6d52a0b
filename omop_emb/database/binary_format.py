"""COPY's binary format: rows and halfvec values encoded from numpy blocks and decoded into them.

Turning floats into text is where slow loaders lose their time; nothing is turned into text here.
Formats: https://www.postgresql.org/docs/current/sql-copy.html (Binary Format), and halfvec_send in
pgvector's src/halfvec.c (two 16-bit integers, dimensions and 0, then IEEE half-precision values).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Dumper, Loader
from psycopg.pq import Format
from psycopg.rows import tuple_row

COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
COPY_TRAILER = b"\xff\xff"
_LENGTH = Struct(">i").pack
_NULL = b"\xff\xff\xff\xff"
_MIN_BLOCK_BYTES = 1 << 20  # smaller blocks would cost more in numpy calls than in work

# Columns of fixed width that are never null: name and numpy type, or (type, dimensions) for a halfvec.
CopyColumns = Sequence[tuple[str, str | tuple[str, int]]]


class HalfVector(bytes):
    """A halfvec in its binary form, as a query parameter."""

    __slots__ = ()


class _HalfVectorDumper(Dumper):
    # Type 0: the server takes the type from the cast around the parameter, whatever oid pgvector was given.
    format = Format.BINARY
    oid = 0

    def dump(self, obj: HalfVector) -> bytes:
        return bytes(obj)


class _BytesLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


def binary_cursor(connection: psycopg.Connection) -> psycopg.Cursor[tuple[Any, ...]]:
    """A cursor that takes HalfVector parameters and returns halfvec values as bytes."""
    cursor = connection.cursor(binary=True, row_factory=tuple_row)
    cursor.adapters.register_dumper(HalfVector, _HalfVectorDumper)
    load_half_vectors_as_bytes(cursor.adapters)
    return cursor


def load_half_vectors_as_bytes(adapters: AdaptersMap) -> None:
    """Undo for one cursor what pgvector's register_vector() has done to its connection."""
    registered = adapters.types.get("halfvec")
    if registered is not None:
        adapters.register_loader(registered.oid, _BytesLoader)


def encode_half_vector(vector: NDArray[np.float32]) -> HalfVector:
    """A float32 vector as a halfvec parameter, rounded to half precision."""
    return HalfVector(np.array([len(vector), 0], ">u2").tobytes() + vector.astype(">f2").tobytes())


def decode_half_vectors(values: Sequence[bytes], dimensions: int) -> NDArray[np.float64]:
    """Binary halfvec values as an (n, dimensions) float64 array, exactly."""
    block = np.frombuffer(b"".join(values), ">u2").reshape(len(values), dimensions + 2)
    return halves_to_float32(block[:, 2:].astype("<u2").view("<f2")).astype(np.float64)


def halves_to_float32(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """Finite half-precision values as float32, exactly; five times as fast as astype(), which tests each.

    The bits of a half, moved to where float32 has its own, are the value times 2**-112.
    """
    bits = halves.view(np.int16).astype(np.int32)
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, np.int32(-0x70002000), out=bits)
    floats = bits.view(np.float32)
    floats *= np.float32(2.0**112)
    return floats


def row_dtype(columns: CopyColumns) -> np.dtype[np.void]:
    """One COPY row as a structured dtype; the field `<name>_length` stands before each value."""
    layout: list[Any] = [("column_count", ">i2")]
    for name, kind in columns:
        layout.append((f"{name}_length", ">i4"))
        if isinstance(kind, tuple):
            layout += [(f"{name}_dimensions", ">u2"), (f"{name}_unused", ">u2"), (name, *kind)]
        else:
            layout.append((name, kind))
    return np.dtype(layout)


def encode_rows(columns: CopyColumns, values: dict[str, NDArray[Any]], count: int) -> NDArray[np.void]:
    """`count` COPY rows of dtype row_dtype(columns); `values` holds one array per column."""
    block = np.zeros(count, row_dtype(columns))
    block["column_count"] = len(columns)
    for name, kind in columns:
        if isinstance(kind, tuple):
            block[f"{name}_length"] = 4 + np.dtype(kind[0]).itemsize * kind[1]
            block[f"{name}_dimensions"] = kind[1]
        else:
            block[f"{name}_length"] = np.dtype(kind).itemsize
        block[name] = values[name]
    return block


def decode_rows(
    chunks: Iterator[bytes | bytearray | memoryview], layout: np.dtype[np.void]
) -> Iterator[NDArray[np.void]]:
    """The rows of a COPY … TO STDOUT (FORMAT BINARY), in blocks of dtype `layout`; see row_dtype()."""
    buffer = bytearray()
    header_bytes = len(COPY_HEADER)
    for chunk in chunks:
        buffer += chunk
        if header_bytes:
            if len(buffer) < header_bytes:
                continue
            del buffer[:header_bytes]
            header_bytes = 0
        complete = len(buffer) // layout.itemsize * layout.itemsize
        if complete >= _MIN_BLOCK_BYTES:
            yield np.frombuffer(bytes(buffer[:complete]), layout)
            del buffer[:complete]
    complete = len(buffer) // layout.itemsize * layout.itemsize
    if complete:
        yield np.frombuffer(bytes(buffer[:complete]), layout)


def encode_text_columns(*values: str | None) -> bytes:
    """Text columns of a COPY row; None becomes null."""
    encoded = (None if value is None else value.encode() for value in values)
    return b"".join(_NULL if value is None else _LENGTH(len(value)) + value for value in encoded)


def array_literal(numbers: Iterable[int]) -> str:
    """Whole numbers as PostgreSQL writes an array; many times as fast as a list that psycopg adapts."""
    return f"{{{','.join(map(str, numbers))}}}"
