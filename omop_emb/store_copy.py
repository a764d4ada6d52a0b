"""COPY BINARY of a space's rows and texts, built from numpy blocks while the server takes the ones before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import attrgetter
from struct import Struct

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.copy import QueuedLibpqWriter

from omop_emb import binary
from omop_emb.errors import InputError
from omop_emb.records import Concept, TextKind
from omop_emb.spaces import Space
from omop_emb.tables import KEY_COLUMNS, ROW_COLUMNS, TEXT_COLUMNS, VECTOR_HASH

# The text table's columns of fixed width, which are sent first, and the others.
_FIXED_LAYOUT = (("concept_id", ">i4"), ("text_kind", "S1"), ("text_hash", ">i8"), (VECTOR_HASH, ">i8"))
_TEXT_ORDER = (*KEY_COLUMNS, VECTOR_HASH, *(name for name in TEXT_COLUMNS if name not in KEY_COLUMNS))
_LENGTH = Struct(">i").pack
_FILTERS = attrgetter("domain_id", "vocabulary_id", "concept_class_id", "standard_concept", "invalid_reason")
_BLOCK_ROWS = 1000  # some megabytes: they stay in the processor's cache

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


@dataclass(frozen=True)
class TextRows:
    """Texts of concepts with their vectors, one row each; all four have the same length.

    Attributes:
        concepts: the concept that each text belongs to.
        kinds: which kind of text it is.
        texts: the text as it is shown.
        text_hashes: (n,) int64, see text_hash(), of the text as it is embedded (its template filled in).
        vectors: (n, dimensions), rows of unit length; stored in half precision.
    """

    concepts: Sequence[Concept]
    kinds: Sequence[TextKind]
    texts: Sequence[str]
    text_hashes: NDArray[np.int64]
    vectors: NDArray[np.float32] | NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def keys(self) -> dict[str, NDArray[np.generic]]:
        """The primary key: concept_id, text_kind and text_hash, each (n,)."""
        return {
            "concept_id": np.fromiter((c.concept_id for c in self.concepts), np.int32, len(self)),
            "text_kind": np.array([kind.value for kind in self.kinds], "S1"),
            "text_hash": self.text_hashes,
        }

    @cached_property
    def halves(self) -> NDArray[np.float16]:
        """The vectors as they are stored, (n, dimensions) in half precision."""
        if self.vectors.dtype == "<f2":
            return self.vectors.view(np.float16)
        halves = np.empty(self.vectors.shape, "<f2")
        for part in _parts(len(self)):
            halves[part] = self.vectors[part]
        return halves

    @cached_property
    def vector_hashes(self) -> NDArray[np.int64]:
        """(n,) of the halves: vectors with one hash are equal, but for one pair of different ones in 2**48.

        Sums of the 16-bit values, each multiplied by a 64-bit number of its own (multilinear hashing).
        """
        factors = np.frombuffer(hashlib.shake_256(b"omop-emb").digest(8 * self.halves.shape[1]), "<u8")
        hashes = np.empty(len(self), np.uint64)
        for part in _parts(len(self)):
            hashes[part] = np.einsum("ij,j->i", self.halves[part].view("<u2").astype(np.uint64), factors)
        return hashes.view(np.int64)

    def taken(self, positions: NDArray[np.int64]) -> TextRows:
        """The rows at these positions."""
        return TextRows(
            [self.concepts[position] for position in positions],
            [self.kinds[position] for position in positions],
            [self.texts[position] for position in positions],
            self.text_hashes[positions],
            self.vectors[positions],
        )

    def without_duplicates(self) -> TextRows:
        """Each text of a concept once.

        Raises:
            InputError: the same text of a concept stands there with two different vectors.
        """
        if (np.diff(self.keys["concept_id"].astype(np.int64)) > 0).all():
            return self  # as most callers have them: sorted, one text each
        order = np.lexsort(tuple(self.keys.values()))
        repeats = np.ones(max(len(self) - 1, 0), bool)
        for values in self.keys.values():
            repeats &= values[order[1:]] == values[order[:-1]]
        if not repeats.any():
            return self
        # lexsort is stable: of equal keys, the one before stands earlier in the call.
        for earlier, later in zip(order[:-1][repeats], order[1:][repeats], strict=True):
            if not np.array_equal(self.vectors[earlier], self.vectors[later]):
                raise InputError(
                    f"concept {self.concepts[later].concept_id} stands at {earlier} and {later} with one "
                    "text, two vectors: give each text of a concept once"
                )
        return self.taken(np.delete(np.arange(len(self)), order[1:][repeats]))


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
    columns: tuple[tuple[str, str | tuple[str, int]], ...] = (
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

    def blocks() -> Iterator[bytes]:
        for part in _parts(len(keys)):
            values: dict[str, NDArray[np.generic]] = {name: keys[name][part] for name in KEYS.fields or ()}
            values["embedding"] = vectors[part]
            yield binary.fill_fixed_width(columns, values, len(vectors[part])).tobytes()

    _copy(connection, target, ROW_COLUMNS, blocks())


def copy_rows(connection: psycopg.Connection, space: Space, rows: TextRows, target: sql.Identifier) -> None:
    """COPY keys, filter columns and vectors into a table with the columns of the space's row table."""
    # Few concepts differ in all of these, so that each combination is looked up once.
    examples = {_FILTERS(concept): concept for concept in rows.concepts}
    codes = label_codes(connection, list(examples.values()))
    combined = np.empty(len(examples), KEYS)
    combined["domain"] = [codes["domain", c.domain_id] for c in examples.values()]
    combined["vocabulary"] = [codes["vocabulary", c.vocabulary_id] for c in examples.values()]
    combined["concept_class"] = [codes["concept class", c.concept_class_id] for c in examples.values()]
    combined["standard"] = [(c.standard_concept or " ")[:1].encode() for c in examples.values()]
    combined["valid"] = [not c.invalid_reason for c in examples.values()]
    places = {values: place for place, values in enumerate(examples)}
    keys = combined[np.fromiter((places[_FILTERS(c)] for c in rows.concepts), np.intp, len(rows))]
    for name, values in rows.keys.items():
        keys[name] = values
    copy_block(connection, space, keys, rows.halves, target)


