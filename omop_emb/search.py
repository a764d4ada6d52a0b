"""The nearest concepts of query vectors in one space, by the way that the planner chooses.

The server ranks rows by the query rounded to half precision, as it stores vectors. The best of them are
fetched and ranked again in float64 with the query as it was given, so that the order is that of exact
arithmetic on the stored values. An exact search fetches until no row left behind can matter.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import errors as postgres
from psycopg import sql
from psycopg.pq import TransactionStatus

from omop_emb import binary, counts, filters, matrix, matrix_search, planner, ranking, statements
from omop_emb.counts import Count
from omop_emb.errors import DatabaseError, InputError, SpaceError, SpaceNotFoundError
from omop_emb.filters import Condition
from omop_emb.planner import Request, SearchPlan, Way
from omop_emb.ranking import Hits, Rows
from omop_emb.records import ConceptFilter, ConceptMatch, IndexType, MetricType
from omop_emb.spaces import Space

__all__ = ["ConceptMatch", "Found", "nearest_concepts", "search"]

_SLACK = 24  # rows fetched beyond k, so that a second fetch is rare
_FLOAT32_ERROR = 1e-5  # more than the server's float32 sums can be off, at 16,000 dimensions of a unit row
_ATTEMPTS = 3
_TEXTS_AT_ONCE = 20_000

_TEXTS = sql.SQL(
    "select concept_id, text_kind, text_hash, text, concept_name, domain_id, vocabulary_id, "
    "concept_class_id, standard_concept, concept_code "
    "from {texts} join unnest(cast(%(concept_ids)s as integer[]), "
    'cast(%(kinds)s as "char"[]), cast(%(hashes)s as bigint[])) as k (concept_id, text_kind, text_hash) '
    "using (concept_id, text_kind, text_hash)"
)


@dataclass(frozen=True)
class Found:
    """What a search found, and how.

    Attributes:
        matches: one list per query, same order, nearest first.
        plans: how it was searched, one for each different filter.
    """

    matches: list[list[ConceptMatch]]
    plans: list[SearchPlan]


@dataclass(frozen=True)
class _Group:
    """Queries that have one filter."""

    positions: list[int]
    condition: Condition
    count: Count | None
    plan: SearchPlan


class _ChangedError(Exception):
    """Rows that were found have gone since: another transaction committed between two statements."""


def nearest_concepts(
    connection: psycopg.Connection[Any],
    space: Space,
    queries: NDArray[np.float32],
    *,
    metric_type: MetricType,
    index_type: IndexType | None,
    k: int,
    concept_filter: ConceptFilter | None = None,
    recall: float | None = None,
    exact: bool = False,
) -> list[list[ConceptMatch]]:
    """The matches of search() for one filter."""
    return search(
        connection,
        space,
        queries,
        metric_type=metric_type,
        index_type=index_type,
        k=k,
        concept_filters=[concept_filter] * len(queries),
        recall=recall,
        exact=exact,
    ).matches


def search(
    connection: psycopg.Connection[Any],
    space: Space,
    queries: NDArray[np.float32],
    *,
    metric_type: MetricType,
    index_type: IndexType | None,
    k: int,
    concept_filters: Sequence[ConceptFilter | None],
    recall: float | None = None,
    exact: bool = False,
) -> Found:
    """The k nearest concepts of each query: one list per query, same order, nearest first; and how.

    Args:
        connection: in whose transaction the search runs.
        space: where it is searched.
        queries: (n, dimensions) float32, rows of unit length.
        metric_type: the distance that ranks and is reported.
        index_type: FLAT is exact; HNSW needs an HNSW space and takes the exact way where the index
            cannot serve (L1, or few rows that pass the filter). None is the space's own.
        k: how many concepts; as many come back whenever so many pass the filter.
        concept_filters: which concepts may be returned, one for each query.
        recall: the share of the true nearest that must be found on average, 0 to 1; decides how far the index
            is walked. None is 0.99 where the space was measured.
        exact: find exactly the nearest, whatever it takes.

    Ties are broken by concept_id. One row a concept: the one of its texts that is nearest.
    """
    if k < 1:
        raise InputError(f"k must be at least 1; found {k}")
    if recall is not None and not 0 < recall <= 1:
        raise InputError(f"recall must be above 0 and at most 1; found {recall}")
    if index_type is IndexType.HNSW and space.index_type is not IndexType.HNSW:
        raise SpaceError(
            f"space {space.name!r} has no HNSW index: search it with FLAT, or run omop-emb index build "
            "--index-type hnsw"
        )
    request = Request(
        queries=len(queries),
        k=k,
        metric_type=metric_type,
        index_type=index_type or space.index_type,
        recall=recall,
        exact=exact or recall == 1,
    )
    try:
        for _ in range(_ATTEMPTS):
            with _own_settings(connection):
                try:
                    return _search(connection, space, queries, request, concept_filters)
                except _ChangedError:
                    continue
    except postgres.UndefinedTable as error:
        raise SpaceNotFoundError(
            f"space {space.name!r} was dropped while it was searched: run omop-emb index list"
        ) from error
    raise DatabaseError(f"space {space.name!r} was changed each time it was searched: try again in a moment")


@contextmanager
def _own_settings(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """A block after which settings are as before; nothing that is written in it is kept."""
    if not connection.autocommit and connection.info.transaction_status is TransactionStatus.IDLE:
        # What follows would otherwise be the outermost transaction, and end the caller's.
        connection.execute("select 1")
    with connection.transaction(force_rollback=True):
        yield


def _search(
    connection: psycopg.Connection[Any],
    space: Space,
    queries: NDArray[np.float32],
    request: Request,
    concept_filters: Sequence[ConceptFilter | None],
) -> Found:
    groups = _groups(connection, space, request, concept_filters)
    rows = _matrix(connection, space, request, groups)
    hits: list[Hits] = [ranking.NOTHING] * len(queries)
    plans = []
    with binary.binary_cursor(connection) as cursor:
        for group in groups:
            started = time.perf_counter()
            wanted = queries[group.positions]
            if isinstance(rows, matrix.Matrix):
                found, plan = _by_matrix(rows, wanted, request, group)
            else:
                found, plan = _by_statements(cursor, space, wanted, request, group)
                if rows is not None:
                    plan = replace(plan, reason=f"{plan.reason}; no matrix: {rows}")
            plans.append(replace(plan, milliseconds=(time.perf_counter() - started) * 1e3))
            for position, hit in zip(group.positions, found, strict=True):
                hits[position] = hit
    return Found(_with_texts(connection, space, hits), plans)


def _groups(
    connection: psycopg.Connection[Any],
    space: Space,
    request: Request,
    concept_filters: Sequence[ConceptFilter | None],
) -> list[_Group]:
    positions: dict[ConceptFilter | None, list[int]] = {}
    for position, concept_filter in enumerate(concept_filters):
        positions.setdefault(concept_filter, []).append(position)
    groups = []
    for concept_filter, places in positions.items():
        condition = filters.condition(connection, concept_filter)
        here = replace(
            request,
            queries=len(places),
            filtered=condition is not filters.EVERYTHING,
            domains=tuple(condition.parameters.get("domain", ())),
        )
        count = None
        if request.queries >= planner.BULK_QUERIES or planner.needs_count(space, here):
            count = counts.passing(connection, space, condition)
        groups.append(_Group(places, condition, count, planner.choose(space, here, count)))
    return groups


def _matrix(
    connection: psycopg.Connection[Any], space: Space, request: Request, groups: list[_Group]
) -> matrix.Matrix | str | None:
    """The matrix, if it is the cheaper way; why it cannot be had; None where it is not wanted."""
    if request.queries < planner.BULK_QUERIES or request.metric_type is MetricType.L1:
        return None
    worth = planner.by_matrix(
        [group.plan for group in groups],
        [group.count for group in groups if group.count is not None],
        space.fingerprint.dimensions,
        is_at_hand=matrix.is_at_hand(connection, space),
    )
    if not worth:
        return None
    try:
        return matrix.of_space(connection, space)
    except matrix.MatrixUnavailableError as error:
        return str(error)


def _by_matrix(
    rows: matrix.Matrix, queries: NDArray[np.float32], request: Request, group: _Group
) -> tuple[list[Hits], SearchPlan]:
    passing = None
    if group.condition is not filters.EVERYTHING:
        passing = np.flatnonzero(filters.passing(group.condition, rows.keys))
    hits = matrix_search.nearest(rows, queries, metric_type=request.metric_type, k=request.k, passing=passing)
    return hits, SearchPlan(
        way=Way.MATRIX,
        reason=f"{request.queries:,} queries are cheaper by matrix than one by one",
        queries=len(queries),
        rows=len(rows) if passing is None else len(passing),
    )


def _by_statements(
    cursor: psycopg.Cursor[Any],
    space: Space,
    queries: NDArray[np.float32],
    request: Request,
    group: _Group,
) -> tuple[list[Hits], SearchPlan]:
    plan = group.plan
    if plan.ef_search is not None:
        _set_for_transaction(cursor, plan.ef_search)
    hits, fetched, fell_back = [], 0, 0
    for query in queries:
        found = None
        if plan.ef_search is not None:
            found, compared = _through_index(cursor, space, query, request, group.condition, plan)
            fetched += compared
            fell_back += found is None
        if found is None:
            found, compared = _exact(cursor, space, query, request, group.condition)
            fetched += compared
        hits.append(found)
    return hits, replace(plan, fetched=fetched, fell_back=fell_back)


def _set_for_transaction(cursor: psycopg.Cursor[Any], ef_search: int) -> None:
    # The index gives ef_search rows at a time and goes on from there where the filter leaves too few. A plan
    # that was cached under other settings must not be used.
    cursor.execute(
        "select set_config('hnsw.ef_search', %s, true), "
        "set_config('hnsw.iterative_scan', 'relaxed_order', true), "
        "set_config('plan_cache_mode', 'force_custom_plan', true)",
        (str(ef_search),),
    )


def _exact(
    cursor: psycopg.Cursor[Any],
    space: Space,
    query: NDArray[np.float32],
    request: Request,
    condition: Condition,
) -> tuple[Hits, int]:
    statement = statements.exact(space, request.metric_type, condition)
    parameters = {**condition.parameters, "query": binary.half_vector(query)}
    margin = _margin(query, request.metric_type)
    limit = request.k + _SLACK
    while True:
        fetched = cursor.execute(statement, {**parameters, "limit": limit}).fetchall()
        hits, farthest = _ranked(fetched, query, request.metric_type, space.fingerprint.dimensions)
        if len(fetched) < limit:
            break
        # What was left behind is no nearer than the farthest that was fetched, but for rounding.
        if len(hits) >= request.k and hits.distances[request.k - 1] < farthest - margin:
            break
        limit *= 4
    return ranking.first(hits, request.k), len(fetched)


def _through_index(
    cursor: psycopg.Cursor[Any],
    space: Space,
    query: NDArray[np.float32],
    request: Request,
    condition: Condition,
    plan: SearchPlan,
) -> tuple[Hits | None, int]:
    domain = condition.parameters["domain"][0] if plan.way is Way.PARTIAL_INDEX else None
    statement = statements.through_index(space, condition, partial_domain=domain)
    parameters = {**condition.parameters, "query": binary.half_vector(query)}
    margin = _margin(query, request.metric_type)
    limit = request.k + _SLACK
    while True:
        parameters |= {"limit": limit}
        if space.first_pass:
            parameters |= {"candidates": max(limit, plan.ef_search or 0)}
        fetched = cursor.execute(statement, parameters).fetchall()
        hits, farthest = _ranked(fetched, query, request.metric_type, space.fingerprint.dimensions)
        if len(hits) >= request.k and (
            len(fetched) < limit or hits.distances[request.k - 1] < farthest - margin
        ):
            return ranking.first(hits, request.k), len(fetched)
        if len(fetched) < limit:
            return None, len(fetched)  # the scan gave up before k: only the exact way can tell if more exist
        limit *= 4


def _margin(query: NDArray[np.float32], metric_type: MetricType) -> float:
    # A row's distances to the query and to the rounded query differ by at most the rounding's norm.
    rounding = query.astype(np.float16).astype(np.float64) - query
    norm = np.abs(rounding).sum() if metric_type is MetricType.L1 else np.linalg.norm(rounding)
    return 2 * (float(norm) * 1.001 + _FLOAT32_ERROR)


def _ranked(
    fetched: list[tuple[int, str, int, bytes]],
    query: NDArray[np.float32],
    metric_type: MetricType,
    dimensions: int,
) -> tuple[Hits, float]:
    """The rows that were fetched, ranked; and the distance of the farthest of them."""
    if not fetched:
        return ranking.NOTHING, 0.0
    rows = Rows(
        queries=np.zeros(len(fetched), np.intp),
        concept_ids=np.array([row[0] for row in fetched], np.int32),
        text_kinds=np.array([row[1] for row in fetched], "S1"),
        text_hashes=np.array([row[2] for row in fetched], np.int64),
        vectors=binary.half_vectors_to_float64([row[3] for row in fetched], dimensions),
    )
    return ranking.rank(rows, query[None], metric_type)[0], ranking.farthest(rows, query, metric_type)


def _with_texts(
    connection: psycopg.Connection[Any], space: Space, found: list[Hits]
) -> list[list[ConceptMatch]]:
    keyed = [
        list(zip(hits.concept_ids.tolist(), hits.text_kinds.tolist(), hits.text_hashes.tolist(), strict=True))
        for hits in found
    ]
    keys = sorted({key for of_query in keyed for key in of_query})
    statement = _TEXTS.format(texts=space.tables.texts)
    shown: dict[tuple[int, bytes, int], tuple[Any, ...]] = {}
    for start in range(0, len(keys), _TEXTS_AT_ONCE):
        part = keys[start : start + _TEXTS_AT_ONCE]
        parameters = {
            "concept_ids": [key[0] for key in part],
            "kinds": [key[1].decode() for key in part],
            "hashes": [key[2] for key in part],
        }
        for row in connection.execute(statement, parameters):
            shown[row[0], row[1].encode(), row[2]] = row[3:]
    if len(shown) < len(keys):
        raise _ChangedError
    return [
        [
            _match(key[0], shown[key], distance, similarity)
            for key, distance, similarity in zip(
                of_query, hits.distances.tolist(), hits.similarities.tolist(), strict=True
            )
        ]
        for of_query, hits in zip(keyed, found, strict=True)
    ]


def _match(concept_id: int, shown: tuple[Any, ...], distance: float, similarity: float) -> ConceptMatch:
    text, concept_name, domain_id, vocabulary_id, concept_class_id, standard_concept, concept_code = shown
    return ConceptMatch(
        concept_id=concept_id,
        concept_name=concept_name,
        domain_id=domain_id,
        vocabulary_id=vocabulary_id,
        concept_class_id=concept_class_id,
        standard_concept=standard_concept,
        concept_code=concept_code,
        matched_text=text,
        distance=distance,
        similarity=similarity,
    )
