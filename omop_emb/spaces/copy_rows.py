"""COPY of a space's rows and texts: each binary block is built while the server takes the one before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from operator import attrgetter
from struct import Struct

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.copy import QueuedLibpqWriter

from omop_emb.database import binary_format
from omop_emb.records import Concept
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import (
    KEY_COLUMNS,
    ROW_COLUMNS,
    ROW_DTYPE,
    TEXT_COLUMNS,
    TEXT_KEY_LAYOUT,
    VECTOR_HASH,
    row_layout,
)
from omop_emb.spaces.text_rows import TextRows, row_slices, vector_hashes

# The text table's columns of fixed width are sent first.
_TEXT_ORDER = (*KEY_COLUMNS, VECTOR_HASH, *(name for name in TEXT_COLUMNS if name not in KEY_COLUMNS))
_LENGTH = Struct(">i").pack
_FILTERS = attrgetter("domain_id", "vocabulary_id", "concept_class_id", "standard_concept", "invalid_reason")
_NO_DETAILS = binary_format.encode_text_columns(*[None] * 6)  # where no vocabulary describes a concept


def copy_block(
    connection: psycopg.Connection,
    space: Space,
    keys: NDArray[np.void],
    vectors: NDArray[np.float32] | NDArray[np.float16],
    target: sql.Identifier,
) -> None:
    """COPY rows into a table that has the columns of the space's row table.

    `keys` are (n,) of ROW_DTYPE, `vectors` (n, dimensions) rows of unit length.
    """
    row_blocks = (_encode_block(space, keys[part], vectors[part]) for part in row_slices(len(keys)))
    _copy(connection, target, ROW_COLUMNS, row_blocks)


def copy_to_space(connection: psycopg.Connection, space: Space, rows: TextRows) -> None:
    """COPY rows into both tables of a space; texts are encoded while the server takes the vectors."""
    keys, encoder, texts = _row_keys(connection, rows), _TextEncoder(rows), []

    def row_blocks() -> Iterator[memoryview]:
        for part, halves in rows.half_blocks():
            yield _encode_block(space, keys[part], halves)
            texts.append(encoder.block(part, halves))

    _copy(connection, space.tables.rows, ROW_COLUMNS, row_blocks())
    _copy(connection, space.tables.texts, _TEXT_ORDER, texts)


def copy_rows(connection: psycopg.Connection, space: Space, rows: TextRows, target: sql.Identifier) -> None:
    """COPY keys, filter columns and vectors into a table that has the columns of the space's row table."""
    keys = _row_keys(connection, rows)
    row_blocks = (_encode_block(space, keys[part], halves) for part, halves in rows.half_blocks())
    _copy(connection, target, ROW_COLUMNS, row_blocks)


def copy_texts(connection: psycopg.Connection, rows: TextRows, target: sql.Identifier) -> None:
    """COPY texts and the details of their concepts into a table like the space's text table."""
    encoder = _TextEncoder(rows)
    _copy(connection, target, _TEXT_ORDER, (encoder.block(*block) for block in rows.half_blocks()))


def _encode_block(
    space: Space, keys: NDArray[np.void], vectors: NDArray[np.float32] | NDArray[np.float16]
) -> memoryview:
    values: dict[str, NDArray[np.generic]] = {name: keys[name] for name in ROW_DTYPE.names or ()}
    values["embedding"] = vectors
    layout = row_layout(space.fingerprint.dimensions)
    return binary_format.encode_rows(layout, values, len(keys)).data.cast("B")


def _row_keys(connection: psycopg.Connection, rows: TextRows) -> NDArray[np.void]:
    """Keys and filter columns of each row, of ROW_DTYPE."""
    described = [concept for concept in rows.concepts.values() if isinstance(concept, Concept)]
    # Few concepts differ in all filter columns, so each combination is looked up once; the first stands for
    # the concepts that no vocabulary describes.
    examples = {_FILTERS(concept): concept for concept in (Concept(0, ""), *described)}
    codes = _label_codes(connection, list(examples.values()))
    combinations = np.empty(len(examples), ROW_DTYPE)
    combinations["domain"] = [codes["domain", c.domain_id] for c in examples.values()]
    combinations["vocabulary"] = [codes["vocabulary", c.vocabulary_id] for c in examples.values()]
    combinations["concept_class"] = [codes["concept class", c.concept_class_id] for c in examples.values()]
    combinations["standard"] = [(c.standard_concept or " ")[:1].encode() for c in examples.values()]
    combinations["valid"] = [not c.invalid_reason for c in examples.values()]
    keys = combinations[np.zeros(len(rows), np.intp)]
    if described:
        position = {values: index for index, values in enumerate(examples)}
        of_concept = {concept.concept_id: position[_FILTERS(concept)] for concept in described}
        keys = combinations[np.array([of_concept.get(id_, 0) for id_ in rows.concept_ids.tolist()])]
    for name, values in rows.keys.items():
        keys[name] = values
    return keys


