"""COPY BINARY of a space's rows and texts, built from numpy blocks while the server takes the ones before."""

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
from omop_emb.spaces.tables import KEY_COLUMNS, ROW_COLUMNS, TEXT_COLUMNS, VECTOR_HASH
from omop_emb.spaces.text_rows import TextRows, row_slices, vector_hashes

# The text table's columns of fixed width, which are sent first, and the others.
_FIXED_LAYOUT = (("concept_id", ">i4"), ("text_kind", "S1"), ("text_hash", ">i8"), (VECTOR_HASH, ">i8"))
_TEXT_ORDER = (*KEY_COLUMNS, VECTOR_HASH, *(name for name in TEXT_COLUMNS if name not in KEY_COLUMNS))
_LENGTH = Struct(">i").pack
_FILTERS = attrgetter("domain_id", "vocabulary_id", "concept_class_id", "standard_concept", "invalid_reason")
_UNKNOWN = binary_format.encode_text_columns(
    *[None] * 6
)  # what no vocabulary says of a concept besides its name

# What a row holds besides its vector, in the row table's order; codes as in label_codes().
KEYS = np.dtype(
    [
        ("text_hash", "i8"),
        ("concept_id", "i4"),
        ("domain", "i2"),
        ("vocabulary", "i2"),
        ("concept_class", "i2"),
        ("text_kind", "S1"),
        ("standard", "S1"),
        ("valid", "?"),
    ]
)


def copy_block(
    connection: psycopg.Connection,
    space: Space,
    keys: NDArray[np.void],
    vectors: NDArray[np.float32] | NDArray[np.float16],
    target: sql.Identifier,
) -> None:
    """COPY rows into a table with the columns of the space's row table.

    Args:
        connection: in whose transaction it happens.
        space: whose rows they are.
        keys: (n,) of dtype KEYS.
        vectors: (n, dimensions), rows of unit length; stored in half precision.
        target: the table.
    """
    columns = _row_layout(space)
    _copy(
        connection,
        target,
        ROW_COLUMNS,
        (_row_block(columns, keys[part], vectors[part]) for part in row_slices(len(keys))),
    )


def copy_new(connection: psycopg.Connection, space: Space, rows: TextRows) -> None:
    """COPY rows into both tables of a space; texts are made ready while the server takes the vectors."""
    columns, keys, encoder, texts = _row_layout(space), _row_keys(connection, rows), _TextEncoder(rows), []

    def row_blocks() -> Iterator[memoryview]:
        for part, halves in rows.in_halves():
            yield _row_block(columns, keys[part], halves)
            texts.append(encoder.block(part, halves))

    _copy(connection, space.tables.rows, ROW_COLUMNS, row_blocks())
    _copy(connection, space.tables.texts, _TEXT_ORDER, texts)


def copy_rows(connection: psycopg.Connection, space: Space, rows: TextRows, target: sql.Identifier) -> None:
    """COPY keys, filter columns and vectors into a table with the columns of the space's row table."""
    columns, keys = _row_layout(space), _row_keys(connection, rows)
    row_blocks = (_row_block(columns, keys[part], halves) for part, halves in rows.in_halves())
    _copy(connection, target, ROW_COLUMNS, row_blocks)


def copy_texts(connection: psycopg.Connection, rows: TextRows, target: sql.Identifier) -> None:
    """COPY texts and what is shown of their concepts into a table like the space's text table."""
    encoder = _TextEncoder(rows)
    _copy(connection, target, _TEXT_ORDER, (encoder.block(*block) for block in rows.in_halves()))


def _row_layout(space: Space) -> tuple[tuple[str, str | tuple[str, int]], ...]:
    return (
        ("text_hash", ">i8"),
        ("concept_id", ">i4"),
        ("domain", ">i2"),
        ("vocabulary", ">i2"),
        ("concept_class", ">i2"),
        ("text_kind", "S1"),
        ("standard", "S1"),
        ("valid", "?"),
        ("embedding", (">f2", space.fingerprint.dimensions)),
    )


def _row_block(
    columns: tuple[tuple[str, str | tuple[str, int]], ...],
    keys: NDArray[np.void],
    vectors: NDArray[np.float32] | NDArray[np.float16],
) -> memoryview:
    values: dict[str, NDArray[np.generic]] = {name: keys[name] for name in KEYS.fields or ()}
    values["embedding"] = vectors
    return binary_format.encode_rows(columns, values, len(keys)).data.cast("B")


