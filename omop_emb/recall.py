"""What an HNSW index finds of the true nearest, measured on the space itself when the index is built."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from omop_emb import binary, statements
from omop_emb.filters import EVERYTHING
from omop_emb.records import IndexType, MetricType
from omop_emb.spaces import Space

_EF_SEARCH = (40, 64, 100, 160, 250, 400, 640, 1000)
_KS = (10, 100)
_QUERIES = 60
_FEWEST_ROWS = 1000  # below, every way is fast and the exact one is taken
_ENOUGH = 0.998  # larger ef_search need not be tried


def calibrate_recall(connection: psycopg.Connection[Any], space: Space, *, anew: bool = True) -> None:
    """Measure recall at 10 and 100 for rising ef_search and record it in the space; nothing is committed.

    Queries are made of stored vectors: half of them lie between two rows that are near each other, half
    between two of any rows, which is harder than what users ask. The lower of the two recalls counts.

    Args:
        connection: in whose transaction it happens.
        space: what is measured; nothing is done for a FLAT one.
        anew: measure although there is a record already.
    """
    if space.index_type is not IndexType.HNSW or (space.recall and not anew):
        return
    measured = measured_recall(connection, space)
    connection.execute(
        "update omop_emb.space set recall = %s where space_id = %s", (json.dumps(measured), space.space_id)
    )


def measured_recall(connection: psycopg.Connection[Any], space: Space) -> list[tuple[int, int, float]]:
    """The recall of a space's HNSW index as (k, ef_search, recall), measured now; nothing is written.

    Empty where there are too few rows for an index to be used.
    """
    queries = _queries(connection, space)
    if queries is None:
        return []
    with connection.transaction(), binary.binary_cursor(connection) as cursor:
        return _measured(cursor, space, queries)


def _queries(connection: psycopg.Connection[Any], space: Space) -> NDArray[np.float32] | None:
    row = connection.execute(sql.SQL("select count(*) from {}").format(space.tables.rows)).fetchone()
    if row is None or row[0] < _FEWEST_ROWS:
        return None
    with binary.binary_cursor(connection) as cursor:
        sample = cursor.execute(
            sql.SQL("select embedding from {} order by hashint8(text_hash), text_hash limit %s").format(
                space.tables.rows
            ),
            (2 * _QUERIES,),
        ).fetchall()
    rows = binary.half_vectors_to_float64([value for (value,) in sample], space.fingerprint.dimensions)
    half = _QUERIES // 2
    alike = rows[:_QUERIES] @ rows[_QUERIES:].T
    near = rows[:half] + rows[_QUERIES:][np.argmax(alike[:half], axis=1)]
    far = rows[half:_QUERIES] + rows[_QUERIES + half :]
    queries = np.concatenate([near, far])
    return np.asarray(queries / np.linalg.norm(queries, axis=1, keepdims=True), np.float32)


def _measured(
    cursor: psycopg.Cursor[Any], space: Space, queries: NDArray[np.float32]
) -> list[tuple[int, int, float]]:
    exact = statements.exact(space, MetricType.COSINE, EVERYTHING)
    indexed = statements.through_index(space, EVERYTHING, partial_domain=None)
    vectors = [binary.half_vector(query) for query in queries]
    truth = [_keys(cursor, exact, {"query": vector, "limit": max(_KS)}) for vector in vectors]
    measured = []
    for name, value in (("hnsw.iterative_scan", "relaxed_order"), ("plan_cache_mode", "force_custom_plan")):
        cursor.execute("select set_config(%s, %s, true)", (name, value))
    for k in _KS:
        for ef_search in _EF_SEARCH:
            if ef_search < k:
                continue
            cursor.execute("select set_config('hnsw.ef_search', %s, true)", (str(ef_search),))
            shares = []
            for vector, right in zip(vectors, truth, strict=True):
                parameters = {"query": vector, "limit": k + 24, "candidates": max(k + 24, ef_search)}
                found = set(_keys(cursor, indexed, parameters))
                shares.append(len(found & set(right[:k])) / k)
            half = len(shares) // 2
            recall = min(float(np.mean(shares[:half])), float(np.mean(shares[half:])))
            measured.append((k, ef_search, round(recall, 4)))
            if recall >= _ENOUGH:
                break
    return measured


def _keys(cursor: psycopg.Cursor[Any], statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [row[:3] for row in cursor.execute(statement, parameters).fetchall()]
