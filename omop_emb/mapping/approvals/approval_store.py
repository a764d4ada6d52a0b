"""A site's approved mappings in the database: remember, withdraw, read back with their vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import psycopg
from psycopg.rows import tuple_row

from omop_emb.arrays import Floats
from omop_emb.database import binary_format
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.spaces.registry import Space

Embed = Callable[[list[str]], Floats]


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A source term that a person mapped to a standard concept.

    Attributes:
        source_name, source_code, source_vocabulary: the term; "" for what it has not.
        concept_id: what it means.
        approved_from, approved_at: the file that it came with and when; only of what is read back.
    """

    source_name: str
    concept_id: int
    source_code: str = ""
    source_vocabulary: str = ""
    approved_from: str = ""
    approved_at: datetime | None = None


def remember(
    connection: psycopg.Connection[Any], site: str, approvals: Iterable[Approval], approved_from: str
) -> int:
    """Keep approvals for a site; one that was withdrawn comes back. Returns how many are new or back."""
    cursor = connection.cursor()
    changed = 0
    for approval in approvals:
        cursor.execute(
            "insert into omop_emb.mapping_memory "
            "(site, source_code, source_name, source_vocabulary, concept_id, approved_from) "
            "values (%(site)s, %(code)s, %(name)s, %(vocabulary)s, %(concept_id)s, %(approved_from)s) "
            "on conflict (site, source_code, source_name, concept_id) do update "
            "set withdrawn_at = null, approved_from = excluded.approved_from, approved_at = now() "
            "where mapping_memory.withdrawn_at is not null",
            {
                "site": site,
                "code": approval.source_code,
                "name": approval.source_name,
                "vocabulary": approval.source_vocabulary,
                "concept_id": approval.concept_id,
                "approved_from": approved_from,
            },
        )
        changed += cursor.rowcount
    return changed


def withdraw(
    connection: psycopg.Connection[Any],
    site: str,
    *,
    source_name: str | None = None,
    approved_from: str | None = None,
) -> int:
    """Withdraw a site's approvals: all, those of a name, or those that came with a file. Returns how many."""
    cursor = connection.execute(
        "update omop_emb.mapping_memory set withdrawn_at = now() "
        "where site = %(site)s and withdrawn_at is null "
        "and (%(name)s::text is null or source_name = %(name)s) "
        "and (%(file)s::text is null or approved_from = %(file)s)",
        {"site": site, "name": source_name, "file": approved_from},
    )
    return cursor.rowcount


def approvals(connection: psycopg.Connection[Any], site: str) -> list[Approval]:
    """What a site has approved and not withdrawn, in the order in which it came."""
    rows = connection.cursor(row_factory=tuple_row).execute(
        "select source_name, concept_id, source_code, source_vocabulary, approved_from, approved_at "
        "from omop_emb.mapping_memory "
        "where site = %(site)s and withdrawn_at is null order by memory_id",
        {"site": site},
    )
    return [
        Approval(
            source_name=name,
            concept_id=concept_id,
            source_code=code,
            source_vocabulary=vocabulary,
            approved_from=approved_from,
            approved_at=approved_at,
        )
        for name, concept_id, code, vocabulary, approved_from, approved_at in rows
    ]


def memory_index(
    connection: psycopg.Connection[Any],
    site: str,
    lexical: LexicalIndex,
    space: Space | None,
    embed: Embed | None,
) -> MemoryIndex | None:
    """A site's memory, searchable; None where it has approved nothing that is still a standard concept."""
    known = approvals(connection, site)
    followed = [
        (approval.source_name, row, approval.source_code)
        for approval in known
        for _, row in lexical.lexicon.standard_targets(approval.concept_id)
    ]
    if not followed:
        return None
    names = [name for name, _, _ in followed]
    vectors = None
    if space is not None and embed is not None:
        vectors = stored_vectors(connection, space, names, embed)
    rows = np.array([row for _, row, _ in followed])
    return MemoryIndex(lexical, names, rows, vectors, [code for _, _, code in followed])


def stored_vectors(
    connection: psycopg.Connection[Any], space: Space, names: Sequence[str], embed: Embed
) -> Floats:
    """(n, dimensions) vectors of approved names as queries; those that the space lacks are made and kept."""
    keys = [hashlib.sha256(name.encode()).digest() for name in names]
    cursor = binary_format.binary_cursor(connection)
    rows = cursor.execute(
        "select source_name_hash, embedding from omop_emb.mapping_memory_vector where space_id = %(space)s",
        {"space": space.space_id},
    ).fetchall()
    dimensions = space.fingerprint.dimensions
    known: dict[bytes, Floats] = {}
    if rows:
        block = binary_format.decode_half_vectors([bytes(value) for _, value in rows], dimensions)
        known = {bytes(key): row for (key, _), row in zip(rows, block.astype(np.float32), strict=True)}
    missing = list({key: name for key, name in zip(keys, names, strict=True) if key not in known}.items())
    if missing:
        made = embed([name for _, name in missing])
        for (key, _), vector in zip(missing, made, strict=True):
            cursor.execute(
                "insert into omop_emb.mapping_memory_vector (space_id, source_name_hash, embedding) "
                "values (%(space)s, %(key)s, %(vector)s::halfvec) on conflict do nothing",
                {"space": space.space_id, "key": key, "vector": binary_format.encode_half_vector(vector)},
            )
            known[key] = vector
    return np.stack([known[key] for key in keys])
