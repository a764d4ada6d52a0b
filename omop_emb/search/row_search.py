"""The nearest rows of one query, fetched by SQL and ranked as exact arithmetic ranks them.

The server ranks rows by the query rounded to half precision, as it stores vectors. The best of them are
fetched and ranked again in float64 with the query as it was given, so that the order is that of exact
arithmetic on the stored values. An exact search fetches until no row left behind can matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.pq import TransactionStatus

from omop_emb.database import binary_format
from omop_emb.records import MetricType
from omop_emb.search import ranking, statements
from omop_emb.search.planner import Request, SearchPlan, SearchMethod
from omop_emb.search.ranking import RankedRows
from omop_emb.spaces.filters import Condition
from omop_emb.spaces.registry import Space

# A plan that was cached under other settings must not be used, and no search repays compiling it. An index
# gives ef_search rows at a time and goes on from there where the filter leaves too few.
_SETTINGS = (
    "set local plan_cache_mode = force_custom_plan; set local jit = off; "
    "set local hnsw.iterative_scan = relaxed_order"
)
_BEGIN = "savepoint omop_emb_search"
_END = "rollback to omop_emb_search; release omop_emb_search"
_FLOAT32_ERROR = 1e-5  # more than the server's float32 sums can be off, at 16,000 dimensions of a unit row


@contextmanager
def search_scope(connection: psycopg.Connection[Any], ef_search: int | None = None) -> Iterator[None]:
    """A block whose searches leave nothing behind: neither settings nor locks, nor a transaction that failed.

    Index searches in it look at ef_search candidates. It is a savepoint within the caller's transaction, or
    one of its own, which is rolled back.
    """
    settings = [_SETTINGS] if ef_search is None else [_SETTINGS, _walk(ef_search)]
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


def set_ef_search(connection: psycopg.Connection[Any], ef_search: int) -> None:
    """Let index searches look at so many candidates from here on, until the scope ends."""
    connection.execute(_walk(ef_search), prepare=False)


@lru_cache(maxsize=64)
def _walk(ef_search: int) -> str:
    return sql.SQL("set local hnsw.ef_search = {}").format(sql.Literal(ef_search)).as_string(None)


def search_exactly(
    cursor: psycopg.Cursor[Any],
    space: Space,
    query: NDArray[np.float32],
    request: Request,
    condition: Condition,
) -> tuple[RankedRows, int]:
    """The k nearest of all rows that pass, and how many rows were ranked again."""
    statement, parameters = _statement(space, query, request, condition, None)
    margin = _margin(query, request.metric_type)
    limit = request.k + statements.SLACK
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


def search_index(
    cursor: psycopg.Cursor[Any],
    space: Space,
    query: NDArray[np.float32],
    request: Request,
    condition: Condition,
    plan: SearchPlan,
) -> tuple[RankedRows | None, int]:
    """The k nearest that the index finds, and how many rows were ranked again; None: it gave up before k."""
    statement, parameters = _statement(space, query, request, condition, plan)
    margin = _margin(query, request.metric_type)
    limit = request.k + statements.SLACK
    while True:
        parameters |= {"limit": limit, "candidates": max(limit, plan.candidates or 0)}
        fetched = cursor.execute(statement, parameters).fetchall()
        hits, farthest = _ranked(fetched, query, request.metric_type, space.fingerprint.dimensions)
        if len(hits) >= request.k and (
            len(fetched) < limit or hits.distances[request.k - 1] < farthest - margin
        ):
            return ranking.first(hits, request.k), len(fetched)
        if len(fetched) < limit:
            return None, len(fetched)  # only the exact way can tell whether more exist
        limit *= 4


def explain_scan(
    cursor: psycopg.Cursor[Any],
    space: Space,
    query: NDArray[np.float32],
    request: Request,
    condition: Condition,
    plan: SearchPlan,
) -> tuple[int, str]:
    """How many rows the server reads for one query, and how it comes to them: by its EXPLAIN ANALYZE."""
    limit = request.k + statements.SLACK
    statement, parameters = _statement(space, query, request, condition, plan)
    parameters |= {"limit": limit, "candidates": max(limit, plan.candidates or 0)}
    if plan.ef_search is not None:
        set_ef_search(cursor.connection, plan.ef_search)
    explain = f"explain (analyze, timing off, format json) {statement}"
    row = cursor.execute(explain, parameters).fetchone()
    assert row is not None  # noqa: S101 - explain gives a row
    # Rows that an exact search has found are fetched again by their places, in another part of the plan.
    [near] = [below for below in row[0][0]["Plan"]["Plans"] if below.get("Subplan Name") == "CTE near"]
    scans = list(_scans(near))
    return sum(rows for rows, _ in scans), ", ".join(dict.fromkeys(name for _, name in scans))


def _scans(node: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Rows that each scan of a plan read, those that a filter then dropped included; and what it is."""
    below = node.get("Plans", [])
    if "Relation Name" in node:
        read = sum(
            node.get(key, 0)
            for key in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        )
        by = " and ".join(_indexes(node))
        yield (
            round(read * node["Actual Loops"]),
            f"{node['Node Type']} using {by}" if by else node["Node Type"],
        )
    else:
        for entry in below:
            yield from _scans(entry)


def _indexes(node: dict[str, Any]) -> Iterator[str]:
    if "Index Name" in node:
        yield node["Index Name"]
    for below in node.get("Plans", []):
        yield from _indexes(below)


def _statement(
    space: Space,
    query: NDArray[np.float32],
    request: Request,
    condition: Condition,
    plan: SearchPlan | None,
) -> tuple[str, dict[str, Any]]:
    """The SQL of a plan's way, exact for None, and its parameters but for the limits."""
    parameters = {**condition.parameters, "query": binary_format.encode_half_vector(query)}
    if plan is None or plan.method is SearchMethod.EXACT:
        return statements.exact_statement(space, request.metric_type, condition), parameters
    domain = condition.parameters["domain"][0] if plan.method is SearchMethod.PARTIAL_INDEX else None
    return statements.index_statement(
        space, condition, partial_domain=domain, by_candidates=bool(plan.candidates)
    ), parameters


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
) -> tuple[RankedRows, float]:
    """The rows that were fetched, ranked; and the distance of the farthest of them."""
    if not fetched:
        return ranking.NO_ROWS, 0.0
    vectors = binary_format.decode_half_vectors([row[3] for row in fetched], dimensions)
    return ranking.rank_few_rows([row[:3] for row in fetched], vectors, query, metric_type)
