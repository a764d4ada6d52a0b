"""Planner costs beside measured times: only their ratios matter, so each is compared with the others'."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import numpy as np
from ratios import Ratio
from search_data import Data, Searched, processor_seconds, searched
from search_run import run

from omop_emb import ConceptFilter, IndexType
from omop_emb.database import binary_format
from omop_emb.database.engine import driver_connection
from omop_emb.search import planner, row_search
from omop_emb.search.options import SearchOptions
from omop_emb.search.planner import SearchMethod, SearchPlan
from omop_emb.spaces import filters
from omop_emb.spaces.row_counts import RowCount

SHARES = (0.001, 0.01, 0.1, 0.5)
WITHIN = 2.5


def main() -> None:
    run("search, the planner's costs", __doc__, _ratios, dimensions=[768, 384], queries=40)


def _ratios(conninfo: str, data: Data, chosen: argparse.Namespace) -> Iterator[Ratio]:
    measured_costs = list(_measured_costs(conninfo, data, chosen.rounds))
    # A machine that is faster or slower than the one that the costs come from is so for all of them.
    usual = median(measured / cost for _, measured, cost in measured_costs)
    for what, measured, cost in measured_costs:
        yield Ratio(
            f"{data.name}, {what}: measured / cost",
            measured / cost / usual,
            at_most=WITHIN,
            detail=f"{measured:,.0f} us, cost {cost:,.0f}",
        )


def _measured_costs(conninfo: str, data: Data, rounds: int) -> Iterator[tuple[str, float, float]]:
    """(what, microseconds measured, the planner's cost) of one search by each method."""
    labels = np.full(len(data.rows), "rest", "U8")
    order = np.random.default_rng(4).permutation(len(data.rows))
    start = 0
    for share in SHARES:
        stop = start + max(1, round(share * len(labels)))
        labels[order[start:stop]] = str(share)
        start = stop
    with searched(conninfo, data, IndexType.HNSW, vocabularies=labels) as hnsw:
        hnsw.without_workers()

        def measured(concept_filter: ConceptFilter | None, ef_search: int | None) -> float:
            search = partial(_search, hnsw, data, concept_filter, ef_search)
            return _microseconds(hnsw, len(data.queries), rounds, search)

        for share in SHARES:
            count = RowCount(int((labels == str(share)).sum()), len(labels))
            cost = planner.exact_cost(count, data.dimensions)
            concept_filter = ConceptFilter(vocabularies=(str(share),))
            yield f"exact, {count.passing:,} rows", measured(concept_filter, None), cost
        every = RowCount(len(labels), len(labels))
        yield "exact, all rows", measured(None, None), planner.exact_cost(every, data.dimensions)
        for ef_search in (40, 160, 640):
            cost = planner.index_cost(ef_search, data.dimensions)
            yield f"index, ef_search {ef_search}", measured(None, ef_search), cost


def _search(
    hnsw: Searched, data: Data, concept_filter: ConceptFilter | None, ef_search: int | None, number: int
) -> object:
    """One search, exact or through the index, from its statement to the ranked rows."""
    connection = driver_connection(hnsw.session)
    condition = filters.filter_condition(connection, concept_filter)
    method = SearchMethod.EXACT if ef_search is None else SearchMethod.INDEX
    plan = SearchPlan(method=method, reason="", queries=1, ef_search=ef_search)
    with row_search.search_scope(connection, ef_search), binary_format.binary_cursor(connection) as cursor:
        return row_search.search_rows(
            cursor, hnsw.space, data.queries[number : number + 1], SearchOptions(), condition, plan
        )


def _microseconds(hnsw: Searched, count: int, rounds: int, search: Callable[[int], object]) -> float:
    """Microseconds of processor time of one search, here and in the server: the median of some rounds."""
    search(0)
    seconds = []
    for _ in range(rounds):
        before = processor_seconds(hnsw.session)
        for number in range(count):
            search(number)
        seconds.append((processor_seconds(hnsw.session) - before) / count)
    return median(seconds) * 1e6


if __name__ == "__main__":
    main()
