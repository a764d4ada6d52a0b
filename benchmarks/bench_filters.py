"""Filtered searches through the public API: recall at 10, always ten rows, and what they cost."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from statistics import quantiles

import numpy as np
from numpy.typing import NDArray
from ratios import Ratio
from search_data import Data, K, Searched, by_sql, nearest, recall, searched, seconds_each
from search_run import run

from omop_emb import ConceptFilter, IndexType
from omop_emb.database.engine import driver_connection
from omop_emb.search import search
from omop_emb.search.options import SearchOptions
from omop_emb.search.vector_indexes import IndexSettings

SHARES = {"50 %": 0.5, "10 %": 0.1, "1 %": 0.01, "0.1 %": 0.001}
SLOWEST = 8


def main() -> None:
    run("search, filtered", __doc__, _filters, dimensions=[768], queries=200, arguments=_arguments)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--partial", default="none", help="domains with an index of their own: auto, none, names"
    )


def _filters(conninfo: str, data: Data, chosen: argparse.Namespace) -> Iterator[Ratio]:
    """Domains are made of whole clusters, so that they go with the query; vocabularies of any rows."""
    random = np.random.default_rng(2)
    clusters = _shared_out(2000)[data.row_clusters]
    anywhere = _shared_out(len(data.rows))[random.permutation(len(data.rows))]
    settings = IndexSettings(partial=chosen.partial)
    with (
        searched(
            conninfo, data, IndexType.HNSW, domains=clusters, vocabularies=anywhere, settings=settings
        ) as hnsw,
        by_sql(),
    ):
        unfiltered = _percentiles(hnsw, data.queries, None, chosen.rounds)
        slowest = 0.0
        for share in SHARES:
            for kind, labels in (
                ("anywhere", anywhere),
                ("near the query", clusters),
                ("elsewhere", clusters),
            ):
                queries = data.queries
                wanted = ConceptFilter(domains=(share,))
                if kind == "anywhere":
                    wanted = ConceptFilter(vocabularies=(share,))
                else:
                    inside = _shared_out(2000)[data.query_clusters] == share
                    queries = queries[inside == (kind == "near the query")]
                    if (
                        kind == "near the query" and len(queries) < 10
                    ):  # a thousandth has hardly any of its own
                        queries = data.rows[np.flatnonzero(clusters == share)[:50]]
                passing = np.flatnonzero(labels == share)
                found = [hnsw(query[None], wanted)[0] for query in queries]
                p50, p95 = _percentiles(hnsw, queries, wanted, chosen.rounds)
                if kind == "anywhere":
                    slowest = max(slowest, p95)
                options = SearchOptions(k=K, concept_filter=wanted)
                connection = driver_connection(hnsw.session)
                plan = search.search(connection, hnsw.space, queries[:1], options).plan
                yield Ratio(
                    f"{data.name}, {share} {kind}: recall at 10",
                    recall(found, nearest(data, queries, passing)),
                    at_least=0.99,
                    unit="",
                    detail=f"p50 {p50 * 1e3:.1f} ms, p95 {p95 * 1e3:.1f} ms, {plan.method.value}",
                )
    yield Ratio(
        f"{data.name}: slowest p95 of filters anywhere / unfiltered p95",
        slowest / unfiltered[1],
        at_most=SLOWEST,
        detail=f"unfiltered p50 {unfiltered[0] * 1e3:.1f} ms, p95 {unfiltered[1] * 1e3:.1f} ms",
    )


def _shared_out(count: int) -> NDArray[np.str_]:
    """(count,) names of SHARES, each as often as it says; "rest" for what is left."""
    names = np.full(count, "rest", "U8")
    start = 0
    for name, share in SHARES.items():
        stop = start + max(1, round(share * count))
        names[start:stop] = name
        start = stop
    return names


def _percentiles(
    hnsw: Searched, queries: NDArray[np.float32], wanted: ConceptFilter | None, rounds: int
) -> tuple[float, float]:
    """The median over some rounds of the p50 and of the p95 of one query's seconds."""
    found = []
    for _ in range(rounds):
        count = max(2, len(queries))
        seconds = seconds_each(lambda n: hnsw(queries[n % len(queries)][None], wanted), count)
        each = quantiles(seconds, n=20)
        found.append((each[9], each[18]))
    p50, p95 = np.median(found, axis=0)
    return float(p50), float(p95)


if __name__ == "__main__":
    main()
