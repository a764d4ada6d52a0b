"""Writing the rows of an embedding space: COPY into staging tables, then one upsert from there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.errors import UniqueViolation

from omop_emb import binary
from omop_emb.errors import InputError
from omop_emb.records import Concept, TextKind
from omop_emb.spaces import Space
from omop_emb.tables import KEY_COLUMNS, ROW_COLUMNS, TEXT_COLUMNS

_KEY_LAYOUT = (("concept_id", ">i4"), ("text_kind", "S1"), ("text_hash", ">i8"))

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
        vectors: (n, dimensions) float32, rows of unit length.
    """

    concepts: Sequence[Concept]
    kinds: Sequence[TextKind]
    texts: Sequence[str]
    text_hashes: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Written:
    """How many rows a write changed.

    Attributes:
        written: rows that are new, or whose vector or filter columns changed.
        deleted: rows of the same concepts whose texts were replaced.
    """

    written: int
    deleted: int


def text_hash(text: str) -> int:
    """The first 8 bytes of a text's SHA-256, as PostgreSQL's bigint; compared within one concept only."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def text_hashes(texts: Iterable[str]) -> NDArray[np.int64]:
    """text_hash() of each text, (n,) int64."""
    return np.array([text_hash(text) for text in texts], np.int64)


def upsert(
    connection: psycopg.Connection, space: Space, rows: TextRows, *, replace_concepts: bool = False
) -> Written:
    """Write rows into a space; nothing is committed.

    A row whose key, vector and concept are unchanged is left alone. With `replace_concepts`, other
    texts of the same concepts are deleted, but for the aliases that a site approved.

    Raises:
        InputError: the same text of a concept stands in `rows` with two different vectors.
    """
    if not len(rows):
        return Written(0, 0)
    rows = _without_duplicates(rows)
    staged_rows, staged_texts = _stage(connection, space, rows)
    names = {
        "rows": space.tables.rows,
        "texts": space.tables.texts,
        "staged_rows": staged_rows,
        "staged_texts": staged_texts,
    }
    deleted = 0
    if replace_concepts:
        deleted = connection.execute(_delete_replaced(names, "rows")).rowcount
        connection.execute(_delete_replaced(names, "texts"))
    written = connection.execute(_upsert_from("rows", "staged_rows", ROW_COLUMNS, names)).rowcount
    retexted = connection.execute(_upsert_from("texts", "staged_texts", TEXT_COLUMNS, names)).rowcount
    connection.execute(sql.SQL("truncate {}, {}").format(staged_rows, staged_texts))
    if written or deleted or retexted:
        mark_written(connection, space)
    return Written(written, deleted)


def mark_written(connection: psycopg.Connection, space: Space) -> None:
    """Give the space a new state; each transaction that changes rows must call it."""
    connection.execute("insert into omop_emb.space_write (space_id) values (%s)", (space.space_id,))


def write_block(
    connection: psycopg.Connection,
    space: Space,
    keys: NDArray[np.void],
    vectors: NDArray[np.float32],
    *,
    texts: sql.Composed,
) -> None:
    """Write rows whose codes are known, expected to be new ones, in the caller's transaction.

    They go straight into the space; only if one of them is there already, through staging and an upsert.

    Args:
        connection: in whose transaction it happens.
        space: where they go.
        keys: (n,) of dtype KEYS, no key twice.
        vectors: (n, dimensions) float32, rows of unit length.
        texts: a query that gives the same rows for the text table, columns as in TEXT_COLUMNS.
    """
    columns = sql.SQL(", ").join(map(sql.Identifier, TEXT_COLUMNS))
    insert = sql.SQL("insert into {} ({}) {}").format(space.tables.texts, columns, texts)
    try:
        with connection.transaction():
            copy_block(connection, space, keys, vectors, space.tables.rows)
            connection.execute(insert)
    except UniqueViolation:
        staged_rows, _ = _staging(connection, space)
        copy_block(connection, space, keys, vectors, staged_rows)
        names = {"rows": space.tables.rows, "staged_rows": staged_rows}
        connection.execute(_upsert_from("rows", "staged_rows", ROW_COLUMNS, names))
        connection.execute(
            sql.SQL("{} on conflict (concept_id, text_kind, text_hash) do nothing").format(insert)
        )
    mark_written(connection, space)


def copy_block(
    connection: psycopg.Connection,
    space: Space,
    keys: NDArray[np.void],
    vectors: NDArray[np.float32],
    target: sql.Identifier,
) -> None:
    """COPY rows, given as for write_block(), into a table with the columns of the space's row table."""
    columns = (
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
    values = {name: keys[name] for name in KEYS.fields or ()}
    block = binary.fill_fixed_width(columns, {**values, "embedding": vectors}, len(keys))
    _copy(connection, target, ROW_COLUMNS, block.tobytes())


def copy_rows(connection: psycopg.Connection, space: Space, rows: TextRows, target: sql.Identifier) -> None:
    """COPY keys, filter columns and vectors into a table with the columns of the space's row table."""
    codes = label_codes(connection, rows.concepts)
    concepts = rows.concepts
    keys = np.empty(len(rows), KEYS)
    for name, values in _keys(rows).items():
        keys[name] = values
    keys["domain"] = [codes["domain", c.domain_id] for c in concepts]
    keys["vocabulary"] = [codes["vocabulary", c.vocabulary_id] for c in concepts]
    keys["concept_class"] = [codes["concept class", c.concept_class_id] for c in concepts]
    keys["standard"] = [(c.standard_concept or " ")[:1].encode() for c in concepts]
    keys["valid"] = [not c.invalid_reason for c in concepts]
    copy_block(connection, space, keys, rows.vectors, target)


def copy_texts(connection: psycopg.Connection, rows: TextRows, target: sql.Identifier) -> None:
    """COPY texts and what is shown of their concepts into a table like the space's text table."""
    block = binary.fill_fixed_width(_KEY_LAYOUT, _keys(rows), len(rows))
    block["column_count"] = len(TEXT_COLUMNS)
    tails = [
        (
            text,
            concept.concept_name,
            concept.domain_id,
            concept.vocabulary_id,
            concept.concept_class_id,
            concept.standard_concept,
            concept.concept_code,
            concept.invalid_reason,
        )
        for concept, text in zip(rows.concepts, rows.texts, strict=True)
    ]
    _copy(connection, target, TEXT_COLUMNS, binary.variable_rows(block, tails))


def label_codes(
    connection: psycopg.Connection, concepts: Iterable[Concept]
) -> dict[tuple[str, str | None], int]:
    """The two-byte codes of these concepts' domains, vocabularies and classes; new ones are recorded."""
    wanted: set[tuple[str, str | None]] = set()
    for concept in concepts:
        wanted.add(("domain", concept.domain_id))
        wanted.add(("vocabulary", concept.vocabulary_id))
        wanted.add(("concept class", concept.concept_class_id))
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


def _keys(rows: TextRows) -> dict[str, NDArray[np.generic]]:
    return {
        "concept_id": np.fromiter((c.concept_id for c in rows.concepts), np.int32, len(rows)),
        "text_kind": np.array([kind.value for kind in rows.kinds], "S1"),
        "text_hash": rows.text_hashes,
    }


def _copy(
    connection: psycopg.Connection, target: sql.Identifier, columns: Sequence[str], body: bytes
) -> None:
    statement = sql.SQL("copy {} ({}) from stdin (format binary)").format(
        target, sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(binary.COPY_HEADER + body + binary.COPY_TRAILER)


def _stage(
    connection: psycopg.Connection, space: Space, rows: TextRows
) -> tuple[sql.Identifier, sql.Identifier]:
    staged_rows, staged_texts = _staging(connection, space)
    copy_rows(connection, space, rows, staged_rows)
    copy_texts(connection, rows, staged_texts)
    return staged_rows, staged_texts


def _staging(connection: psycopg.Connection, space: Space) -> tuple[sql.Identifier, sql.Identifier]:
    # Named after the space, whose number is never given twice: a pooled connection can keep them.
    staged_rows = sql.Identifier("pg_temp", f"staged_{space.space_id}")
    staged_texts = sql.Identifier("pg_temp", f"staged_{space.space_id}_text")
    for staged, like in ((staged_rows, space.tables.rows), (staged_texts, space.tables.texts)):
        connection.execute(
            sql.SQL(
                "create temporary table if not exists {} (like {} including storage) on commit delete rows"
            ).format(staged, like)
        )
        connection.execute(sql.SQL("truncate {}").format(staged))
    return staged_rows, staged_texts


def _delete_replaced(names: dict[str, sql.Identifier], table: str) -> sql.Composed:
    return sql.SQL(
        "delete from {table} t using (select distinct concept_id from {staged_rows}) s "
        "where t.concept_id = s.concept_id and t.text_kind <> {alias} and not exists ("
        "select from {staged_rows} k where (k.concept_id, k.text_kind, k.text_hash) "
        "= (t.concept_id, t.text_kind, t.text_hash))"
    ).format(table=names[table], staged_rows=names["staged_rows"], alias=sql.Literal(TextKind.ALIAS.value))


def _upsert_from(
    table: str, staged: str, columns: Sequence[str], names: dict[str, sql.Identifier]
) -> sql.Composed:
    values = [sql.Identifier(column) for column in columns if column not in KEY_COLUMNS]
    return sql.SQL(
        "insert into {table} as t ({columns}) select {columns} from {staged} "
        "on conflict (concept_id, text_kind, text_hash) do update set ({values}) = row({new}) "
        "where ({old}) is distinct from ({new})"
    ).format(
        table=names[table],
        staged=names[staged],
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        values=sql.SQL(", ").join(values),
        new=sql.SQL(", ").join(sql.SQL("excluded.{}").format(value) for value in values),
        old=sql.SQL(", ").join(sql.SQL("t.{}").format(value) for value in values),
    )


def _without_duplicates(rows: TextRows) -> TextRows:
    first: dict[tuple[int, TextKind, int], int] = {}
    for index, concept in enumerate(rows.concepts):
        key = (concept.concept_id, rows.kinds[index], int(rows.text_hashes[index]))
        earlier = first.setdefault(key, index)
        if earlier != index and not np.array_equal(rows.vectors[earlier], rows.vectors[index]):
            raise InputError(
                f"concept {concept.concept_id} stands at {earlier} and {index} with one text, two vectors: "
                "give each text of a concept once"
            )
    if len(first) == len(rows):
        return rows
    keep = list(first.values())
    return TextRows(
        [rows.concepts[index] for index in keep],
        [rows.kinds[index] for index in keep],
        [rows.texts[index] for index in keep],
        rows.text_hashes[keep],
        rows.vectors[keep],
    )