def _row_keys(connection: psycopg.Connection, rows: TextRows) -> NDArray[np.void]:
    """Keys and filter columns of each row, of dtype KEYS."""
    known = [concept for concept in rows.concepts.values() if isinstance(concept, Concept)]
    # Few concepts differ in all of these, so that each combination is looked up once; the first is of those
    # that no vocabulary describes.
    examples = {_FILTERS(concept): concept for concept in (Concept(0, ""), *known)}
    codes = label_codes(connection, list(examples.values()))
    combined = np.empty(len(examples), KEYS)
    combined["domain"] = [codes["domain", c.domain_id] for c in examples.values()]
    combined["vocabulary"] = [codes["vocabulary", c.vocabulary_id] for c in examples.values()]
    combined["concept_class"] = [codes["concept class", c.concept_class_id] for c in examples.values()]
    combined["standard"] = [(c.standard_concept or " ")[:1].encode() for c in examples.values()]
    combined["valid"] = [not c.invalid_reason for c in examples.values()]
    keys = combined[np.zeros(len(rows), np.intp)]
    if known:
        places = {values: place for place, values in enumerate(examples)}
        place_of = {concept.concept_id: places[_FILTERS(concept)] for concept in known}
        keys = combined[np.array([place_of.get(found, 0) for found in rows.concept_ids.tolist()])]
    for name, values in rows.keys.items():
        keys[name] = values
    return keys


class _TextEncoder:
    """Rows of the text table in COPY's binary format."""

    def __init__(self, rows: TextRows) -> None:
        self._rows = rows
        self._described: dict[int, bytes] = {}  # a concept with many texts is encoded once

    def block(self, part: slice, halves: NDArray[np.float16]) -> bytes:
        values = {name: column[part] for name, column in self._rows.keys.items()}
        fixed = binary_format.encode_rows(
            _FIXED_LAYOUT, {**values, VECTOR_HASH: vector_hashes(halves)}, len(halves)
        )
        fixed["column_count"] = len(_TEXT_ORDER)
        width, prefixes = fixed.dtype.itemsize, fixed.tobytes()
        encoded: list[bytes] = []
        concept_ids = values["concept_id"].tolist()
        for place, concept_id, text in zip(
            range(0, len(prefixes), width), concept_ids, self._rows.texts[part], strict=True
        ):
            details = self._described.get(concept_id)
            if details is None:
                details = self._described[concept_id] = _details(self._rows.concepts[concept_id])
            characters = text.encode()
            encoded += (prefixes[place : place + width], _LENGTH(len(characters)), characters, details)
        return b"".join(encoded)


def _details(concept: Concept | str) -> bytes:
    """The columns of the text table that are the same for each text of a concept."""
    if isinstance(concept, str):
        name = concept.encode()
        return b"".join((_LENGTH(len(name)), name, _UNKNOWN))
    name = concept.concept_name.encode()
    return b"".join(
        (
            _LENGTH(len(name)),
            name,
            _label_columns(
                concept.domain_id, concept.vocabulary_id, concept.concept_class_id, concept.standard_concept
            ),
            binary_format.encode_text_columns(concept.concept_code),
            _label_columns(concept.invalid_reason),
        )
    )


@lru_cache(maxsize=10_000)
def _label_columns(*labels: str | None) -> bytes:
    """The same few values over and over, encoded once."""
    return binary_format.encode_text_columns(*labels)


def label_codes(
    connection: psycopg.Connection, concepts: Sequence[Concept]
) -> dict[tuple[str, str | None], int]:
    """The two-byte codes of these concepts' domains, vocabularies and classes; new ones are recorded."""
    labels: dict[str, set[str | None]] = {
        "domain": {concept.domain_id for concept in concepts},
        "vocabulary": {concept.vocabulary_id for concept in concepts},
        "concept class": {concept.concept_class_id for concept in concepts},
    }
    wanted = {(kind, label) for kind, found in labels.items() for label in found}
    codes: dict[tuple[str, str | None], int] = {
        (kind, label): code
        for kind, label, code in connection.execute("select kind, label, code from omop_emb.label")
    }
    codes.update((entry, 0) for entry in wanted if entry[1] is None)
    # Sorted, so that two writers with the same new labels wait for each other instead of deadlocking.
    missing = sorted((kind, label) for kind, label in wanted - codes.keys() if label is not None)
    if missing:
        with connection.cursor() as cursor:
            cursor.executemany(
                "insert into omop_emb.label (kind, label) values (%s, %s) on conflict do nothing", missing
            )
        return label_codes(connection, concepts)
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
    with (
        connection.cursor() as cursor,
        cursor.copy(statement, writer=QueuedLibpqWriter(cursor)) as copy,
    ):
        copy.write(binary_format.COPY_HEADER)
        for block in blocks:
            copy.write(block)
        copy.write(binary_format.COPY_TRAILER)
