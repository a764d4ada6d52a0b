"""Space files: the Parquet format in which a space travels between sites.

Each row is a text of a concept. `embedding` is its vector: half-precision numbers, little-endian. The file's
metadata has a SpaceMetadata as JSON under the key "omop_emb".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omop_emb.arrays import HalfVectors
from omop_emb.errors import InputError
from omop_emb.indexing.build_options import SpaceOptions
from omop_emb.records import Fingerprint, IndexType, counted
from omop_emb.safe_files.atomic_file import atomic_write, check_folder_of
from omop_emb.safe_files.foreign_errors import foreign_errors
from omop_emb.safe_files.foreign_text import clean_text, parse_json
from omop_emb.safe_files.parquet_file import SafeParquetFile, import_parquet, open_parquet, value_bytes
from omop_emb.search.vector_indexes import AUTO
from omop_emb.spaces.recipe import Recipe, filter_to_json
from omop_emb.spaces.tables import BINARY, TEXT_COLUMNS

KEY = b"omop_emb"
VERSION = 2
# What format 1 does not say; its readers made indexes with these settings.
_FORMAT_1 = {"hnsw_m": 16, "hnsw_ef_construction": 64, "first_pass": "", "partial": "auto"}
_MOST_DIMENSIONS = 16_000  # of pgvector, as are the next two
_HNSW_M = range(2, 101)
_MOST_EF_CONSTRUCTION = 1_000
_MOST_BATCH_BYTES = 256 << 20
_NOT_NULL = ("concept_id", "text_kind", "text_hash", "text", "concept_name")


@dataclass(frozen=True, kw_only=True)
class SpaceMetadata:
    """What a file says about the space in it."""

    fingerprint: Fingerprint
    index_type: IndexType
    texts: str  # this and the next three: what was embedded, see Recipe
    template: str
    synonym_languages: tuple[int, ...]
    hnsw_m: int  # this and the next three: which HNSW indexes the space should have, see Space
    hnsw_ef_construction: int
    first_pass: str
    partial: str
    selection: dict[str, Any] | None  # None for a space that was not built from a vocabulary
    vocabulary_release: str | None  # None if none is recorded
    rows: int

    @classmethod
    def of_recipe(
        cls, recipe: Recipe, *, fingerprint: Fingerprint, vocabulary_release: str | None, rows: int
    ) -> SpaceMetadata:
        """That of a new space as `index build` makes it of a recipe, with its default settings."""
        settings = SpaceOptions()
        return cls(
            fingerprint=fingerprint,
            index_type=IndexType.HNSW,
            texts=recipe.texts,
            template=recipe.template,
            synonym_languages=recipe.synonym_languages,
            hnsw_m=settings.hnsw_m,
            hnsw_ef_construction=settings.hnsw_ef_construction,
            first_pass="",
            partial=AUTO,
            selection=filter_to_json(recipe.concept_filter),
            vocabulary_release=vocabulary_release,
            rows=rows,
        )

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
        with foreign_errors(path, "is damaged: its metadata cannot be read"):
            plain = parse_json(text, path)
            version = int(plain.pop("version"))
            if version > VERSION:
                raise InputError(
                    f"{path} was written by a newer omop-emb (format {version}): upgrade this one"
                )
            if version < 1:
                raise ValueError("version")
            if version == 1:
                plain |= _FORMAT_1
            digest = plain["fingerprint"].pop("digest")
            metadata = cls(
                fingerprint=Fingerprint(**plain.pop("fingerprint")),
                index_type=IndexType(plain.pop("index_type")),
                synonym_languages=tuple(plain.pop("synonym_languages")),
                **plain,
            )
            _check(metadata)
        if metadata.fingerprint.digest != digest:
            raise InputError(f"{path} is damaged: its fingerprint does not match its model and prefixes")
        return metadata


def _check(metadata: SpaceMetadata) -> None:
    """Raise ValueError or another error if this cannot be what index export wrote."""
    described = {**vars(metadata.fingerprint), **vars(metadata)}
    numbers = {name: described[name] for name in ("dimensions", "hnsw_m", "hnsw_ef_construction", "rows")}
    if any(type(number) is not int for number in numbers.values()):
        raise TypeError("numbers")
    if numbers["dimensions"] not in range(1, _MOST_DIMENSIONS + 1):
        raise ValueError("dimensions")
    is_hnsw = metadata.index_type is IndexType.HNSW
    candidates = range(2 * metadata.hnsw_m, _MOST_EF_CONSTRUCTION + 1)
    if is_hnsw and (metadata.hnsw_m not in _HNSW_M or metadata.hnsw_ef_construction not in candidates):
        raise ValueError("HNSW")
    if metadata.first_pass not in ("", BINARY, *map(str, range(1, numbers["dimensions"]))):
        raise ValueError("first pass")
    texts = {*vars(metadata.fingerprint), "texts", "template", "partial"} - {"dimensions"}
    if any(clean_text(described[name]) != described[name] for name in texts):
        raise ValueError("texts")


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


def write_space_file(
    path: Path, metadata: SpaceMetadata, batches: Iterable[tuple[dict[str, list[Any]], HalfVectors]]
) -> None:
    """Write a file, which appears completely or not at all.

    Args:
        path: of the file; an existing one is replaced.
        metadata: what the file says about the space.
        batches: the values of TEXT_COLUMNS, each with (n, dimensions) vectors.

    Raises:
        InputError: the file cannot be written, or does not end in .parquet.
        MissingExtraError: pyarrow is not installed.
    """
    check_space_file_name(path)
    _, parquet = import_parquet("writing Parquet files")
    written = 0
    with (
        atomic_write(path) as handle,
        # Vectors are as good as random: compressing or indexing them only costs time.
        parquet.ParquetWriter(
            handle,
            schema(metadata.fingerprint.dimensions, metadata),
            compression=dict.fromkeys(TEXT_COLUMNS, "zstd") | {"embedding": "none"},
            use_dictionary=["domain_id", "vocabulary_id", "concept_class_id"],
            write_statistics=["concept_id"],
        ) as writer,
    ):
        for columns, halves in batches:
            writer.write_batch(record_batch(columns, halves))
            written += len(halves)
        if written != metadata.rows:
            came, should = counted(written, "text"), counted(metadata.rows, "text")
            raise InputError(f"{path} is not written: it should have {should}, found {came}")


def check_space_file_name(path: Path) -> None:
    """Raise InputError if no space file can be written there."""
    check_folder_of(path)
    if path.suffix.lower() != ".parquet":
        raise InputError(f"{path} must end in .parquet, the format of an exported space")


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
def open_space_file(path: Path) -> Iterator[tuple[SafeParquetFile, SpaceMetadata]]:
    """The file, and what it says about the space in it; InputError if it is not usable."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    with foreign_errors(path):
        handle = path.open("rb")
    with handle, open_parquet(handle, path) as file:
        entries = file.schema.metadata or {}
        if KEY not in entries:
            raise InputError(f"{path} was not written by omop-emb index export")
        metadata = SpaceMetadata.from_json(entries[KEY], path)
        expected = schema(metadata.fingerprint.dimensions)
        if not file.schema.equals(expected) or file.rows != metadata.rows:
            raise InputError(f"{path} is damaged: its columns or rows differ from what its metadata says")
        yield file, metadata


def batch_columns(batch: Any, path: Path) -> dict[str, list[Any]]:
    """The values of TEXT_COLUMNS in a batch."""
    columns = [batch.column(name) for name in TEXT_COLUMNS]
    if sum(int(value_bytes(column).sum()) for column in columns) > _MOST_BATCH_BYTES:
        raise InputError(f"{path} is damaged: it contains texts that are far too long")
    with foreign_errors(path, "is damaged"):
        return {name: column.to_pylist() for name, column in zip(TEXT_COLUMNS, columns, strict=True)}


def batch_vectors(batch: Any, dimensions: int) -> HalfVectors:
    """The vectors of a batch, (n, dimensions)."""
    column = batch.column("embedding")
    start = column.offset * 2 * dimensions
    halves = np.frombuffer(column.buffers()[1], "<f2", len(column) * dimensions, start)
    return halves.reshape(len(column), dimensions)
