"""Upserts into an embedding space: new rows by COPY, others through staging tables."""

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
from omop_emb.database.fetch import fetch_value
from omop_emb.providers.parts import EmbeddingItem
from omop_emb.records import TextKind
from omop_emb.spaces.copy_rows import copy_block, copy_rows, copy_texts, copy_to_space
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import KEY_COLUMNS, ROW_COLUMNS, TEXT_COLUMNS, VECTOR_HASH
from omop_emb.spaces.text_rows import TextRows


@dataclass(frozen=True)
class UpsertResult:
    """How many rows a write changed."""

    written: int  # rows that are new, or whose vector or filter columns changed
    deleted: int  # rows of the same concepts whose texts were replaced


def text_hash(item: EmbeddingItem) -> int:
    """The first 8 bytes of a text's SHA-256, as PostgreSQL's bigint; compared within one concept only.

    Of a content the first 4 are those of the text that is shown, and the others of its digest, which changes
    with any of its parts.
    """
    text = item if isinstance(item, str) else item.shown_text
    hash_ = hashlib.sha256(text.encode()).digest()[:8]
    if not isinstance(item, str):
        hash_ = hash_[:4] + item.digest[:4]
    return int.from_bytes(hash_, "big", signed=True)


def text_hashes(texts: Iterable[EmbeddingItem]) -> NDArray[np.int64]:
    """text_hash() of each text, (n,) int64."""
    return np.fromiter(map(text_hash, texts), np.int64)


def upsert_rows(
    connection: psycopg.Connection, space: Space, rows: TextRows, *, replace_concepts: bool = False
) -> UpsertResult:
    """Write rows into a space; nothing is committed.

    A row whose key, vector and concept are unchanged is left alone. With `replace_concepts`, other
    texts of the same concepts are deleted, except the aliases that a site approved. One text of a concept
    with two different vectors raises InputError.
    """
    if not len(rows):
        return UpsertResult(0, 0)
    rows = rows.without_duplicates()
    exists = _has_concept(connection, space, rows)
    written = deleted = 0
    if not exists.all():
        new = rows if not exists.any() else rows.take(np.flatnonzero(~exists))
        if _try_copy(connection, space, new):
            written += len(new)
        else:
            exists[:] = True
    if exists.any():
        existing = rows if exists.all() else rows.take(np.flatnonzero(exists))
        changed = _upsert_staged(connection, space, existing, replace_concepts=replace_concepts)
        written, deleted = written + changed.written, changed.deleted
    elif written:
        record_write(connection, space)
    return UpsertResult(written, deleted)


def _has_concept(connection: psycopg.Connection, space: Space, rows: TextRows) -> NDArray[np.bool_]:
    """(n,) whether the space has texts of each row's concept."""
    # Looked up in the text table, whose pages are a tenth of the vectors'.
    if not fetch_value(connection, sql.SQL("select exists (select from {})").format(space.tables.texts)):
        return np.zeros(len(rows), bool)
    select = sql.SQL("select distinct concept_id from {} where concept_id = any(%s::integer[])")
    ids = array_literal(np.unique(rows.concept_ids).tolist())
    existing = connection.execute(select.format(space.tables.texts), (ids,)).fetchall()
    return np.isin(rows.concept_ids, np.array([concept_id for (concept_id,) in existing], np.int32))


def _try_copy(connection: psycopg.Connection, space: Space, rows: TextRows) -> bool:
    """COPY rows straight into the space; False, and nothing done, if another writer has just added one."""
    try:
        with connection.transaction():
            copy_to_space(connection, space, rows)
    except UniqueViolation:
        return False
    return True


