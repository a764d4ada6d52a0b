"""Writing the rows of an embedding space: new ones by COPY, others through staging tables and an upsert."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.errors import UniqueViolation

from omop_emb.database.binary_format import array_literal
from omop_emb.records import TextKind
from omop_emb.spaces.copy_rows import KEYS, copy_block, copy_new, copy_rows, copy_texts, label_codes
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import KEY_COLUMNS, ROW_COLUMNS, TEXT_COLUMNS, VECTOR_HASH
from omop_emb.spaces.text_rows import TextRows

__all__ = [
    "KEYS",
    "TextRows",
    "UpsertResult",
    "copy_block",
    "label_codes",
    "record_write",
    "text_hash",
    "text_hashes",
    "upsert_rows",
    "insert_block",
]


@dataclass(frozen=True)
class UpsertResult:
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
    digests = b"".join(hashlib.sha256(text.encode()).digest()[:8] for text in texts)
    return np.frombuffer(digests, ">i8").astype(np.int64)


def upsert_rows(
    connection: psycopg.Connection, space: Space, rows: TextRows, *, replace_concepts: bool = False
) -> UpsertResult:
    """Write rows into a space; nothing is committed.

    A row whose key, vector and concept are unchanged is left alone. With `replace_concepts`, other
    texts of the same concepts are deleted, but for the aliases that a site approved.

    Raises:
        InputError: the same text of a concept stands in `rows` with two different vectors.
    """
    if not len(rows):
        return UpsertResult(0, 0)
    rows = rows.without_duplicates()
    known = _known_concepts(connection, space, rows)
    written = deleted = 0
    if not known.all():
        new = rows if not known.any() else rows.taken(np.flatnonzero(~known))
        if _copied(connection, space, new):
            written += len(new)
        else:
            known[:] = True
    if known.any():
        there = rows if known.all() else rows.taken(np.flatnonzero(known))
        changed = _upsert_staged(connection, space, there, replace_concepts=replace_concepts)
        written, deleted = written + changed.written, changed.deleted
    elif written:
        record_write(connection, space)
    return UpsertResult(written, deleted)


def _known_concepts(connection: psycopg.Connection, space: Space, rows: TextRows) -> NDArray[np.bool_]:
    """Of each row, whether the space has texts of its concept."""
    # Asked of the texts, whose pages are a tenth of the vectors'.
    concept_ids = rows.concept_ids
    some = connection.execute(sql.SQL("select exists (select from {})").format(space.tables.texts)).fetchone()
    if some is None or not some[0]:
        return np.zeros(len(rows), bool)
    found = connection.execute(
        sql.SQL("select distinct concept_id from {} where concept_id = any(%s::integer[])").format(
            space.tables.texts
        ),
        (array_literal(np.unique(concept_ids).tolist()),),
    ).fetchall()
    return np.isin(concept_ids, np.array([concept_id for (concept_id,) in found], np.int32))


def _copied(connection: psycopg.Connection, space: Space, rows: TextRows) -> bool:
    """Copy rows straight into the space; False, and nothing done, if another writer has just added one."""
    try:
        with connection.transaction():
            copy_new(connection, space, rows)
    except UniqueViolation:
        return False
    return True


def _upsert_staged(
    connection: psycopg.Connection, space: Space, rows: TextRows, *, replace_concepts: bool
) -> UpsertResult:
    """Compare texts and hashes of vectors in the database, and send the vectors of what is not the same."""
    staged_rows, staged_texts = _staging(connection, space)
    copy_texts(connection, rows, staged_texts)
    names = {
        "rows": space.tables.rows,
        "texts": space.tables.texts,
        "staged_rows": staged_rows,
        "staged_texts": staged_texts,
    }
    columns = (*TEXT_COLUMNS, VECTOR_HASH)
    deleted = written = retexted = 0
    if replace_concepts:
        deleted = connection.execute(_delete_replaced(names)).rowcount
    differing = connection.execute(_differing(names, columns)).fetchall()
    if differing:
        wanted = set(differing)
        own = zip(*(rows.keys[name].tolist() for name in KEY_COLUMNS), strict=True)
        places = [place for place, (i, kind, hash_) in enumerate(own) if (i, kind.decode(), hash_) in wanted]
        changed = rows if len(places) == len(rows) else rows.taken(np.array(places))
        copy_rows(connection, space, changed, staged_rows)
        written = connection.execute(_upsert_from("rows", "staged_rows", ROW_COLUMNS, names)).rowcount
        retexted = connection.execute(_upsert_from("texts", "staged_texts", columns, names)).rowcount
    connection.execute(sql.SQL("truncate {}, {}").format(staged_rows, staged_texts))
    if written or deleted or retexted:
        record_write(connection, space)
    return UpsertResult(written, deleted)


def record_write(connection: psycopg.Connection, space: Space) -> None:
    """Give the space a new state; each transaction that changes rows must call it."""
    connection.execute("insert into omop_emb.space_write (space_id) values (%s)", (space.space_id,))


def insert_block(
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
        # Whose vector was replaced: what was known of it is known no more.
        connection.execute(
            sql.SQL(
                "{} on conflict (concept_id, text_kind, text_hash) do update set vector_hash = null"
            ).format(insert)
        )
    record_write(connection, space)


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


def _delete_replaced(names: dict[str, sql.Identifier]) -> sql.Composed:
    return sql.SQL(
        "with replaced as (delete from {texts} t using (select distinct concept_id from {staged}) s "
        "where t.concept_id = s.concept_id and t.text_kind <> {alias} and not exists ("
        "select from {staged} k where (k.concept_id, k.text_kind, k.text_hash) "
        "= (t.concept_id, t.text_kind, t.text_hash)) returning t.concept_id, t.text_kind, t.text_hash) "
        "delete from {rows} r using replaced t where (r.concept_id, r.text_kind, r.text_hash) "
        "= (t.concept_id, t.text_kind, t.text_hash)"
    ).format(
        rows=names["rows"],
        texts=names["texts"],
        staged=names["staged_texts"],
        alias=sql.Literal(TextKind.ALIAS.value),
    )


def _differing(names: dict[str, sql.Identifier], columns: Sequence[str]) -> sql.Composed:
    """The keys of staged texts that are not there with the same details and a vector of the same hash."""
    return sql.SQL(
        "select {key} from {staged} s where not exists (select from {texts} t where ({t_key}) = ({s_key}) "
        "and t.vector_hash = s.vector_hash and ({old}) is not distinct from ({new}))"
    ).format(
        staged=names["staged_texts"],
        texts=names["texts"],
        key=sql.SQL(", ").join(map(sql.Identifier, KEY_COLUMNS)),
        t_key=sql.SQL(", ").join(sql.Identifier("t", column) for column in KEY_COLUMNS),
        s_key=sql.SQL(", ").join(sql.Identifier("s", column) for column in KEY_COLUMNS),
        old=sql.SQL(", ").join(sql.Identifier("t", column) for column in columns),
        new=sql.SQL(", ").join(sql.Identifier("s", column) for column in columns),
    )


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
