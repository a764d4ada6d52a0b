"""The nearest concepts of query vectors in one space: exact, or through the HNSW index.

The server ranks rows by the query rounded to half precision, as it stores vectors. The best of them are
fetched and ranked again here in float64 with the query as it was given, so that the order is that of
exact arithmetic on the stored values. An exact search fetches until no row left behind can matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from omop_emb import binary, filters
from omop_emb.errors import InputError, SpaceError
from omop_emb.records import ConceptFilter, ConceptMatch, IndexType, MetricType
from omop_emb.spaces import Space
from omop_emb.tables import TEXT_COLUMNS

_OPERATORS = {
    MetricType.COSINE: sql.SQL("<=>"),
    MetricType.L2: sql.SQL("<->"),
    MetricType.INNER_PRODUCT: sql.SQL("<#>"),
    MetricType.L1: sql.SQL("<+>"),
}

# Few enough rows pass a filter: exact over them beats the index in time and recall (docs/concepts/scale.md).
_EXACT_ROWS = 20_000
_SLACK = 24  # rows fetched beyond k, so that a second fetch is rare
_FLOAT32_ERROR = 1e-5  # more than the server's float32 sums can be off, at 16,000 dimensions of a unit row
_MAX_EF_SEARCH = 1000  # pgvector's limit

# The sum is what no index can order by: without it the planner may take the HNSW index for an exact search.
_EXACT = sql.SQL(
    "select concept_id, text_kind, text_hash, embedding from {rows} {where} "
    "order by (embedding {operator} cast(%(query)s as halfvec)) + 0 limit %(limit)s"
)
# Without `materialized` the planner may sort past the limit inside; the outer ranking is done here anyway.
_HNSW = sql.SQL(
    "with near as materialized (select concept_id, text_kind, text_hash, embedding from {rows} {where} "
    "order by embedding <=> cast(%(query)s as halfvec) limit %(limit)s) select * from near"
)


@dataclass(frozen=True)
class _Hit:
    """A row that was found, ranked exactly."""

    concept_id: int
    text_kind: str
    text_hash: int
    distance: float
    similarity: float


def nearest_concepts(
    connection: psycopg.Connection,
    space: Space,
    queries: NDArray[np.float32],
    *,
    metric_type: MetricType,
    index_type: IndexType | None = None,
    k: int,
    concept_filter: ConceptFilter | None = None,
) -> list[list[ConceptMatch]]:
    """The k nearest concepts of each query: one list per query, same order, nearest first.

    Args:
        connection: in whose transaction the search runs.
        space: where it is searched.
        queries: (n, dimensions) float32, rows of unit length.
        metric_type: the distance that ranks and is reported.
        index_type: None is the space's own; FLAT is exact; HNSW needs an HNSW space and takes the exact
            way where the index cannot serve (L1, or few rows that pass the filter).
        k: how many concepts; as many come back whenever so many pass the filter.
        concept_filter: which concepts may be returned.

    Ties are broken by concept_id. One row a concept: the one of its texts that is nearest.
    """
    if k < 1:
        raise InputError(f"k must be at least 1; found {k}")
    if index_type is None:
        index_type = space.index_type
    if index_type is IndexType.HNSW and space.index_type is not IndexType.HNSW:
        raise SpaceError(
            f"space {space.name!r} has no HNSW index: search it with FLAT, or run omop-emb index build "
            "--index-type hnsw"
        )
    condition = filters.condition(connection, concept_filter)
    through_index = (
        index_type is IndexType.HNSW
        and metric_type is not MetricType.L1
        and not _few_rows(connection, space, condition)
    )
    found = []
    with binary.binary_cursor(connection) as cursor:
        if through_index:
            _set_for_transaction(cursor, k)
        for query in queries:
            hits = _through_hnsw(cursor, space, query, metric_type, k, condition) if through_index else None
            found.append(
                hits if hits is not None else _exact(cursor, space, query, metric_type, k, condition)
            )
    return _with_texts(connection, space, found)


def _few_rows(connection: psycopg.Connection, space: Space, condition: filters.Condition) -> bool:
    if condition is filters.EVERYTHING:
        return False
    statement = sql.SQL("select count(*) from (select from {} {} limit {}) passing").format(
        space.tables.rows, condition.where, sql.Literal(_EXACT_ROWS + 1)
    )
    row = connection.execute(statement, condition.parameters).fetchone()
    return row is not None and row[0] <= _EXACT_ROWS


def _set_for_transaction(cursor: psycopg.Cursor[Any], k: int) -> None:
    # The index returns ef_search rows at a time and goes on from there where the filter leaves too few.
    settings = {
        "hnsw.ef_search": str(min(max(100, 10 * k), _MAX_EF_SEARCH)),
        "hnsw.iterative_scan": "relaxed_order",
        "plan_cache_mode": "force_custom_plan",
    }
    for name, value in settings.items():
        cursor.execute("select set_config(%s, %s, true)", (name, value))


def _exact(
    cursor: psycopg.Cursor[Any],
    space: Space,
    query: NDArray[np.float32],
    metric_type: MetricType,
    k: int,
    condition: filters.Condition,
) -> list[_Hit]:
    statement = _EXACT.format(rows=space.tables.rows, where=condition.where, operator=_OPERATORS[metric_type])
    margin = _margin(query, metric_type)
    limit = k + _SLACK
    while True:
        rows = _fetch(cursor, statement, query, condition, limit)
        distances, similarities = _measure(rows, query, metric_type, space.fingerprint.dimensions)
        hits = _best_per_concept(rows, distances, similarities)
        if len(rows) < limit:
            return hits[:k]
        # The last row fetched bounds all that were left behind; ties are fetched to their end.
        if len(hits) >= k and hits[k - 1].distance < distances[-1] - margin:
            return hits[:k]
        limit *= 4


def _through_hnsw(
    cursor: psycopg.Cursor[Any],
    space: Space,
    query: NDArray[np.float32],
    metric_type: MetricType,
    k: int,
    condition: filters.Condition,
) -> list[_Hit] | None:
    statement = _HNSW.format(rows=space.tables.rows, where=condition.where)
    margin = _margin(query, metric_type)
    limit = k + _SLACK
    while True:
        rows = _fetch(cursor, statement, query, condition, limit)
        distances, similarities = _measure(rows, query, metric_type, space.fingerprint.dimensions)
        hits = _best_per_concept(rows, distances, similarities)
        if len(hits) >= k and (len(rows) < limit or hits[k - 1].distance < distances.max() - margin):
            return hits[:k]
        if len(rows) < limit:
            return None  # the scan gave up before k concepts: only the exact way can tell whether more exist
        limit *= 4


def _margin(query: NDArray[np.float32], metric_type: MetricType) -> float:
    # A row's distances to the query and to the rounded query differ by at most the rounding's norm.
    rounding = query.astype(np.float16).astype(np.float64) - query
    norm = np.abs(rounding).sum() if metric_type is MetricType.L1 else np.linalg.norm(rounding)
    return 2 * (float(norm) * 1.001 + _FLOAT32_ERROR)


def _fetch(
    cursor: psycopg.Cursor[Any],
    statement: sql.Composed,
    query: NDArray[np.float32],
    condition: filters.Condition,
    limit: int,
) -> list[tuple[int, str, int, bytes]]:
    parameters = {**condition.parameters, "query": binary.half_vector(query), "limit": limit}
    return cursor.execute(statement, parameters).fetchall()


def _measure(
    rows: Sequence[tuple[int, str, int, bytes]],
    query: NDArray[np.float32],
    metric_type: MetricType,
    dimensions: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    stored = binary.half_vectors_to_float64([row[3] for row in rows], dimensions)
    wanted = query.astype(np.float64)
    products = stored @ wanted
    similarities = np.clip(products / (np.linalg.norm(stored, axis=1) * np.linalg.norm(wanted)), -1.0, 1.0)
    match metric_type:
        case MetricType.COSINE:
            distances = 1.0 - similarities
        case MetricType.INNER_PRODUCT:
            distances = -products
        case MetricType.L2:
            distances = np.linalg.norm(stored - wanted, axis=1)
        case MetricType.L1:
            distances = np.abs(stored - wanted).sum(axis=1)
    return distances, similarities


def _best_per_concept(
    rows: Sequence[tuple[int, str, int, bytes]],
    distances: NDArray[np.float64],
    similarities: NDArray[np.float64],
) -> list[_Hit]:
    hits = sorted(
        (
            _Hit(concept_id, kind, text_hash, float(distance), float(similarity))
            for (concept_id, kind, text_hash, _), distance, similarity in zip(
                rows, distances, similarities, strict=True
            )
        ),
        key=lambda hit: (hit.distance, hit.concept_id, _KIND_ORDER[hit.text_kind], hit.text_hash),
    )
    best: dict[int, _Hit] = {}
    for hit in hits:
        best.setdefault(hit.concept_id, hit)
    return list(best.values())


_KIND_ORDER = {"n": 0, "s": 1, "c": 2, "a": 3}

_TEXTS = sql.SQL(
    "select {columns} from {texts} t join unnest(cast(%(concept_ids)s as integer[]), "
    'cast(%(kinds)s as "char"[]), cast(%(hashes)s as bigint[])) as k (concept_id, text_kind, text_hash) '
    "using (concept_id, text_kind, text_hash)"
)


def _with_texts(
    connection: psycopg.Connection, space: Space, found: list[list[_Hit]]
) -> list[list[ConceptMatch]]:
    keys = sorted({(hit.concept_id, hit.text_kind, hit.text_hash) for hits in found for hit in hits})
    statement = _TEXTS.format(
        columns=sql.SQL(", ").join(map(sql.Identifier, TEXT_COLUMNS)), texts=space.tables.texts
    )
    parameters = {
        "concept_ids": [key[0] for key in keys],
        "kinds": [key[1] for key in keys],
        "hashes": [key[2] for key in keys],
    }
    shown = {row[:3]: row[3:] for row in connection.execute(statement, parameters)}
    matches = []
    for hits in found:
        matches.append([_match(hit, shown[hit.concept_id, hit.text_kind, hit.text_hash]) for hit in hits])
    return matches


def _match(hit: _Hit, shown: tuple[Any, ...]) -> ConceptMatch:
    text, concept_name, domain_id, vocabulary_id, concept_class_id, standard_concept, concept_code, _ = shown
    return ConceptMatch(
        concept_id=hit.concept_id,
        concept_name=concept_name,
        domain_id=domain_id,
        vocabulary_id=vocabulary_id,
        concept_class_id=concept_class_id,
        standard_concept=standard_concept,
        concept_code=concept_code,
        matched_text=text,
        distance=hit.distance,
        similarity=hit.similarity,
    )