def _upsert_staged(
    connection: psycopg.Connection, space: Space, rows: TextRows, *, replace_concepts: bool
) -> UpsertResult:
    """Compare texts and vector hashes in the database, then send only the vectors that differ."""
    staged_rows, staged_texts = _create_staging(connection, space)
    copy_texts(connection, rows, staged_texts)
    tables = {"rows": space.tables.rows, "texts": space.tables.texts, "staged_texts": staged_texts}
    columns = (*TEXT_COLUMNS, VECTOR_HASH)
    deleted = written = changed_texts = 0
    if replace_concepts:
        deleted = connection.execute(
            _DELETE_REPLACED.format(**tables, alias=sql.Literal(TextKind.ALIAS.value))
        ).rowcount
    different_keys = set(connection.execute(_different_keys(tables, columns)).fetchall())
    if different_keys:
        keys = zip(*(rows.keys[name].tolist() for name in KEY_COLUMNS), strict=True)
        positions = [
            position
            for position, (concept_id, kind, hash_) in enumerate(keys)
            if (concept_id, kind.decode(), hash_) in different_keys
        ]
        changed = rows if len(positions) == len(rows) else rows.take(np.array(positions))
        copy_rows(connection, space, changed, staged_rows)
        written = connection.execute(_upsert_from(staged_rows, space.tables.rows, ROW_COLUMNS)).rowcount
        changed_texts = connection.execute(_upsert_from(staged_texts, space.tables.texts, columns)).rowcount
    connection.execute(sql.SQL("truncate {}, {}").format(staged_rows, staged_texts))
    if written or deleted or changed_texts:
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
    """Write rows that are expected to be new, in the caller's transaction.

    They are copied straight into the space; only if one of them exists already, staged and upserted.
    `keys` are (n,) of ROW_DTYPE, no key twice, `vectors` (n, dimensions) rows of unit length, `texts` a query
    for the same rows of the text table, columns as in TEXT_COLUMNS.
    """
    insert = sql.SQL("insert into {} ({}) {}").format(space.tables.texts, _column_list(TEXT_COLUMNS), texts)
    try:
        with connection.transaction():
            copy_block(connection, space, keys, vectors, space.tables.rows)
            connection.execute(insert)
    except UniqueViolation:
        staged_rows, _ = _create_staging(connection, space)
        copy_block(connection, space, keys, vectors, staged_rows)
        connection.execute(_upsert_from(staged_rows, space.tables.rows, ROW_COLUMNS))
        # The vector was replaced, so its hash no longer holds.
        replace = sql.SQL(
            "{} on conflict (concept_id, text_kind, text_hash) do update set vector_hash = null"
        )
        connection.execute(replace.format(insert))
    record_write(connection, space)


def _create_staging(connection: psycopg.Connection, space: Space) -> tuple[sql.Identifier, sql.Identifier]:
    # Named after the space, whose number is never reused: a pooled connection can keep them.
    staged_rows = sql.Identifier("pg_temp", f"staged_{space.space_id}")
    staged_texts = sql.Identifier("pg_temp", f"staged_{space.space_id}_text")
    create = sql.SQL(
        "create temporary table if not exists {staged} (like {table} including storage) "
        "on commit delete rows; truncate {staged}"
    )
    for staged, table in ((staged_rows, space.tables.rows), (staged_texts, space.tables.texts)):
        connection.execute(create.format(staged=staged, table=table))
    return staged_rows, staged_texts


_DELETE_REPLACED = sql.SQL(
    "with replaced as (delete from {texts} t using (select distinct concept_id from {staged_texts}) s "
    "where t.concept_id = s.concept_id and t.text_kind <> {alias} and not exists ("
    "select from {staged_texts} k where (k.concept_id, k.text_kind, k.text_hash) "
    "= (t.concept_id, t.text_kind, t.text_hash)) returning t.concept_id, t.text_kind, t.text_hash) "
    "delete from {rows} r using replaced t where (r.concept_id, r.text_kind, r.text_hash) "
    "= (t.concept_id, t.text_kind, t.text_hash)"
)


def _different_keys(tables: dict[str, sql.Identifier], columns: Sequence[str]) -> sql.Composed:
    """The keys of staged texts that the space lacks, or has with other details or another vector hash."""
    return sql.SQL(
        "select {key} from {staged_texts} s where not exists (select from {texts} t where "
        "({t_key}) = ({s_key}) and t.vector_hash = s.vector_hash and ({old}) is not distinct from ({new}))"
    ).format(
        staged_texts=tables["staged_texts"],
        texts=tables["texts"],
        key=_column_list(KEY_COLUMNS),
        t_key=_column_list(KEY_COLUMNS, "t"),
        s_key=_column_list(KEY_COLUMNS, "s"),
        old=_column_list(columns, "t"),
        new=_column_list(columns, "s"),
    )


def _upsert_from(staged: sql.Identifier, table: sql.Identifier, columns: Sequence[str]) -> sql.Composed:
    values = [column for column in columns if column not in KEY_COLUMNS]
    return sql.SQL(
        "insert into {table} as t ({columns}) select {columns} from {staged} "
        "on conflict (concept_id, text_kind, text_hash) do update set ({values}) = row({new}) "
        # Compared as stored: "is distinct from" needs pgvector's "=" to be in the search_path.
        "where row({old})::record operator(pg_catalog.*<>) row({new})::record"
    ).format(
        table=table,
        staged=staged,
        columns=_column_list(columns),
        values=_column_list(values),
        new=_column_list(values, "excluded"),
        old=_column_list(values, "t"),
    )


def _column_list(columns: Sequence[str], *alias: str) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(*alias, column) for column in columns)
