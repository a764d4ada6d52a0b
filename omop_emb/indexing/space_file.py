"""Space files: the Parquet format in which a space travels between sites.

Each row is a text of a concept. `embedding` is its vector: half-precision numbers, little-endian. The file's
metadata has a SpaceMetadata as JSON under the key "omop_emb".
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

from omop_emb.arrays import HalfVectors
from omop_emb.errors import InputError, MissingExtraError
from omop_emb.records import Fingerprint, IndexType
from omop_emb.spaces.tables import TEXT_COLUMNS

KEY = b"omop_emb"
VERSION = 1
_NOT_NULL = ("concept_id", "text_kind", "text_hash", "text", "concept_name")


@dataclass(frozen=True, kw_only=True)
class SpaceMetadata:
    """What a file says about the space in it."""

    fingerprint: Fingerprint
    index_type: IndexType
    texts: str  # this and the next three: what was embedded, see Recipe
    template: str
    synonym_languages: tuple[int, ...]
    selection: dict[str, Any] | None  # None for a space that was not built from a vocabulary
    vocabulary_release: str | None  # None if none is recorded
    rows: int

    def to_json(self) -> bytes:
        """The metadata as the file holds it."""
        plain = {
            **asdict(self),
            "version": VERSION,
            "fingerprint": {**asdict(self.fingerprint), "digest": self.fingerprint.digest},
            "index_type": self.index_type.value,
        }
        return json.dumps(plain, sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes, path: Path) -> SpaceMetadata:
        """Read the metadata of the file `path`."""
        try:
            plain = json.loads(text)
            version = int(plain.pop("version"))
            if version > VERSION:
                raise InputError(
                    f"{path} was written by a newer omop-emb (format {version}): upgrade this one"
                )
            digest = plain["fingerprint"].pop("digest")
            metadata = cls(
                fingerprint=Fingerprint(**plain.pop("fingerprint")),
                index_type=IndexType(plain.pop("index_type")),
                synonym_languages=tuple(plain.pop("synonym_languages")),
                **plain,
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(f"{path} is damaged: its metadata cannot be read") from None
        if metadata.fingerprint.digest != digest:
            raise InputError(f"{path} is damaged: its fingerprint does not match its model and prefixes")
        return metadata


def import_parquet() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet, which the extra parquet installs."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError("a Parquet file", "parquet") from None
    return arrow, parquet


def schema(dimensions: int, metadata: SpaceMetadata | None = None) -> Any:
    """The columns of a file, and its metadata."""
    arrow, _ = import_parquet()
    types = {"concept_id": arrow.int32(), "text_hash": arrow.int64()}
    columns = [
        arrow.field(name, types.get(name, arrow.string()), nullable=name not in _NOT_NULL)
        for name in TEXT_COLUMNS
    ]
    columns.append(arrow.field("embedding", arrow.binary(2 * dimensions), nullable=False))
    return arrow.schema(columns, metadata=None if metadata is None else {KEY: metadata.to_json()})


def record_batch(columns: dict[str, list[Any]], halves: HalfVectors) -> Any:
    """A record batch of TEXT_COLUMNS and (n, dimensions) vectors."""
    arrow, _ = import_parquet()
    layout = schema(halves.shape[1])
    values = arrow.py_buffer(np.ascontiguousarray(halves, "<f2").tobytes())
    arrays = [arrow.array(columns[name], layout.field(name).type) for name in TEXT_COLUMNS]
    arrays.append(
        arrow.FixedSizeBinaryArray.from_buffers(layout.field("embedding").type, len(halves), [None, values])
    )
    return arrow.RecordBatch.from_arrays(arrays, schema=layout)


@contextmanager
def open_space_file(path: Path) -> Iterator[tuple[Any, SpaceMetadata]]:
    """A pyarrow ParquetFile, and what it says about the space in it; InputError if it is not usable."""
    _, parquet = import_parquet()
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    with _readable(path):
        file = parquet.ParquetFile(path)
    with file:
        entries = file.schema_arrow.metadata or {}
        if KEY not in entries:
            raise InputError(f"{path} was not written by omop-emb index export")
        metadata = SpaceMetadata.from_json(entries[KEY], path)
        expected = schema(metadata.fingerprint.dimensions)
        if not file.schema_arrow.equals(expected) or file.metadata.num_rows != metadata.rows:
            raise InputError(f"{path} is damaged: its columns or rows differ from what its metadata says")
        yield file, metadata


def read_batches(file: Any, rows: int, path: Path) -> Iterator[Any]:
    """Record batches of up to so many rows."""
    # Read one group at a time: asked for all of them, pyarrow keeps each in memory until the end.
    batches = (
        batch for group in range(file.num_row_groups) for batch in file.iter_batches(rows, row_groups=[group])
    )
    while True:
        with _readable(path):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def batch_vectors(batch: Any, dimensions: int) -> HalfVectors:
    """The vectors of a batch, (n, dimensions)."""
    column = batch.column("embedding")
    start = column.offset * 2 * dimensions
    halves = np.frombuffer(column.buffers()[1], "<f2", len(column) * dimensions, start)
    return halves.reshape(len(column), dimensions)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    arrow, _ = import_parquet()
    try:
        yield
    except arrow.ArrowException as error:
        raise InputError(f"{path} is not a Parquet file, or is damaged") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "it is damaged"
        raise InputError(f"{path} cannot be read: {reason}") from error
