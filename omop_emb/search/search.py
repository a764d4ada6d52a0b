"""Concept search: the nearest concepts of query vectors in one space, by the method that is planned."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import errors as postgres

from omop_emb.arrays import Vectors
from omop_emb.database import binary_format, damage
from omop_emb.errors import DamageError, DatabaseError, SpaceError, SpaceNotFoundError
from omop_emb.records import ConceptMatch, IndexType
from omop_emb.search import match_rows, matrix, matrix_policy, matrix_search, planner, row_search
from omop_emb.search.matrix import MatrixUnavailableError, VectorMatrix
from omop_emb.search.options import SearchOptions
from omop_emb.search.planner import SearchMethod, SearchPlan
from omop_emb.search.ranking import RankedRows
from omop_emb.spaces import filters, row_counts
from omop_emb.spaces.filters import Condition
from omop_emb.spaces.registry import Space
from omop_emb.spaces.row_counts import RowCount

_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search found, and how.

    Attributes:
        matches: one list per query, same order, nearest first.
        plan: how it was searched.
        space: name of the embedding space that was searched.
        embedding_milliseconds: to embed the query texts; 0 where vectors were given.
    """

    matches: list[list[ConceptMatch]]
    plan: SearchPlan
    space: str
    embedding_milliseconds: float = 0.0


def search(
    connection: psycopg.Connection[Any],
    space: Space,
    queries: Vectors,
    options: SearchOptions,
    *,
    queries_in_all: int = 0,
    explain: bool = False,
) -> SearchResult:
    """The k nearest concepts of each query: one list per query, same order, nearest first; and how.

    Ties are broken by concept_id. A concept has one match: the nearest of its texts.

    Args:
        connection: in whose transaction the search runs.
        space: where it is searched.
        queries: (n, dimensions) float32, rows of unit length.
        options: how it is searched.
        queries_in_all: how many queries the caller has, if these are a part of them: the method is the one
            that is cheapest for all.
        explain: have the server say what it reads for the first query (SearchPlan.scan), which takes the time
            of one more query.
    """
    if options.index_type is IndexType.HNSW and space.index_type is not IndexType.HNSW:
        raise SpaceError(
            f"space {space.name!r} is FLAT and has no HNSW index: search it with FLAT, or run omop-emb index "
            "build --index-type hnsw and activate that space"
        )
    states: set[str | None] = set()
    try:
        for _ in range(_ATTEMPTS):
            try:
                return _search(
                    connection, space, queries, options, max(len(queries), queries_in_all), explain
                )
            except match_rows.RowsChangedError:
                states.add(matrix.committed_state(connection, space))
    except postgres.UndefinedTable as error:
        raise SpaceNotFoundError(
            f"space {space.name!r} was dropped while it was searched: run omop-emb index list"
        ) from error
    if len(states) == 1 and None not in states:
        table = ("table", space.tables.texts.as_string(connection).replace('"', ""))
        raise DamageError("it lacks rows, and nothing was written", table, damage.remedy(*table))
    raise DatabaseError(f"space {space.name!r} was changed each time it was searched: try again in a moment")


def _search(
    connection: psycopg.Connection[Any],
    space: Space,
    queries: Vectors,
    options: SearchOptions,
    queries_in_all: int,
    explain: bool,
) -> SearchResult:
    condition = filters.filter_condition(connection, options.concept_filter)
    count = None
    if planner.needs_count(space, options, condition, queries=queries_in_all):
        count = row_counts.count_passing(connection, space, condition)
    plan = planner.choose_method(space, options, condition, count, queries=queries_in_all)
    rows = None
    try:
        rows = _matrix(connection, space, plan, count)
    except MatrixUnavailableError as error:
        plan = replace(plan, reason=f"{plan.reason}; no matrix: {error}")
    with (
        row_search.search_scope(connection, plan.ef_search),
        binary_format.binary_cursor(connection) as cursor,
    ):
        started = time.perf_counter()
        if rows is not None:
            ranked, plan = _search_matrix(rows, queries, options, condition)
        else:
            ranked, plan = row_search.search_rows(cursor, space, queries, options, condition, plan)
        milliseconds = (time.perf_counter() - started) * 1e3
        plan = replace(plan, queries=len(queries), milliseconds=milliseconds)
        if explain and rows is None and len(queries):
            scanned, scan = row_search.explain_scan(cursor, space, queries[0], options, condition, plan)
            plan = replace(plan, scanned=scanned, scan=scan)
        matches = match_rows.load_matches(connection, space, ranked)
    return SearchResult(matches=matches, plan=plan, space=space.name)


def _matrix(
    connection: psycopg.Connection[Any], space: Space, plan: SearchPlan, count: RowCount | None
) -> VectorMatrix | None:
    """The matrix, if it is cheaper than the plan."""
    # What an index finds does not change from run to run, whether a matrix exists by then or not.
    uses_index = plan.method is not SearchMethod.EXACT
    if count is None or (uses_index and plan.queries < planner.BULK_QUERIES):
        return None
    cost = planner.matrix_cost(plan, count, space.fingerprint.dimensions)
    if cost.saved > cost.build:
        return matrix.open_matrix(connection, space)
    if cost.saved > 0 and not uses_index:
        return matrix_policy.matrix_if_repaid(connection, space, cost)
    return None


def _search_matrix(
    rows: VectorMatrix, queries: Vectors, options: SearchOptions, condition: Condition
) -> tuple[list[RankedRows], SearchPlan]:
    passing = (
        None if condition is filters.ALL_ROWS else filters.passing_rows(condition, rows.keys).nonzero()[0]
    )
    ranked = matrix_search.search_matrix(
        rows, queries, metric_type=options.metric_type, k=options.k, passing=passing
    )
    compared = len(rows) if passing is None else len(passing)
    return ranked, SearchPlan(
        method=SearchMethod.MATRIX,
        reason="comparing the rows of the matrix is cheaper than comparing them in the database",
        queries=len(queries),
        rows=compared,
        scanned=compared,
    )
