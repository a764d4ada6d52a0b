"""Vector matrix: a space's vectors as a memory-mapped file, copied out of the database once per state.

PostgreSQL stays the source of truth. The file is named after the set of the space's committed writes
(omop_emb.space_write: a random id each), so that a file of another state, space or database is never
mistaken for it, and a copy of a database shares the file of its original.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.errors import QueryCanceled

from omop_emb import disk_cache
from omop_emb.arrays import HalfVectors
from omop_emb.database import binary_format
from omop_emb.errors import DatabaseError
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import ROW_COLUMNS, ROW_DTYPE, row_layout
from omop_emb.sql import read

_FORMAT = 2  # of the files below; another format is another name
_ATTEMPTS = 3

_COPY = sql.SQL("copy (select {columns} from {rows}) to stdout (format binary)")


@dataclass(frozen=True)
class VectorMatrix:
    """The rows of a space in one committed state, in no particular order."""

    # (n,) structured: text_hash, concept_id, domain, vocabulary, concept_class, text_kind, standard, valid,
    # as in the space's row table
    keys: NDArray[np.void]
    vectors: HalfVectors  # (n, dimensions) float16, memory-mapped: exactly what the database stores
    # how far the length of a row is from 1 at most; half precision cannot do better than 5e-4
    deviation: float
    state: str  # the committed_state() that it holds

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def concept_ids(self) -> NDArray[np.int32]:
        """(n,) the concept of each row."""
        return np.ascontiguousarray(self.keys["concept_id"])


class MatrixUnavailableError(DatabaseError):
    """No matrix can be had; the database itself can still be searched."""


class _ChangedError(Exception):
    """The space was written to while its rows were copied out, or the finished matrix was removed."""


def committed_state(connection: psycopg.Connection[Any], space: Space) -> str | None:
    """A name for the committed rows of a space; None while this transaction has written some itself."""
    row = connection.execute(read("space_write_state"), {"space_id": space.space_id}).fetchone()
    assert row is not None  # noqa: S101 - an aggregate gives a row
    digest, written_here = row
    if written_here:
        return None
    return hashlib.sha256(f"{_FORMAT} {space.fingerprint.dimensions} {digest}".encode()).hexdigest()[:40]


def open_matrix(connection: psycopg.Connection[Any], space: Space, *, wait: bool = True) -> VectorMatrix:
    """The matrix of the rows that this transaction sees; built if it is not in the cache folder yet.

    If another process is building a matrix, this one waits for it, unless `wait` is false.
    """
    for _ in range(_ATTEMPTS):
        state = committed_state(connection, space)
        if state is None:
            raise MatrixUnavailableError(
                f"this transaction has uncommitted changes to space {space.name!r}: commit first"
            )
        try:
            folder = disk_cache.cached_folder(state) or _build(connection, space, state, wait)
            return _open(folder, space.fingerprint.dimensions, state)
        except (_ChangedError, FileNotFoundError):
            continue
        except BlockingIOError as error:
            raise MatrixUnavailableError("another process is building one") from error
        except OSError as error:
            raise MatrixUnavailableError(
                f"no room for the space's matrix in {disk_cache.folder()}: {error.strerror or error}"
            ) from error
    raise MatrixUnavailableError(
        f"space {space.name!r} is being written to while it is read: try again later"
    )


def _build(connection: psycopg.Connection[Any], space: Space, state: str, wait: bool) -> Path:
    with disk_cache.build_folder(state, _bytes_needed(connection, space), wait=wait) as folder:
        if folder is not None:
            try:
                # Rolled back, so that the lock on the rows is released.
                with connection.transaction(force_rollback=True):
                    _copy_out(connection, space, folder)
            except QueryCanceled as error:
                raise MatrixUnavailableError(
                    "reading all rows takes longer than statement_timeout"
                ) from error
            # Each statement may see a later state: the rows are of this one only if it still holds.
            if committed_state(connection, space) != state:
                raise _ChangedError
    finished = disk_cache.cached_folder(state)
    if finished is None:
        raise _ChangedError  # removed by another process that needed the room
    return finished


def _bytes_needed(connection: psycopg.Connection[Any], space: Space) -> int:
    row = connection.execute(
        "select pg_relation_size(%s::regclass)", (f"omop_emb.space_{space.space_id}",)
    ).fetchone()
    assert row is not None  # noqa: S101 - one row
    return int(row[0])


def _copy_out(connection: psycopg.Connection[Any], space: Space, folder: Path) -> None:
    dimensions = space.fingerprint.dimensions
    layout = binary_format.row_dtype(row_layout(dimensions))
    statement = _COPY.format(
        columns=sql.SQL(", ").join(map(sql.Identifier, ROW_COLUMNS)), rows=space.tables.rows
    )
    deviation = 0.0
    with (
        (folder / "keys").open("wb") as keys_file,
        (folder / "vectors").open("wb") as vectors_file,
        connection.cursor() as cursor,
        cursor.copy(statement) as copy,
    ):
        for block in binary_format.decode_rows(iter(copy), layout):
            keys = np.empty(len(block), ROW_DTYPE)
            for name in ROW_DTYPE.names or ():
                keys[name] = block[name]
            keys_file.write(keys.tobytes())
            vectors = block["embedding"].astype("<f2")
            vectors_file.write(vectors.tobytes())
            wide = binary_format.halves_to_float32(vectors)
            lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
            deviation = max(deviation, float(np.abs(lengths - 1).max()))
    (folder / "about.json").write_text(json.dumps({"dimensions": dimensions, "deviation": deviation}))


def _open(folder: Path, dimensions: int, state: str) -> VectorMatrix:
    about = json.loads((folder / "about.json").read_text())
    keys = np.fromfile(folder / "keys", ROW_DTYPE)
    shape = (len(keys), dimensions)
    # numpy cannot map an empty file.
    vectors = (
        np.memmap(folder / "vectors", np.float16, "r", shape=shape) if len(keys) else np.empty(shape, "e")
    )
    return VectorMatrix(keys, vectors, about["deviation"], state)
