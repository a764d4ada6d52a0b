"""Search planner: which method a search uses (exact, an index, or the matrix), and why.

Answers do not depend on what is decided here, only their cost does (and, through an index, how many of the
nearest are found). Costs are in microseconds on one core, measured with pgvector 0.8.6
(benchmarks/bench_planner.py checks them); only their ratios matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

from omop_emb.records import IndexType, MetricType, counted
from omop_emb.search import measured_recall
from omop_emb.search.measured_recall import MAX_EF_SEARCH
from omop_emb.search.options import SearchOptions
from omop_emb.spaces.filters import ALL_ROWS, Condition
from omop_emb.spaces.registry import Space, finish_command
from omop_emb.spaces.row_counts import RowCount

BULK_QUERIES = 64  # fewer queries keep to an index although a matrix would be cheaper
MAX_EXACT_MICROSECONDS = 200_000.0  # of an exact search where the index is not known to reach the recall
MAX_BUILD_MICROSECONDS = 5_000_000.0  # that a single search may wait for the matrix to be built
# With a filter, an exact search may cost so much more than the index, which cannot be sure of its recall.
_EXACT_FACTOR = 2.0
_FEW_CANDIDATES = 250  # cheaper than comparing any number of rows that is worth an index


class SearchMethod(Enum):
    """How a search finds its rows."""

    EXACT = "exact"
    PARTIAL_INDEX = "partial index"
    INDEX = "index"
    MATRIX = "matrix"
    QDRANT = "Qdrant"


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """How queries were searched, and what that took.

    Attributes:
        method: how the rows were found.
        reason: why this method, for a person.
        queries: how many queries were searched.
        rows: how many rows pass the filter, as counted when the space was last built; None if not needed.
        ef_search: candidates that the index looks at for a query, at first; None for other methods.
        candidates: rows passing the filter that the index must give before it stops; None for other methods.
        index: name of the index, or of Qdrant's collection; None for other methods.
        fetched: rows that were compared in float64, over all queries.
        fell_back: queries whose index scan ended early and that were searched exactly instead.
        milliseconds: for all queries, without looking up the matches' texts.
        scanned: rows that the server read for the first query, as its EXPLAIN ANALYZE counts them, or that
            the matrix held; None where no explanation was requested.
        scan: how it read them, such as "Index Scan using space_1_hnsw"; None where no explanation was
            requested.
    """

    method: SearchMethod
    reason: str
    queries: int
    rows: int | None = None
    ef_search: int | None = None
    candidates: int | None = None
    index: str | None = None
    fetched: int = 0
    fell_back: int = 0
    milliseconds: float = 0.0
    scanned: int | None = None
    scan: str | None = None


@dataclass(frozen=True)
class MatrixCost:
    """What a matrix saves some queries, and what it takes to build."""

    saved: float  # microseconds that they take less with a matrix that exists
    build: float  # microseconds to build it

    @property
    def is_quick_to_build(self) -> bool:
        """Whether a single search may wait for it."""
        return self.build < MAX_BUILD_MICROSECONDS


def choose_method(
    space: Space, options: SearchOptions, condition: Condition, count: RowCount | None, *, queries: int
) -> SearchPlan:
    """The method for queries when each is a statement of its own.

    Args:
        space: where they are searched.
        options: how they are searched.
        condition: that of the options' filter.
        count: how many rows pass it; may be None unless needs_count().
        queries: how many there are.
    """
    exact_plan = SearchPlan(
        method=SearchMethod.EXACT, reason="", queries=queries, rows=None if count is None else count.passing
    )
    reason = _reason_for_exact(space, options)
    if reason is not None:
        return replace(exact_plan, reason=reason)
    measured = measured_recall.of_condition(space, condition, count)
    ef_search, reason = measured_recall.ef_search_for(space, options.k, options.recall, measured)
    dimensions = space.fingerprint.dimensions
    domain = measured_recall.partial_domain(space, condition)
    if ef_search is None and options.recall is None and count is not None:
        if exact_cost(count, dimensions) > MAX_EXACT_MICROSECONDS:
            ef_search, reason = measured_recall.best_ef_search(space, options.k, domain, measured)
    if ef_search is None:
        return replace(exact_plan, reason=reason)
    plan = index_plan(exact_plan, space, condition, ef_search, count, reason)
    if count is None:
        return plan
    cost = index_cost(_visited(ef_search, count, domain), dimensions)
    if condition is ALL_ROWS:
        if exact_cost(count, dimensions) > cost:
            return plan
        faster = f"comparing all {count.total:,} rows is faster than {ef_search:,} candidates of the index"
        return replace(exact_plan, reason=faster)
    passing = f"{count.passing:,} of {counted(count.total, 'row')} pass"
    if _is_exact_as_fast(count, dimensions, cost):
        return replace(exact_plan, reason=f"{passing}, few enough to compare all of them")
    passing += ", too many to compare" if domain is None else ", and their domain has its own index"
    return replace(plan, reason=f"{passing}; {reason}")


def index_plan(
    plan: SearchPlan,
    space: Space,
    condition: Condition,
    ef_search: int,
    count: RowCount | None,
    reason: str = "",
) -> SearchPlan:
    """A plan that goes through the index until so many candidates have passed the filter.

    Above MAX_EF_SEARCH, ef_search is the number of candidates of a first pass.
    """
    domain = measured_recall.partial_domain(space, condition)
    # Candidates that do not pass are looked at in vain: more of them are needed. Fewer pass where rows of
    # another kind lie near the query: the index continues until as many have passed as an unfiltered search
    # looks at.
    is_filtered = condition is not ALL_ROWS
    visited = ef_search if count is None or not is_filtered else _visited(ef_search, count, domain)
    return replace(
        plan,
        method=SearchMethod.INDEX if domain is None else SearchMethod.PARTIAL_INDEX,
        reason=reason,
        ef_search=min(MAX_EF_SEARCH, visited),
        candidates=ef_search if space.first_pass or is_filtered else 0,
        index=space.tables.index_name(domain),
    )


def _visited(ef_search: int, count: RowCount, domain: int | None) -> int:
    """How many rows an index looks at until so many have passed."""
    share = count.share if domain is None else count.share_of_domain
    return math.ceil(ef_search / max(share, 1e-9))


def _is_exact_as_fast(count: RowCount, dimensions: int, cost: float) -> bool:
    """Whether comparing the rows that pass costs little more than an index search, or no more by a matrix."""
    if exact_cost(count, dimensions) <= cost * _EXACT_FACTOR:
        return True
    return (
        matrix_build_cost(count) < MAX_BUILD_MICROSECONDS
        and matrix_search_cost(count, dimensions, queries=1) <= cost
    )


def needs_count(space: Space, options: SearchOptions, condition: Condition, *, queries: int) -> bool:
    """Whether a method can be chosen, and a matrix judged, only if the rows that pass are counted."""
    if options.metric_type is MetricType.L1:
        return False
    if condition is not ALL_ROWS or queries >= BULK_QUERIES or _reason_for_exact(space, options) is not None:
        return True
    ef_search, _ = measured_recall.ef_search_for(space, options.k, options.recall)
    return ef_search is None or ef_search > _FEW_CANDIDATES


def matrix_cost(plan: SearchPlan, count: RowCount, dimensions: int) -> MatrixCost:
    """What a matrix would save the queries of a plan, and what it would cost to build."""
    if plan.ef_search is None:
        without = exact_cost(count, dimensions)
    else:
        without = index_cost(plan.ef_search, dimensions)
    saved = plan.queries * without - matrix_search_cost(count, dimensions, queries=plan.queries)
    return MatrixCost(saved, build=matrix_build_cost(count))


def matrix_build_cost(count: RowCount) -> float:
    """Microseconds to copy all rows into a matrix."""
    return 20_000 + 10.0 * count.total


def matrix_search_cost(count: RowCount, dimensions: int, *, queries: int) -> float:
    """Microseconds to compare the rows that pass with some queries by a matrix that exists."""
    passes = math.ceil(queries / 1024)
    return 1500 + 100 * queries + count.passing * dimensions * (queries * 2e-5 + passes * 4e-4)


def exact_cost(count: RowCount, dimensions: int) -> float:
    """Microseconds to compare the rows that pass with one query: fetched one by one, or all in a row."""
    return 500 + min(
        count.passing * (0.9 + 0.0009 * dimensions),
        count.total * 0.06 + count.passing * (0.3 + 0.0004 * dimensions),
    )


def index_cost(visited: int, dimensions: int) -> float:
    """Microseconds of one HNSW search that looks at so many candidates."""
    return 300 + visited * (8 + 0.012 * dimensions)


def _reason_for_exact(space: Space, options: SearchOptions) -> str | None:
    if options.exact or options.recall == 1:
        return "an exact search was requested"
    if space.index_type is IndexType.FLAT:
        return "the space is FLAT, without a vector index"
    if options.index_type is IndexType.FLAT:
        return "FLAT was requested"
    if options.metric_type is MetricType.L1:
        return "the index cannot rank by L1"
    if not space.has_index:
        return f"the index is not built yet (run {finish_command(space.name)})"
    return None
