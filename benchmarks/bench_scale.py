"""A space of many rows: bytes per row, seconds to load, index and measure it, and of one search."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from statistics import median, quantiles

from ratios import Ratio
from search_data import Data, K, nearest, recall, searched, seconds_each
from search_run import run

from omop_emb import IndexType
from omop_emb.database.engine import driver_connection
from omop_emb.search import build_hnsw, measured_recall

FLAT_QUERIES = 5
_SIZES = (
    "select pg_table_size(%(rows)s), pg_relation_size(%(rows)s || '_hnsw'), pg_indexes_size(%(rows)s), "
    "pg_total_relation_size(%(rows)s || '_text')"
)


def main() -> None:
    run(
        "search, a space of many rows",
        __doc__,
        _figures,
        dimensions=[384],
        queries=100,
        arguments=lambda parser: parser.add_argument("--ef-construction", type=int, default=64),
    )


def _figures(conninfo: str, data: Data, chosen: argparse.Namespace) -> Iterator[Ratio]:
    rows = len(data.rows)
    began = time.perf_counter()
    with searched(conninfo, data, IndexType.HNSW, ef_construction=chosen.ef_construction) as hnsw:
        written = time.perf_counter() - began - hnsw.seconds
        sizes = (
            driver_connection(hnsw.session)
            .execute(_SIZES, {"rows": f"omop_emb.space_{hnsw.space.space_id}"})
            .fetchone()
        )
        assert sizes is not None
        table, graph, indexes, texts = (size / rows for size in sizes)
        memory = build_hnsw.index_memory_bytes(rows, data.dimensions, hnsw.space.hnsw_m) / rows
        found = [hnsw(query[None])[0] for query in data.queries]
        each = seconds_each(lambda n: hnsw(data.queries[n : n + 1]), len(data.queries))
        flat = seconds_each(lambda n: hnsw(data.queries[n : n + 1], exact=True), FLAT_QUERIES)
        ef_search, reason = measured_recall.ef_search_for(hnsw.space, K, None)
    per_row = {"vectors": table, "keys": indexes - graph, "HNSW": graph, "texts": texts}
    for name, size in per_row.items():
        yield Ratio(f"{data.name}: bytes per row, {name}", size, unit="")
    yield Ratio(f"{data.name}: bytes per row, memory reserved for building", memory, unit="")
    yield Ratio(f"{data.name}: written and counted", written, unit="s")
    yield Ratio(f"{data.name}: indexed and measured", hnsw.seconds, unit="s")
    yield Ratio(
        f"{data.name}: HNSW recall at 10",
        recall(found, nearest(data, data.queries)),
        unit="",
        detail=f"ef_search {ef_search}: {reason}; measured {hnsw.space.recall}",
    )
    yield Ratio(f"{data.name}: HNSW, p50", median(each) * 1e3, unit="ms", detail=f"p95 {_p95(each):.1f} ms")
    yield Ratio(f"{data.name}: FLAT, p50", median(flat) * 1e3, unit="ms")


def _p95(seconds: list[float]) -> float:
    return quantiles(seconds, n=20)[18] * 1e3


if __name__ == "__main__":
    main()
