"""The Parquet file that a space travels in: its columns, and what it says of itself.

Each row is a text of a concept. `embedding` is its vector: dimensions half-precision numbers, little-endian,
one after the other. The file's metadata has, under the key "omop_emb", what a Description holds as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omop_emb.errors import InputError, MissingExtraError
from omop_emb.records import Fingerprint, IndexType
from omop_emb.spaces.tables import TEXT_COLUMNS

KEY = b"omop_emb"
VERSION = 1
_NEVER_EMPTY = ("concept_id", "text_kind", "text_hash", "text", "concept_name")


@dataclass(frozen=True, kw_only=True)
class SpaceMetadata:
    """What the file says of the space in it.

    Attributes:
        fingerprint: everything that shaped the vectors.
        index_type: of the space that was exported.
        texts, template, synonym_languages, selection: what was embedded; see Recipe. `selection` is None for
            a space that no vocabulary was built into.
        vocabulary_release: the release that it was built from; None where none is recorded.
        rows: how many there are.
    """

    fingerprint: Fingerprint
    index_type: IndexType
    texts: str
    template: str
    synonym_languages: tuple[int, ...]
    selection: dict[str, Any] | None
    vocabulary_release: str | None
    rows: int

    def to_json(self) -> bytes:
        """As it stands in the file."""
        plain = {
            **asdict(self),
            "version": VERSION,
            "fingerprint": {**asdict(self.fingerprint), "digest": self.fingerprint.digest},
            "index_type": self.index_type.value,
        }
        return json.dumps(plain, sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes, path: Path) -> SpaceMetadata:
        """What a file says.

        Raises:
            InputError: it was written by a newer omop-emb, or is damaged.
        """
        try:
            plain = json.loads(text)
            version = int(plain.pop("version"))
            if version > VERSION:
                raise InputError(
                    f"{path} was written by a newer omop-emb (format {version}): upgrade this one"
                )
            digest = plain["fingerprint"].pop("digest")
            found = cls(
                fingerprint=Fingerprint(**plain.pop("fingerprint")),
                index_type=IndexType(plain.pop("index_type")),
                synonym_languages=tuple(plain.pop("synonym_languages")),
                **plain,
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(f"{path} is damaged: what it says of itself cannot be read") from None
        if found.fingerprint.digest != digest:
            raise InputError(f"{path} is damaged: its fingerprint is not that of its model and prefixes")
        return found


def import_parquet() -> tuple[Any, Any]:
    """Pyarrow and pyarrow.parquet.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError("a Parquet file", "parquet") from None
    return arrow, import_parquet


def schema(dimensions: int, description: SpaceMetadata | None = None) -> Any:
    """The columns of a file, with what it says of itself in the metadata."""
    arrow, _ = import_parquet()
    types = {"concept_id": arrow.int32(), "text_hash": arrow.int64()}
    columns = [
        arrow.field(name, types.get(name, arrow.string()), nullable=name not in _NEVER_EMPTY)
        for name in TEXT_COLUMNS
    ]
    columns.append(arrow.field("embedding", arrow.binary(2 * dimensions), nullable=False))
    return arrow.schema(columns, metadata=None if description is None else {KEY: description.to_json()})


def record_batch(columns: dict[str, list[Any]], halves: NDArray[np.float16]) -> Any:
    """A record batch of TEXT_COLUMNS and (n, dimensions) vectors."""
    arrow, _ = import_parquet()
    wanted = schema(halves.shape[1])
    values = arrow.py_buffer(np.ascontiguousarray(halves, "<f2").tobytes())
    arrays = [arrow.array(columns[name], wanted.field(name).type) for name in TEXT_COLUMNS]
    arrays.append(
        arrow.FixedSizeBinaryArray.from_buffers(wanted.field("embedding").type, len(halves), [None, values])
    )
    return arrow.RecordBatch.from_arrays(arrays, schema=wanted)


@contextmanager
def open_space_file(path: Path) -> Iterator[tuple[Any, SpaceMetadata]]:
    """A pyarrow ParquetFile, and what it says of the space in it.

    Raises:
        InputError: there is no such file, it is none of `index export`, or it is damaged.
    """
    _, parquet_ = import_parquet()
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    with _readable(path):
        file = parquet_.ParquetFile(path)
    with file:
        metadata = file.schema_arrow.metadata or {}
        if KEY not in metadata:
            raise InputError(f"{path} was not written by omop-emb index export")
        description = SpaceMetadata.from_json(metadata[KEY], path)
        expected = schema(description.fingerprint.dimensions)
        if not file.schema_arrow.equals(expected) or file.metadata.num_rows != description.rows:
            raise InputError(f"{path} is damaged: its columns or rows are not those that it should have")
        yield file, description


def read_batches(file: Any, rows: int, path: Path) -> Iterator[Any]:
    """Record batches of up to so many rows.

    Raises:
        InputError: the file is damaged.
    """
    # Asked for all groups at once, the reader would keep each in memory until the last one was read.
    waiting = (
        batch for group in range(file.num_row_groups) for batch in file.iter_batches(rows, row_groups=[group])
    )
    while True:
        with _readable(path):
            found = next(waiting, None)
        if found is None:
            return
        yield found


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    arrow, _ = import_parquet()
    try:
        yield
    except arrow.ArrowException as error:
        raise InputError(f"{path} is no Parquet file, or damaged") from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else "it is damaged"
        raise InputError(f"{path} cannot be read: {why}") from error


def batch_vectors(batch: Any, dimensions: int) -> NDArray[np.float16]:
    """The vectors of a batch, (n, dimensions)."""
    column = batch.column("embedding")
    start = column.offset * 2 * dimensions
    halves = np.frombuffer(column.buffers()[1], "<f2", len(column) * dimensions, start)
    return halves.reshape(len(column), dimensions)
