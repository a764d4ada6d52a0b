"""The nearest concepts of query vectors in one space, by the way that the planner chooses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import errors as postgres

from omop_emb.database import binary_format
from omop_emb.errors import DatabaseError, InputError, SpaceError, SpaceNotFoundError
from omop_emb.records import ConceptFilter, ConceptMatch, IndexType, MetricType
from omop_emb.search import match_rows, matrix, matrix_policy, matrix_search, planner, ranking, row_search
from omop_emb.search.planner import Request, SearchPlan, SearchMethod
from omop_emb.search.ranking import RankedRows
from omop_emb.spaces import filters, row_counts
from omop_emb.spaces.filters import Condition
from omop_emb.spaces.registry import Space
from omop_emb.spaces.row_counts import RowCount

__all__ = ["ConceptMatch", "SearchResult", "nearest_concepts", "search"]

_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search found, and how.

    Attributes:
        matches: one list per query, same order, nearest first.
        plans: how it was searched, one for each different filter.
        space: name of the embedding space that was searched.
        embedding_milliseconds: to embed the query texts; 0 where vectors were given.
    """

    matches: list[list[ConceptMatch]]
    plans: list[SearchPlan]
    space: str
    embedding_milliseconds: float = 0.0


@dataclass(frozen=True)
class _Group:
    """Queries that have one filter."""

    positions: list[int]
    condition: Condition
    count: RowCount | None
    plan: SearchPlan


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
    queries_in_all: int = 0,
    explain: bool = False,
) -> SearchResult:
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
        queries_in_all: how many queries the caller has, if these are a part of them: each part is searched
            in the way that is cheapest for all.
        explain: let the server tell what it read for the first query of each filter (SearchPlan.scan), which
            takes the time of one more query.

    Ties are broken by concept_id. One row a concept: the one of its texts that is nearest.
    """
    _check(metric_type, index_type, k, recall)
    if index_type is IndexType.HNSW and space.index_type is not IndexType.HNSW:
        raise SpaceError(
            f"space {space.name!r} has no HNSW index: search it with FLAT, or run omop-emb index build "
            "--index-type hnsw"
        )
    request = Request(
        queries=max(len(queries), queries_in_all),
        k=int(k),
        metric_type=metric_type,
        index_type=index_type or space.index_type,
        recall=recall,
        exact=exact or recall == 1,
    )
    try:
        for _ in range(_ATTEMPTS):
            try:
                return _search(connection, space, queries, request, concept_filters, explain)
            except match_rows.RowsChangedError:
                continue
    except postgres.UndefinedTable as error:
        raise SpaceNotFoundError(
            f"space {space.name!r} was dropped while it was searched: run omop-emb index list"
        ) from error
    raise DatabaseError(f"space {space.name!r} was changed each time it was searched: try again in a moment")


def check_k(k: object) -> None:
    """Refuse a number of concepts that is none: InputError."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"k must be at least 1; found {k!r}")


def _check(metric_type: object, index_type: object, k: object, recall: float | None) -> None:
    if not isinstance(metric_type, MetricType):
        raise InputError(f"metric_type must be a MetricType; found {metric_type!r}")
    if index_type is not None and not isinstance(index_type, IndexType):
        raise InputError(f"index_type must be an IndexType or None; found {index_type!r}")
    check_k(k)
    if recall is not None and not 0 < recall <= 1:
        raise InputError(f"recall must be above 0 and at most 1; found {recall!r}")