def copy_texts(connection: psycopg.Connection, rows: TextRows, target: sql.Identifier) -> None:
    """COPY texts and what is shown of their concepts into a table like the space's text table."""
    values = {**rows.keys, VECTOR_HASH: rows.vector_hashes}
    fixed = binary.fill_fixed_width(_FIXED_LAYOUT, values, len(rows))
    fixed["column_count"] = len(_TEXT_ORDER)
    width = fixed.dtype.itemsize
    described: dict[int, bytes] = {}  # a concept with many texts is encoded once

    def blocks() -> Iterator[bytes]:
        for part in _parts(len(rows)):
            prefixes = fixed[part].tobytes()
            encoded: list[bytes] = []
            for place, concept, text in zip(
                range(0, len(prefixes), width), rows.concepts[part], rows.texts[part], strict=True
            ):
                details = described.get(id(concept))
                if details is None:
                    details = described[id(concept)] = _details(concept)
                characters = text.encode()
                encoded += (prefixes[place : place + width], _LENGTH(len(characters)), characters, details)
            yield b"".join(encoded)

    _copy(connection, target, _TEXT_ORDER, blocks())


def _details(concept: Concept) -> bytes:
    """The columns of the text table that are the same for each text of a concept."""
    name = concept.concept_name.encode()
    return b"".join(
        (
            _LENGTH(len(name)),
            name,
            _label_columns(
                concept.domain_id, concept.vocabulary_id, concept.concept_class_id, concept.standard_concept
            ),
            binary.text_columns(concept.concept_code),
            _label_columns(concept.invalid_reason),
        )
    )


@lru_cache(maxsize=10_000)
def _label_columns(*labels: str | None) -> bytes:
    """The same few values over and over, encoded once."""
    return binary.text_columns(*labels)


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


def _parts(count: int) -> Iterator[slice]:
    return (slice(first, first + _BLOCK_ROWS) for first in range(0, count, _BLOCK_ROWS))


def _copy(
    connection: psycopg.Connection, target: sql.Identifier, columns: Sequence[str], blocks: Iterator[bytes]
) -> None:
    statement = sql.SQL("copy {} ({}) from stdin (format binary)").format(
        target, sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    # Sent by a thread: while the server works on one block, the next one is built.
    with (
        connection.cursor() as cursor,
        cursor.copy(statement, writer=QueuedLibpqWriter(cursor)) as copy,
    ):
        copy.write(binary.COPY_HEADER)
        for block in blocks:
            copy.write(block)
        copy.write(binary.COPY_TRAILER)
