"""Site memory: a site's approved names, searchable as further names of their concepts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg

from omop_emb.arrays import Floats
from omop_emb.database import binary_format
from omop_emb.database.engine import short_transaction
from omop_emb.database.fetch import fetch_value
from omop_emb.mapping.approvals.approval_store import stored_approvals
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.spaces.registry import Space

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

Embed = Callable[[list[str]], Floats]


def read_memory(
    connection: psycopg.Connection[Any], site: str, lexical: LexicalIndex, space: Space, embed: Embed
) -> MemoryIndex | None:
    """A site's approved names; None if it has none whose target is, or leads to, a standard concept."""
    names: list[str] = []
    codes: list[str] = []
    rows: list[int] = []
    approved_ids: list[int] = []
    for approval in stored_approvals(connection, site):
        for _, row in lexical.lexicon.standard_targets(approval.concept_id):
            names.append(approval.source_name)
            codes.append(approval.source_code)
            rows.append(row)
            approved_ids.append(approval.concept_id)
    if not names:
        return None
    vectors = query_vectors(connection, space, names, embed)
    return MemoryIndex(lexical, names, np.array(rows), vectors, codes, approved_ids)


def query_vectors(
    connection: psycopg.Connection[Any], space: Space, names: Sequence[str], embed: Embed
) -> Floats:
    """(n, dimensions) vectors of names as queries; embed gives those that the space lacks."""
    vectors = _stored_vectors(connection, space)
    missing = {key: name for name in names if (key := _key(name)) not in vectors}
    if missing:
        vectors.update(zip(missing, embed(list(missing.values())), strict=True))
    return np.stack([vectors[_key(name)] for name in names])


def approved_names(connection: psycopg.Connection[Any], site: str) -> list[str]:
    """A site's approved names, each once."""
    return list(dict.fromkeys(approval.source_name for approval in stored_approvals(connection, site)))


def names_without_vector(
    connection: psycopg.Connection[Any], space: Space, names: Iterable[str]
) -> list[str]:
    """Those of some names that the space has no vector of."""
    vectors = _stored_vectors(connection, space)
    return [name for name in dict.fromkeys(names) if _key(name) not in vectors]


def store_vectors(
    connection: psycopg.Connection[Any], space: Space, names: Sequence[str], vectors: Floats
) -> None:
    """Keep the vectors of names for the next time, where this role may write them."""
    may_write = (
        "select has_table_privilege('omop_emb.mapping_memory_vector', 'insert') "
        "and current_setting('transaction_read_only') = 'off'"
    )
    if not fetch_value(connection, may_write):
        return
    cursor = binary_format.binary_cursor(connection)
    for name, vector in zip(names, vectors, strict=True):
        cursor.execute(
            "insert into omop_emb.mapping_memory_vector (space_id, source_name_hash, embedding) "
            "values (%(space)s, %(key)s, %(vector)s) on conflict do nothing",
            {"space": space.space_id, "key": _key(name), "vector": binary_format.encode_half_vector(vector)},
        )


def embed_names(source: Session | Connection, space: Space, names: list[str], embed: Embed) -> None:
    """Embed names, in no transaction unless the caller is in one, and keep their vectors."""
    if names:
        vectors = embed(names)
        with short_transaction(source) as connection:
            store_vectors(connection, space, names, vectors)


def _stored_vectors(connection: psycopg.Connection[Any], space: Space) -> dict[bytes, Floats]:
    """The vectors of the names that the space has, by hash."""
    cursor = binary_format.binary_cursor(connection)
    rows = cursor.execute(
        "select source_name_hash, embedding from omop_emb.mapping_memory_vector where space_id = %(space)s",
        {"space": space.space_id},
    ).fetchall()
    halves = [bytes(value) for _, value in rows]
    if not halves:
        return {}
    stored = binary_format.decode_half_vectors(halves, space.fingerprint.dimensions).astype(np.float32)
    return {bytes(key): vector for (key, _), vector in zip(rows, stored, strict=True)}


def _key(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
