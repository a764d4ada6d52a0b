"""Site memory: a site's approved names, searchable as further names of their concepts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import psycopg

from omop_emb.arrays import Floats
from omop_emb.database import binary_format
from omop_emb.mapping.approvals.approval_store import stored_approvals
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.spaces.registry import Space

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
    """(n, dimensions) vectors of names as queries; those that the space lacks are embedded and stored."""
    hashes = [hashlib.sha256(name.encode()).digest() for name in names]
    cursor = binary_format.binary_cursor(connection)
    rows = cursor.execute(
        "select source_name_hash, embedding from omop_emb.mapping_memory_vector where space_id = %(space)s",
        {"space": space.space_id},
    ).fetchall()
    vectors: dict[bytes, Floats] = {}
    if rows:
        halves = [bytes(value) for _, value in rows]
        stored = binary_format.decode_half_vectors(halves, space.fingerprint.dimensions).astype(np.float32)
        vectors = {bytes(key): vector for (key, _), vector in zip(rows, stored, strict=True)}
    missing = {key: name for key, name in zip(hashes, names, strict=True) if key not in vectors}
    if missing:
        for key, vector in zip(missing, embed(list(missing.values())), strict=True):
            cursor.execute(
                "insert into omop_emb.mapping_memory_vector (space_id, source_name_hash, embedding) "
                "values (%(space)s, %(key)s, %(vector)s) on conflict do nothing",
                {"space": space.space_id, "key": key, "vector": binary_format.encode_half_vector(vector)},
            )
            vectors[key] = vector
    return np.stack([vectors[key] for key in hashes])