def _search(
    connection: psycopg.Connection[Any],
    space: Space,
    queries: NDArray[np.float32],
    request: Request,
    concept_filters: Sequence[ConceptFilter | None],
    explain: bool,
) -> SearchResult:
    groups = _groups(connection, space, request, concept_filters)
    rows = _matrix(connection, space, request, groups)
    hits: list[RankedRows] = [ranking.NO_ROWS] * len(queries)
    plans = []
    ef_search = next((group.plan.ef_search for group in groups), None)
    with row_search.search_scope(connection, ef_search), binary_format.binary_cursor(connection) as cursor:
        for group in groups:
            started = time.perf_counter()
            wanted = queries[group.positions]
            if isinstance(rows, matrix.VectorMatrix):
                found, plan = _by_matrix(rows, wanted, request, group)
            else:
                if group.plan.ef_search not in (None, ef_search):
                    ef_search = group.plan.ef_search
                    row_search.set_ef_search(connection, ef_search)
                found, plan = _by_statements(cursor, space, wanted, request, group)
                if rows is not None:
                    plan = replace(plan, reason=f"{plan.reason}; no matrix: {rows}")
            plan = replace(plan, queries=len(wanted), milliseconds=(time.perf_counter() - started) * 1e3)
            if explain and plan.method is not SearchMethod.MATRIX:
                scanned, scan = row_search.explain_scan(cursor, space, wanted[0], request, group.condition, plan)
                plan = replace(plan, scanned=scanned, scan=scan)
            plans.append(plan)
            for position, hit in zip(group.positions, found, strict=True):
                hits[position] = hit
        matches = match_rows.load_matches(connection, space, hits)
    return SearchResult(matches=matches, plans=plans, space=space.name)


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
    share = request.queries / len(concept_filters) if concept_filters else 1.0
    for concept_filter, places in positions.items():
        condition = filters.filter_condition(connection, concept_filter)
        here = replace(
            request,
            queries=round(len(places) * share),
            filtered=condition is not filters.ALL_ROWS,
            domains=tuple(condition.parameters.get("domain", ())),
        )
        count = (
            row_counts.count_passing(connection, space, condition)
            if planner.needs_count(space, here)
            else None
        )
        groups.append(_Group(places, condition, count, planner.choose(space, here, count)))
    return groups


def _matrix(
    connection: psycopg.Connection[Any], space: Space, request: Request, groups: list[_Group]
) -> matrix.VectorMatrix | str | None:
    """The matrix, if it is the cheaper way; why it cannot be had; None where it is not wanted."""
    # What an index finds is the same from run to run, whether a matrix is there by then or not.
    through_index = any(group.plan.method is not SearchMethod.EXACT for group in groups)
    counted = [group.count for group in groups if group.count is not None]
    if len(counted) < len(groups) or (through_index and request.queries < planner.BULK_QUERIES):
        return None
    price = planner.matrix_cost([group.plan for group in groups], counted, space.fingerprint.dimensions)
    try:
        if price.saved > price.making:
            return matrix.open_matrix(connection, space)
        if price.saved > 0 and not through_index:
            return matrix_policy.matrix_if_repaid(connection, space, price)
    except matrix.MatrixUnavailableError as error:
        return str(error)
    return None


def _by_matrix(
    rows: matrix.VectorMatrix, queries: NDArray[np.float32], request: Request, group: _Group
) -> tuple[list[RankedRows], SearchPlan]:
    passing = None
    if group.condition is not filters.ALL_ROWS:
        passing = np.flatnonzero(filters.passing_rows(group.condition, rows.keys))
    hits = matrix_search.search_matrix(rows, queries, metric_type=request.metric_type, k=request.k, passing=passing)
    compared = len(rows) if passing is None else len(passing)
    return hits, SearchPlan(
        method=SearchMethod.MATRIX,
        reason="the space's vectors lie here in a matrix: cheaper than to compare them in the database",
        queries=len(queries),
        rows=compared,
        scanned=compared,
    )


def _by_statements(
    cursor: psycopg.Cursor[Any],
    space: Space,
    queries: NDArray[np.float32],
    request: Request,
    group: _Group,
) -> tuple[list[RankedRows], SearchPlan]:
    plan = group.plan
    hits, fetched, fell_back = [], 0, 0
    for query in queries:
        of_query = None
        if plan.ef_search is not None:
            of_query, compared = row_search.search_index(
                cursor, space, query, request, group.condition, plan
            )
            fetched += compared
            fell_back += of_query is None
        if of_query is None:
            of_query, compared = row_search.search_exactly(cursor, space, query, request, group.condition)
            fetched += compared
        hits.append(of_query)
    return hits, replace(plan, fetched=fetched, fell_back=fell_back)
