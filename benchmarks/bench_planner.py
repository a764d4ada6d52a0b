"""The planner's prices beside what was measured: only their ratios matter, so each is held to the others'."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import numpy as np
from ratios import Ratio
from search_data import Data, Searched, processor_seconds, searched
from search_run import run

from omop_emb import ConceptFilter, IndexType, MetricType
from omop_emb.database import binary_format
from omop_emb.database.engine import driver_connection
from omop_emb.search import planner, row_search
from omop_emb.search.planner import Request, SearchPlan, SearchMethod
from omop_emb.spaces import filters
from omop_emb.spaces.row_counts import RowCount

SHARES = (0.001, 0.01, 0.1, 0.5)
WITHIN = 2.5


def main() -> None:
    run("search, the planner's prices", __doc__, _prices, dimensions=[768, 384], queries=40)


def _prices(conninfo: str, data: Data, chosen: argparse.Namespace) -> Iterator[Ratio]:
    found = list(_priced(conninfo, data, chosen.rounds))
    # What the machine is faster or slower than the one that the prices come from is the same for all.
    usual = median(measured / price for _, measured, price in found)
    for what, measured, price in found:
        yield Ratio(
            f"{data.name}, {what}: measured / price",
            measured / price / usual,
            at_most=WITHIN,
            detail=f"{measured:,.0f} us, price {price:,.0f}",
        )


def _priced(conninfo: str, data: Data, rounds: int) -> Iterator[tuple[str, float, float]]:
    """(what, microseconds measured, the planner's price) of one search each way."""
    labels = np.full(len(data.rows), "rest", "U8")
    places = np.random.default_rng(4).permutation(len(data.rows))
    start = 0
    for share in SHARES:
        stop = start + round(share * len(labels))
        labels[places[start:stop]] = str(share)
        start = stop
    with searched(conninfo, data, IndexType.HNSW, vocabularies=labels) as hnsw:
        hnsw.without_workers()
        for share in SHARES:
            count = RowCount(int((labels == str(share)).sum()), len(labels))
            wanted = ConceptFilter(vocabularies=(str(share),))
            cost = _cost(hnsw, len(data.queries), rounds, partial(_one, hnsw, data, wanted, None))
            yield f"exact, {count.passing:,} rows", cost, planner.exact_cost(count, data.dimensions)
        every = RowCount(len(labels), len(labels))
        cost = _cost(hnsw, len(data.queries), rounds, partial(_one, hnsw, data, None, None))
        yield "exact, all rows", cost, planner.exact_cost(every, data.dimensions)
        for ef_search in (40, 160, 640):
            cost = _cost(hnsw, len(data.queries), rounds, partial(_one, hnsw, data, None, ef_search))
            yield f"index, ef_search {ef_search}", cost, planner.index_cost(ef_search, data.dimensions)


def _one(
    hnsw: Searched, data: Data, wanted: ConceptFilter | None, ef_search: int | None, number: int
) -> object:
    """One search, exact or through the index, from its statement to the ranked rows."""
    connection = driver_connection(hnsw.session)
    request = Request(queries=1, k=10, metric_type=MetricType.COSINE, index_type=IndexType.HNSW)
    condition = filters.filter_condition(connection, wanted)
    query = data.queries[number]
    with row_search.search_scope(connection), binary_format.binary_cursor(connection) as cursor:
        if ef_search is None:
            return row_search.search_exactly(cursor, hnsw.space, query, request, condition)
        plan = SearchPlan(method=SearchMethod.INDEX, reason="", queries=1, ef_search=ef_search)
        row_search.set_ef_search(connection, ef_search)
        return row_search.search_index(cursor, hnsw.space, query, request, condition, plan)


def _cost(hnsw: Searched, count: int, rounds: int, one: Callable[[int], object]) -> float:
    """Microseconds of processor time of one search, here and in the server: the median of some rounds."""
    one(0)
    costs = []
    for _ in range(rounds):
        before = processor_seconds(hnsw.session)
        for number in range(count):
            one(number)
        costs.append((processor_seconds(hnsw.session) - before) / count)
    return median(costs) * 1e6


if __name__ == "__main__":
    main()
