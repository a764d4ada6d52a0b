"""Which way a search takes: exact over the rows, through an index, or by matrix; and why.

Right answers do not depend on what is decided here, only their price does (and, through an index, how
many of the nearest are found). Prices are in microseconds on one core, measured with pgvector 0.8.6
(benchmarks/bench_planner.py holds them to it); only their ratios matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

from omop_emb.records import IndexType, MetricType
from omop_emb.spaces.registry import Recall, Space
from omop_emb.spaces.row_counts import RowCount

MAX_EF_SEARCH = 1000  # pgvector's limit
MAX_CANDIDATES = 10_000  # of a first pass
DEFAULT_RECALL = 0.99
BULK_QUERIES = 64  # fewer do not leave an index for a matrix
# A filtered index search finds fewer of the nearest than an unfiltered one: certainty is worth this factor.
_CERTAINTY = 2.0
_FEW_CANDIDATES = 250  # looked at in less time than any rows that are worth an index
# Microseconds that a search may take to be exact where the index does not reach DEFAULT_RECALL.
MAX_EXACT_MICROSECONDS = 200_000.0
# The same for one of many, which makes the matrix for those that follow.
MAX_BUILD_MICROSECONDS = 5_000_000.0


class SearchMethod(Enum):
    """How a search finds its rows."""

    EXACT = "exact"
    PARTIAL_INDEX = "partial index"
    INDEX = "index"
    MATRIX = "matrix"


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """How queries with one filter were searched, and what came of it.

    Attributes:
        method: how the rows were found.
        reason: why, for a person.
        queries: how many queries it was for.
        rows: how many rows pass the filter, as counted when the space was last built; None if not needed.
        ef_search: candidates that the index looks at per query, at first; None on other ways.
        candidates: rows that pass the filter which the index must give before it ends; None on other ways.
        index: name of the index; None on other ways.
        fetched: rows that were compared in float64, over all queries.
        fell_back: queries whose index scan ended early and that were searched exactly instead.
        milliseconds: for all queries, from the decision to the last row; texts are looked up after that.
        scanned: rows that the server read for the first query, as its EXPLAIN ANALYZE counts them, or that
            the matrix held; None where not asked for.
        scan: how it read them, such as "Index Scan using space_1_hnsw"; None where not asked for.
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


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is searched for, as far as it decides the way.

    Attributes:
        queries: how many.
        k: how many concepts each.
        metric_type, index_type: as asked for.
        filtered: whether there is a filter.
        domains: codes of its domains; empty if it has none.
        recall: the recall that is asked for; None: DEFAULT_RECALL where the space was measured.
        exact: whether exactness is asked for.
    """

    queries: int
    k: int
    metric_type: MetricType
    index_type: IndexType
    filtered: bool = False
    domains: tuple[int, ...] = ()
    recall: float | None = None
    exact: bool = False


@dataclass(frozen=True)
class MatrixCost:
    """What a matrix is to some searches, in microseconds.

    Attributes:
        saved: how much less they take with it than without, if it is there.
        making: what it takes to make it.
    """

    saved: float
    making: float

    @property
    def is_bearable(self) -> bool:
        """Whether a search that came alone may wait until it is made."""
        return self.making < MAX_BUILD_MICROSECONDS


def choose(space: Space, request: Request, count: RowCount | None) -> SearchPlan:
    """The way for queries with one filter when each is a statement of its own.

    Args:
        space: where it is searched.
        request: what is searched for.
        count: how many rows pass; may be None where needs_count() says so.
    """
    plan = SearchPlan(
        method=SearchMethod.EXACT, reason="", queries=request.queries, rows=None if count is None else count.passing
    )
    settled = _reason_for_exact(space, request)
    if settled is not None:
        return replace(plan, reason=settled)
    domain = request.domains[0] if len(request.domains) == 1 else None
    if count is None or domain not in space.partial_domains:
        domain = None
    found, known = ef_search_for(space, request.k, request.recall, domain)
    if found is None and request.recall is None and count is not None:
        if exact_cost(count, space.fingerprint.dimensions) > MAX_EXACT_MICROSECONDS:
            found, known = _largest_measured(space, request.k, domain)
    if found is None:
        return replace(plan, reason=known)
    plan = replace(
        plan,
        method=SearchMethod.INDEX if domain is None else SearchMethod.PARTIAL_INDEX,
        reason=known,
        ef_search=min(MAX_EF_SEARCH, found),
        candidates=found if space.first_pass else 0,
        index=space.tables.index_name(domain),
    )
    if count is None:
        return plan
    # Candidates that do not pass are looked at in vain: more of them are asked for.
    share = count.share if domain is None else count.share_of_domain
    visited = math.ceil(found / max(share, 1e-9))
    said = f"{count.passing:,} of {count.total:,} rows pass"
    dimensions = space.fingerprint.dimensions
    worth = index_cost(visited, dimensions) * (_CERTAINTY if request.filtered else 1)
    if exact_cost(count, dimensions) <= worth:
        reason = f"{said}: so few are compared one by one"
        if not request.filtered:
            reason = f"all {count.total:,} rows are compared sooner than {found:,} candidates of the index"
        return SearchPlan(method=SearchMethod.EXACT, reason=reason, queries=request.queries, rows=count.passing)
    if not request.filtered:
        return plan
    said += ": too many to compare" if domain is None else ", and their domain has an index of its own"
    return replace(
        plan,
        reason=f"{said}; {known}",
        ef_search=min(MAX_EF_SEARCH, visited),
        # Fewer pass where rows of another kind stand near the query: the index goes on until as many have
        # passed as an unfiltered search looks at.
        candidates=found,
    )


def needs_count(space: Space, request: Request) -> bool:
    """Whether it has to be known how many rows pass, to choose a way or to tell what a matrix would save."""
    if request.metric_type is MetricType.L1:
        return False
    if request.filtered or request.queries >= BULK_QUERIES or _reason_for_exact(space, request) is not None:
        return True
    found = ef_search_for(space, request.k, request.recall)[0]
    return found is None or found > _FEW_CANDIDATES


def matrix_cost(plans: list[SearchPlan], counts: list[RowCount], dimensions: int) -> MatrixCost:
    """What one matrix saves that serves all of these instead of the ways chosen for each, and what it costs.

    Args:
        plans: what choose() said for each filter.
        counts: rows for each of them.
        dimensions: of the space.
    """
    singly, together = 0.0, 1500.0
    for plan, count in zip(plans, counts, strict=True):
        if plan.ef_search is None:
            singly += plan.queries * exact_cost(count, dimensions)
        else:
            singly += plan.queries * index_cost(plan.ef_search, dimensions)
        passes = math.ceil(plan.queries / 1024)
        together += count.passing * dimensions * (plan.queries * 2e-5 + passes * 4e-4) + plan.queries * 100
    rows = max((count.total for count in counts), default=0)
    return MatrixCost(saved=singly - together, making=20_000 + 10.0 * rows)


def exact_cost(count: RowCount, dimensions: int) -> float:
    """Microseconds to compare the rows that pass with one query: fetched one by one, or all in a row."""
    return 500 + min(
        count.passing * (0.9 + 0.0009 * dimensions),
        count.total * 0.06 + count.passing * (0.3 + 0.0004 * dimensions),
    )


def index_cost(visited: int, dimensions: int) -> float:
    """Microseconds of one search through HNSW that looks at so many candidates."""
    return 300 + visited * (8 + 0.012 * dimensions)


def ef_search_for(
    space: Space, k: int, recall: float | None, domain: int | None = None
) -> tuple[int | None, str]:
    """The ef_search that reaches a recall at k, and how that is known; None where only exactness does.

    Above MAX_EF_SEARCH, where a first pass gives the candidates, it is how many of them are asked for.

    Args:
        space: where it is searched.
        k: how many concepts.
        recall: what is asked for; None: DEFAULT_RECALL.
        domain: through the index of this domain; None: through that of all rows.
    """
    most = MAX_CANDIDATES if space.first_pass else MAX_EF_SEARCH
    measured = space.recall if domain is None else space.partial_recall.get(domain, ())
    return _by_measured(measured, k, recall, most)


@lru_cache(maxsize=256)  # the same for each search of a space
def _by_measured(all_measured: Recall, k: int, recall: float | None, most: int) -> tuple[int | None, str]:
    target = DEFAULT_RECALL if recall is None else recall
    measured_ks = sorted({measured for measured, _, _ in all_measured})
    if not measured_ks:
        if recall is not None:
            return None, (
                f"recall {recall:g} is asked for and was not measured in this space (index build does)"
            )
        return min(most, max(100, 10 * k)), "its recall was not measured yet (index build does)"
    # What was measured at the next larger k; beyond the largest, in proportion.
    nearest_k = next((measured for measured in measured_ks if measured >= k), measured_ks[-1])
    factor = max(1.0, k / nearest_k)
    steps = sorted((ef_search, found) for measured, ef_search, found in all_measured if measured == nearest_k)
    fewer, less = 0, 0.0
    for ef_search, found in steps:
        if found >= target:
            known = f"recall at {nearest_k} was measured as {found:.3f}"
            if fewer:
                # Each further candidate finds less than the one before: recall lies above the line between.
                ef_search = fewer + math.ceil((target - less) / (found - less) * (ef_search - fewer))
                known = f"recall at {nearest_k} was measured as {less:.3f} to {found:.3f} around it"
            if ef_search * factor <= most:
                return math.ceil(ef_search * factor), known
            break
        fewer, less = ef_search, found
    return None, f"no ef_search reaches recall {target:g} at {k} in this space"


def _largest_measured(space: Space, k: int, domain: int | None) -> tuple[int | None, str]:
    """The largest ef_search that was measured at a k as large, and what it found."""
    all_measured = space.recall if domain is None else space.partial_recall.get(domain, ())
    steps = [(measured, ef_search, found) for measured, ef_search, found in all_measured if measured >= k]
    if not steps:
        return None, f"no ef_search was measured at {k}"
    nearest_k, ef_search, found = max(steps, key=lambda step: (-step[0], step[1]))
    return ef_search, (
        f"recall at {nearest_k} was measured as {found:.3f}, the most that this index finds, and comparing "
        "all rows takes too long"
    )


def _reason_for_exact(space: Space, request: Request) -> str | None:
    if request.exact:
        return "exactness is asked for"
    if space.index_type is IndexType.FLAT:
        return "the space is FLAT, without a vector index"
    if request.index_type is IndexType.FLAT:
        return "FLAT is asked for"
    if request.metric_type is MetricType.L1:
        return "the index cannot rank by L1"
    if not space.has_index:
        return "the index is not built yet"
    return None
