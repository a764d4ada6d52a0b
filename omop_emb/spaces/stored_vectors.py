"""Stored vectors: how many a concept has, and those of concepts, as queries for similar concepts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import errors as postgres, sql

from omop_emb.database import binary_format
from omop_emb.database.fetch import fetch_value
from omop_emb.database.transactions import atomic
from omop_emb.errors import InputError
from omop_emb.records import TextKind
from omop_emb.spaces.registry import Space

_VECTORS = sql.SQL(
    "select distinct on (concept_id) concept_id, embedding from {rows} "
    "where concept_id = any(cast(%(concept_ids)s as integer[])) "
    'order by concept_id, array_position(cast(%(kinds)s as "char"[]), text_kind), text_hash'
)
_COUNT = sql.SQL("select count(*) from {texts} where concept_id = %s")
_MAX_LISTED_IDS = 5  # in an error


def concept_vectors(
    connection: psycopg.Connection[Any], space: Space, concept_ids: Sequence[int]
) -> NDArray[np.float32]:
    """(n, dimensions) unit rows: the vector of each concept's name, or of another text if that is missing.

    Concepts without any vector raise InputError.
    """
    parameters = {"concept_ids": list(set(concept_ids)), "kinds": [kind.value for kind in TextKind]}
    with binary_format.binary_cursor(connection) as cursor:
        vectors = dict(cursor.execute(_VECTORS.format(rows=space.tables.rows), parameters).fetchall())
    missing = [concept_id for concept_id in dict.fromkeys(concept_ids) if concept_id not in vectors]
    if missing:
        listed = ", ".join(map(str, missing[:_MAX_LISTED_IDS]))
        more = f" and {len(missing) - _MAX_LISTED_IDS:,} more" if len(missing) > _MAX_LISTED_IDS else ""
        raise InputError(f"concepts {listed}{more} are not embedded in space {space.name!r}")
    rows = binary_format.decode_half_vectors(
        [vectors[concept_id] for concept_id in concept_ids], space.fingerprint.dimensions
    )
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def count_texts(connection: psycopg.Connection[Any], space: Space, concept_id: int) -> int:
    """How many texts of a concept are embedded in a space; 0 if the space was dropped."""
    try:
        with atomic(connection):
            return int(fetch_value(connection, _COUNT.format(texts=space.tables.texts), (concept_id,)))
    except postgres.UndefinedTable:
        return 0
