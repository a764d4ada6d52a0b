"""The stored vectors of concepts, to search for what is near them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from omop_emb.database import binary_format
from omop_emb.errors import InputError
from omop_emb.records import TextKind
from omop_emb.spaces.registry import Space

_VECTORS = sql.SQL(
    "select distinct on (concept_id) concept_id, embedding from {rows} "
    "where concept_id = any(cast(%(concept_ids)s as integer[])) "
    'order by concept_id, array_position(cast(%(kinds)s as "char"[]), text_kind), text_hash'
)
_NAMED = 5  # ids that an error lists


def concept_vectors(
    connection: psycopg.Connection[Any], space: Space, concept_ids: Sequence[int]
) -> NDArray[np.float32]:
    """(n, dimensions) unit rows: that of each concept's name, or of another text where that is not there.

    Raises:
        InputError: some of the concepts have no vector in this space.
    """
    parameters = {"concept_ids": list(set(concept_ids)), "kinds": [kind.value for kind in TextKind]}
    with binary_format.binary_cursor(connection) as cursor:
        found = dict(cursor.execute(_VECTORS.format(rows=space.tables.rows), parameters).fetchall())
    missing = [concept_id for concept_id in dict.fromkeys(concept_ids) if concept_id not in found]
    if missing:
        more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
        raise InputError(
            f"concepts {', '.join(map(str, missing[:_NAMED]))}{more} are not embedded in space {space.name!r}"
        )
    rows = binary_format.decode_half_vectors(
        [found[concept_id] for concept_id in concept_ids], space.fingerprint.dimensions
    )
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
