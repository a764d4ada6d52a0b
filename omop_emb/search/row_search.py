"""Row search: the nearest rows of queries, fetched by SQL and ranked again in exact arithmetic.

The server ranks rows by the query rounded to half precision, as it stores vectors. The best of them are
fetched and ranked again in float64 with the query as given. An exact search fetches until no row that was
left behind can matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from omop_emb.arrays import Floats, Vectors
from omop_emb.database import binary_format
from omop_emb.records import MetricType
from omop_emb.search import ranking, statements
from omop_emb.search.options import SearchOptions
from omop_emb.search.planner import SearchMethod, SearchPlan
from omop_emb.search.ranking import RankedRows
from omop_emb.spaces.filters import Condition
from omop_emb.spaces.registry import Space

# A plan that was cached under other settings must not be used, and no search repays compiling it. An index
# gives ef_search rows at a time and continues where the filter leaves too few.
_SETTINGS = (
    "set local plan_cache_mode = force_custom_plan; set local jit = off; "
    "set local hnsw.iterative_scan = relaxed_order"
)
_BEGIN = "savepoint omop_emb_search"
_END = "rollback to omop_emb_search; release omop_emb_search"
_FLOAT32_ERROR = 1e-5  # more than the server's float32 sums can be off, at 16,000 dimensions of a unit row


@contextmanager
def search_scope(connection: psycopg.Connection[Any], ef_search: int | None = None) -> Iterator[None]:
    """A block whose searches leave no settings, locks or failed transaction behind.

    Index searches in it look at ef_search candidates. It is a savepoint within the caller's transaction, or
    a transaction of its own that is rolled back.
    """
    settings = [_SETTINGS] if ef_search is None else [_SETTINGS, _set_ef_search(ef_search)]
    if connection.autocommit and connection.info.transaction_status is TransactionStatus.IDLE:
        with connection.transaction(force_rollback=True):
            connection.execute("; ".join(settings), prepare=False)
            yield
        return
    # Several statements in one message: connection.transaction() takes twice as long for the same.
    connection.execute("; ".join([_BEGIN, *settings]), prepare=False)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute(_END, prepare=False)


@lru_cache(maxsize=64)
def _set_ef_search(ef_search: int) -> str:
    return sql.SQL("set local hnsw.ef_search = {}").format(sql.Literal(ef_search)).as_string(None)


def search_rows(
    cursor: psycopg.Cursor[Any],
    space: Space,
    queries: Vectors,
    options: SearchOptions,
    condition: Condition,
    plan: SearchPlan,
) -> tuple[list[RankedRows], SearchPlan]:
    """The k nearest rows of each query by the plan's method, and the plan with what that took.

    A query whose index scan gives fewer than k concepts is searched exactly, to know whether more exist.
    """
    ranked, fetched, fell_back = [], 0, 0
    exact_plan = replace(plan, method=SearchMethod.EXACT)
    for query in queries:
        of_query, compared = _nearest_rows(cursor, space, query, options, condition, plan)
        fetched += compared
        if len(of_query) < options.k and plan.method is not SearchMethod.EXACT:
            of_query, compared = _nearest_rows(cursor, space, query, options, condition, exact_plan)
            fetched += compared
            fell_back += 1
        ranked.append(of_query)
    return ranked, replace(plan, fetched=fetched, fell_back=fell_back)


def _nearest_rows(
    cursor: psycopg.Cursor[Any],
    space: Space,
    query: Floats,
    options: SearchOptions,
    condition: Condition,
    plan: SearchPlan,
) -> tuple[RankedRows, int]:
    """The k nearest rows, or fewer where the statement gives no more; and how many rows it gave."""
    margin = _margin(query, options.metric_type)
    limit = options.k + statements.SLACK
    while True:
        statement, parameters = _statement(space, query, options, condition, plan, limit)
        fetched = cursor.execute(statement, parameters).fetchall()
        ranked, farthest = _ranked(fetched, query, options.metric_type, space.fingerprint.dimensions)
        # What was left behind is no nearer than the farthest that was fetched, but for rounding.
        is_enough = len(ranked) >= options.k and ranked.distances[options.k - 1] < farthest - margin
        if is_enough or len(fetched) < limit:
            return ranked.nearest(options.k), len(fetched)
        limit *= 4


def explain_scan(
    cursor: psycopg.Cursor[Any],
    space: Space,
    query: Floats,
    options: SearchOptions,
    condition: Condition,
    plan: SearchPlan,
) -> tuple[int, str]:
    """How many rows the server reads for one query, and by which scans, from its EXPLAIN ANALYZE."""
    limit = options.k + statements.SLACK
    statement, parameters = _statement(space, query, options, condition, plan, limit)
    explain = f"explain (analyze, timing off, format json) {statement}"
    row = cursor.execute(explain, parameters).fetchone()
    assert row is not None  # noqa: S101 - explain gives a row
    # An exact search fetches the rows that it has found once more, in another part of the plan.
    [nearest] = [node for node in row[0][0]["Plan"]["Plans"] if node.get("Subplan Name") == "CTE nearest"]
    scans = list(_scans(nearest))
    return sum(rows for rows, _ in scans), ", ".join(dict.fromkeys(name for _, name in scans))


def _scans(node: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """The rows that each scan of a plan read, before its filter, and its name."""
    if "Relation Name" in node:
        counts = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        rows = sum(node.get(count, 0) for count in counts) * node["Actual Loops"]
        indexes = " and ".join(_indexes(node))
        yield round(rows), f"{node['Node Type']} using {indexes}" if indexes else node["Node Type"]
    else:
        for child in node.get("Plans", []):
            yield from _scans(child)


def _indexes(node: dict[str, Any]) -> Iterator[str]:
    if "Index Name" in node:
        yield node["Index Name"]
    for child in node.get("Plans", []):
        yield from _indexes(child)


def _statement(
    space: Space, query: Floats, options: SearchOptions, condition: Condition, plan: SearchPlan, limit: int
) -> tuple[str, dict[str, Any]]:
    """The SQL of a plan's method that gives so many rows, and its parameters."""
    parameters = {**condition.parameters, "query": binary_format.encode_half_vector(query), "limit": limit}
    if plan.method is SearchMethod.EXACT:
        return statements.exact_statement(space, options.metric_type, condition), parameters
    domain = condition.parameters["domain"][0] if plan.method is SearchMethod.PARTIAL_INDEX else None
    parameters["candidates"] = max(limit, plan.candidates or 0)
    by_candidates = bool(plan.candidates)
    return (
        statements.index_statement(space, condition, partial_domain=domain, by_candidates=by_candidates),
        parameters,
    )


def _margin(query: Floats, metric_type: MetricType) -> float:
    # A row's distances to the query and to the rounded query differ by at most the rounding's norm.
    rounding = query.astype(np.float16).astype(np.float64) - query
    norm = np.abs(rounding).sum() if metric_type is MetricType.L1 else np.linalg.norm(rounding)
    return 2 * (float(norm) * 1.001 + _FLOAT32_ERROR)


def _ranked(
    fetched: list[tuple[int, str, int, bytes]], query: Floats, metric_type: MetricType, dimensions: int
) -> tuple[RankedRows, float]:
    """The fetched rows, ranked; and the distance of the farthest of them."""
    if not fetched:
        return ranking.NO_ROWS, 0.0
    vectors = binary_format.decode_half_vectors([row[3] for row in fetched], dimensions)
    return ranking.rank_few_rows([row[:3] for row in fetched], vectors, query, metric_type)
