"""Search planner: which method a search uses (exact, an index, or the matrix), and why.

Answers do not depend on what is decided here, only their cost does (and, through an index, how many of the
nearest are found). Costs are in microseconds on one core, measured with pgvector 0.8.6
(benchmarks/bench_planner.py checks them); only their ratios matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

from omop_emb.records import IndexType, MetricType, counted
from omop_emb.search.options import SearchOptions
from omop_emb.spaces.filters import ALL_ROWS, Condition
from omop_emb.spaces.registry import Recall, Space
from omop_emb.spaces.row_counts import RowCount

MAX_EF_SEARCH = 1000  # pgvector's limit
MAX_CANDIDATES = 10_000  # of a first pass
DEFAULT_RECALL = 0.99
BULK_QUERIES = 64  # fewer queries keep to an index although a matrix would be cheaper
MAX_EXACT_MICROSECONDS = 200_000.0  # of an exact search where the index does not reach DEFAULT_RECALL
MAX_BUILD_MICROSECONDS = 5_000_000.0  # that a single search may wait for the matrix to be built
# A filtered index search has less recall than an unfiltered one: an exact search may cost so much more.
_EXACT_FACTOR = 2.0
_FEW_CANDIDATES = 250  # cheaper than comparing any number of rows that is worth an index


class SearchMethod(Enum):
    """How a search finds its rows."""

    EXACT = "exact"
    PARTIAL_INDEX = "partial index"
    INDEX = "index"
    MATRIX = "matrix"


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
        index: name of the index; None for other methods.
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
    domain = _partial_domain(space, condition) if count is not None else None
    ef_search, reason = ef_search_for(space, options.k, options.recall, domain)
    dimensions = space.fingerprint.dimensions
    if ef_search is None and options.recall is None and count is not None:
        if exact_cost(count, dimensions) > MAX_EXACT_MICROSECONDS:
            ef_search, reason = _largest_measured(space, options.k, domain)
    if ef_search is None:
        return replace(exact_plan, reason=reason)
    index_plan = replace(
        exact_plan,
        method=SearchMethod.INDEX if domain is None else SearchMethod.PARTIAL_INDEX,
        reason=reason,
        ef_search=min(MAX_EF_SEARCH, ef_search),
        candidates=ef_search if space.first_pass else 0,
        index=space.tables.index_name(domain),
    )
    if count is None:
        return index_plan
    # Candidates that do not pass are looked at in vain: more of them are needed.
    share = count.share if domain is None else count.share_of_domain
    visited = math.ceil(ef_search / max(share, 1e-9))
    cost = index_cost(visited, dimensions)
    if condition is ALL_ROWS:
        if exact_cost(count, dimensions) > cost:
            return index_plan
        faster = f"comparing all {count.total:,} rows is faster than {ef_search:,} candidates of the index"
        return replace(exact_plan, reason=faster)
    passing = f"{count.passing:,} of {counted(count.total, 'row')} pass"
    if exact_cost(count, dimensions) <= cost * _EXACT_FACTOR:
        return replace(exact_plan, reason=f"{passing}, few enough to compare all of them")
    passing += ", too many to compare" if domain is None else ", and their domain has an index of its own"
    return replace(
        index_plan,
        reason=f"{passing}; {reason}",
        ef_search=min(MAX_EF_SEARCH, visited),
        # Fewer pass where rows of another kind lie near the query: the index continues until as many have
        # passed as an unfiltered search looks at.
        candidates=ef_search,
    )


def needs_count(space: Space, options: SearchOptions, condition: Condition, *, queries: int) -> bool:
    """Whether a method can be chosen, and a matrix judged, only if the rows that pass are counted."""
    if options.metric_type is MetricType.L1:
        return False
    if condition is not ALL_ROWS or queries >= BULK_QUERIES or _reason_for_exact(space, options) is not None:
        return True
    ef_search, _ = ef_search_for(space, options.k, options.recall)
    return ef_search is None or ef_search > _FEW_CANDIDATES


def matrix_cost(plan: SearchPlan, count: RowCount, dimensions: int) -> MatrixCost:
    """What a matrix would save the queries of a plan, and what it would cost to build."""
    if plan.ef_search is None:
        without = exact_cost(count, dimensions)
    else:
        without = index_cost(plan.ef_search, dimensions)
    passes = math.ceil(plan.queries / 1024)
    products = count.passing * dimensions * (plan.queries * 2e-5 + passes * 4e-4)
    saved = plan.queries * (without - 100) - products - 1500
    return MatrixCost(saved, build=20_000 + 10.0 * count.total)


def exact_cost(count: RowCount, dimensions: int) -> float:
    """Microseconds to compare the rows that pass with one query: fetched one by one, or all in a row."""
    return 500 + min(
        count.passing * (0.9 + 0.0009 * dimensions),
        count.total * 0.06 + count.passing * (0.3 + 0.0004 * dimensions),
    )


def index_cost(visited: int, dimensions: int) -> float:
    """Microseconds of one HNSW search that looks at so many candidates."""
    return 300 + visited * (8 + 0.012 * dimensions)


def ef_search_for(
    space: Space, k: int, recall: float | None, domain: int | None = None
) -> tuple[int | None, str]:
    """The ef_search that reaches a recall at k, and how that is known; None where only an exact search does.

    Above MAX_EF_SEARCH it is the number of candidates of a first pass.

    Args:
        space: where it is searched.
        k: how many concepts.
        recall: what must be reached; None is DEFAULT_RECALL.
        domain: whose partial index is used; None is the index of all rows.
    """
    most = MAX_CANDIDATES if space.first_pass else MAX_EF_SEARCH
    return _interpolated(_measurements(space, domain), k, recall, most)


@lru_cache(maxsize=256)  # the same for each search of a space
def _interpolated(measurements: Recall, k: int, recall: float | None, most: int) -> tuple[int | None, str]:
    if not measurements:
        if recall is not None:
            return (
                None,
                f"recall {recall:g} was requested and was not measured in this space (run index build)",
            )
        return min(most, max(100, 10 * k)), "its recall was not measured yet (run index build)"
    target = DEFAULT_RECALL if recall is None else recall
    # What was measured at the next larger k; beyond the largest, in proportion.
    measured_ks = sorted({measured_k for measured_k, _, _ in measurements})
    nearest_k = next((measured_k for measured_k in measured_ks if measured_k >= k), measured_ks[-1])
    factor = max(1.0, k / nearest_k)
    steps = sorted(
        (ef_search, reached) for measured_k, ef_search, reached in measurements if measured_k == nearest_k
    )
    previous_ef, previous = 0, 0.0
    for ef_search, reached in steps:
        if reached >= target:
            reason = f"recall at {nearest_k} was measured as {reached:.3f}"
            if previous_ef:
                # Each further candidate finds less than the one before: recall lies above the line between.
                share = (target - previous) / (reached - previous)
                ef_search = previous_ef + math.ceil(share * (ef_search - previous_ef))
                reason = f"recall at {nearest_k} was measured as {previous:.3f} to {reached:.3f} around it"
            if ef_search * factor <= most:
                return math.ceil(ef_search * factor), reason
            break
        previous_ef, previous = ef_search, reached
    return None, f"no ef_search reaches recall {target:g} at {k} in this space"


def _measurements(space: Space, domain: int | None) -> Recall:
    return space.recall if domain is None else space.partial_recall.get(domain, ())


def _largest_measured(space: Space, k: int, domain: int | None) -> tuple[int | None, str]:
    """The largest ef_search that was measured at k or the next larger one, and what it reached."""
    steps = [step for step in _measurements(space, domain) if step[0] >= k]
    if not steps:
        return None, f"no ef_search was measured at {k}"
    nearest_k, ef_search, reached = max(steps, key=lambda step: (-step[0], step[1]))
    return ef_search, (
        f"recall at {nearest_k} was measured as {reached:.3f}, the most that this index reaches, and "
        "comparing all rows takes too long"
    )


def _partial_domain(space: Space, condition: Condition) -> int | None:
    """The domain of the filter, if it is a single one with an index of its own."""
    domains = condition.parameters.get("domain", ())
    return domains[0] if len(domains) == 1 and domains[0] in space.partial_domains else None


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
        return "the index is not built yet"
    return None
