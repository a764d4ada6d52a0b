"""Measured recall: which measurements hold for a search, and how many candidates they say it needs."""

from __future__ import annotations

import math
from functools import lru_cache

from omop_emb.spaces.filters import STANDARD_AND_VALID, Condition
from omop_emb.spaces.registry import Recall, Space
from omop_emb.spaces.row_counts import RowCount

MAX_EF_SEARCH = 1000  # pgvector's limit
MAX_CANDIDATES = 10_000  # of a first pass
DEFAULT_RECALL = 0.99
_NOT_MEASURED = "the recall of the index was not measured for such searches"


def partial_domain(space: Space, condition: Condition) -> int | None:
    """The domain of the filter, if it is a single one with an index of its own."""
    domain = _single_domain(condition)
    return domain if domain in space.partial_domains else None


def of_condition(space: Space, condition: Condition, count: RowCount | None) -> Recall:
    """What was measured with a filter; () if it was not.

    A filter that lets all rows through, or all rows of its domain, changes nothing. Through an index, any
    other may find far less than a search without it.

    Args:
        space: where it is searched.
        condition: that of the filter.
        count: how many rows pass it; None only if all do.
    """
    domain = _single_domain(condition)
    others = condition.parameters.keys() - (set() if domain is None else {"domain"})
    if count is not None and count.passing >= (count.total if domain is None else count.of_domains):
        others = set()
    if not others:
        return space.recall if domain is None else space.partial_recall.get(domain, ())
    return space.standard_recall.get(domain, ()) if others == STANDARD_AND_VALID else ()


def ef_search_for(
    space: Space, k: int, recall: float | None, measured: Recall | None = None
) -> tuple[int | None, str]:
    """The ef_search that reaches a recall at k, and how that is known; None where only an exact search does.

    Above MAX_EF_SEARCH it is the number of candidates of a first pass.

    Args:
        space: where it is searched.
        k: how many concepts.
        recall: what must be reached; None is DEFAULT_RECALL.
        measured: what was measured with the filter; None is without one.
    """
    most = MAX_CANDIDATES if space.first_pass else MAX_EF_SEARCH
    return _interpolated(space.recall if measured is None else measured, k, recall, most)


@lru_cache(maxsize=256)  # the same for each search of a space
def _interpolated(measured: Recall, k: int, recall: float | None, most: int) -> tuple[int | None, str]:
    if not measured:
        return (
            None,
            _NOT_MEASURED if recall is None else f"recall {recall:g} was requested, but {_NOT_MEASURED}",
        )
    target = DEFAULT_RECALL if recall is None else recall
    # What was measured at the next larger k; beyond the largest, in proportion.
    measured_ks = sorted({measured_k for measured_k, _, _ in measured})
    nearest_k = next((measured_k for measured_k in measured_ks if measured_k >= k), measured_ks[-1])
    factor = max(1.0, k / nearest_k)
    steps = sorted(
        (ef_search, reached) for measured_k, ef_search, reached in measured if measured_k == nearest_k
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


def best_ef_search(space: Space, k: int, domain: int | None, measured: Recall) -> tuple[int, str]:
    """The ef_search of a search that no measurement vouches for, where comparing all rows takes too long.

    If the filter was measured, it is the largest that was measured at k or the next larger one. Otherwise it
    is what the index needs without the filter, or a usual one.
    """
    steps = [step for step in measured if step[0] >= k]
    if steps:
        nearest_k, ef_search, reached = max(steps, key=lambda step: (-step[0], step[1]))
        return ef_search, (
            f"recall at {nearest_k} was measured as {reached:.3f}, the most that this index reaches, and "
            "comparing all rows takes too long"
        )
    without_filter = space.recall if domain is None else space.partial_recall.get(domain, ())
    most = MAX_CANDIDATES if space.first_pass else MAX_EF_SEARCH
    ef_search = _interpolated(without_filter, k, None, most)[0] or min(most, max(100, 10 * k))
    return ef_search, f"{_NOT_MEASURED}, and comparing all rows takes too long"


def _single_domain(condition: Condition) -> int | None:
    domains = condition.parameters.get("domain", ())
    return int(domains[0]) if len(domains) == 1 else None