class _TextEncoder:
    """Rows of the text table in COPY's binary format."""

    def __init__(self, rows: TextRows) -> None:
        self._rows = rows
        self._details: dict[int, bytes] = {}  # a concept with many texts is encoded once

    def block(self, part: slice, halves: NDArray[np.float16]) -> bytes:
        values = {name: column[part] for name, column in self._rows.keys.items()}
        fixed = binary_format.encode_rows(
            TEXT_KEY_LAYOUT, {**values, VECTOR_HASH: vector_hashes(halves)}, len(halves)
        )
        fixed["column_count"] = len(_TEXT_ORDER)
        width, prefixes = fixed.dtype.itemsize, fixed.tobytes()
        encoded: list[bytes] = []
        for start, concept_id, text in zip(
            range(0, len(prefixes), width), values["concept_id"].tolist(), self._rows.texts[part], strict=True
        ):
            details = self._details.get(concept_id)
            if details is None:
                details = self._details[concept_id] = _encode_details(self._rows.concepts[concept_id])
            characters = text.encode()
            encoded += (prefixes[start : start + width], _LENGTH(len(characters)), characters, details)
        return b"".join(encoded)


def _encode_details(concept: Concept | str) -> bytes:
    """The columns of the text table that are the same for each text of a concept."""
    if isinstance(concept, str):
        return binary_format.encode_text_columns(concept) + _NO_DETAILS
    return b"".join(
        (
            binary_format.encode_text_columns(concept.concept_name),
            _encode_labels(
                concept.domain_id, concept.vocabulary_id, concept.concept_class_id, concept.standard_concept
            ),
            binary_format.encode_text_columns(concept.concept_code),
            _encode_labels(concept.invalid_reason),
        )
    )


@lru_cache(maxsize=10_000)
def _encode_labels(*labels: str | None) -> bytes:
    return binary_format.encode_text_columns(*labels)


def _label_codes(
    connection: psycopg.Connection, concepts: Sequence[Concept]
) -> dict[tuple[str, str | None], int]:
    """The two-byte codes of these concepts' domains, vocabularies and classes; new ones are recorded."""
    labels = {
        *(("domain", concept.domain_id) for concept in concepts),
        *(("vocabulary", concept.vocabulary_id) for concept in concepts),
        *(("concept class", concept.concept_class_id) for concept in concepts),
    }
    codes: dict[tuple[str, str | None], int] = {
        (kind, label): code
        for kind, label, code in connection.execute("select kind, label, code from omop_emb.label")
    }
    codes.update((entry, 0) for entry in labels if entry[1] is None)
    # Sorted, so that two writers with the same new labels wait for each other instead of deadlocking.
    missing = sorted((kind, label) for kind, label in labels - codes.keys() if label is not None)
    if missing:
        with connection.cursor() as cursor:
            cursor.executemany(
                "insert into omop_emb.label (kind, label) values (%s, %s) on conflict do nothing", missing
            )
        return _label_codes(connection, concepts)
    return codes


def _copy(
    connection: psycopg.Connection,
    target: sql.Identifier,
    columns: Sequence[str],
    blocks: Iterable[bytes | memoryview],
) -> None:
    statement = sql.SQL("copy {} ({}) from stdin (format binary)").format(
        target, sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    # Sent by a thread, from a queue of at most 128 MB: while the server works on a block, the next is built.
    with connection.cursor() as cursor, cursor.copy(statement, writer=QueuedLibpqWriter(cursor)) as copy:
        copy.write(binary_format.COPY_HEADER)
        for block in blocks:
            copy.write(block)
        copy.write(binary_format.COPY_TRAILER)
