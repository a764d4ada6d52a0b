"""Many queries by matrix against a bare matmul and exact SQL, and eight reading processes against one."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier

import numpy as np
from numpy.typing import NDArray
from ratios import Ratio, interleaved
from search_data import Data, K, by_sql, nearest, recall, searched, seconds_each
from search_run import run
from threadpoolctl import threadpool_limits

from omop_emb import IndexType

READERS = 8
WARM_UP = 200  # queries that each reader makes first

_ready: Barrier  # of a reader's process: all of them start at once


def main() -> None:
    run(
        "search, many queries and many readers",
        __doc__,
        _ratios,
        dimensions=[768],
        queries=10_000,
        arguments=lambda parser: parser.add_argument(
            "--seconds", type=float, default=5.0, help="that readers search for"
        ),
        real_data=True,
    )


def _ratios(conninfo: str, data: Data, chosen: argparse.Namespace) -> Iterator[Ratio]:
    yield from _matrix(conninfo, data, chosen)
    yield from _readers(conninfo, data, chosen)


def _matrix(conninfo: str, data: Data, chosen: argparse.Namespace) -> Iterator[Ratio]:
    queries = data.queries
    with searched(conninfo, data, IndexType.FLAT) as flat:
        began = time.perf_counter()
        some = flat(queries[:200])
        first = time.perf_counter() - began
        assert recall(some, nearest(data, queries[:200])) > 0.999
        times = interleaved(
            chosen.rounds,
            clock=time.process_time,  # client work on a machine that is shared
            matrix=lambda: flat(queries),
            numpy=lambda: _bare(data.rows, queries),
        )
        wall = interleaved(1, matrix=lambda: flat(queries))["matrix"]
        with by_sql():
            sql = float(np.median(seconds_each(lambda n: flat(queries[n : n + 1]), 20)))
    each = {name: seconds / len(queries) for name, seconds in times.items()}
    detail = ", ".join(f"{name} {seconds * 1e6:.0f} us" for name, seconds in each.items())
    yield Ratio(
        f"{data.name}: {len(queries):,} queries by matrix / matmul + argpartition",
        each["matrix"] / each["numpy"],
        at_most=1.3,
        detail=f"{detail} of processor time each; the first 200, which build the matrix, {first:.1f} s",
    )
    yield Ratio(
        f"{data.name}: exact SQL / matrix, per query",
        sql / (wall / len(queries)),
        at_least=8,
        detail=f"SQL {sql * 1e3:.1f} ms",
    )


def _bare(rows: NDArray[np.float32], queries: NDArray[np.float32]) -> list[NDArray[np.intp]]:
    """The same by hand, in blocks of queries that fit in memory."""
    found = []
    for start in range(0, len(queries), 512):
        scores = queries[start : start + 512] @ rows.T
        best = np.argpartition(scores, scores.shape[1] - K, axis=1)[:, -K:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        found.append(np.take_along_axis(best, order, axis=1))
    return found


def _readers(conninfo: str, data: Data, chosen: argparse.Namespace) -> Iterator[Ratio]:
    with searched(conninfo, data, IndexType.HNSW):
        pass  # built and committed for the readers
    few = Data(
        data.name, data.rows[:1], data.queries[:WARM_UP], data.row_clusters[:1], data.query_clusters[:WARM_UP]
    )
    context = multiprocessing.get_context("spawn")

    def rate(readers: int) -> float:
        ready = context.Barrier(readers)
        with context.Pool(readers, _meet, (ready,)) as pool:
            return sum(pool.starmap(_searches, [(conninfo, few, chosen.seconds)] * readers, chunksize=1))

    cores = len(os.sched_getaffinity(0))
    rates = [(rate(1), rate(cores), rate(READERS)) for _ in range(chosen.rounds)]
    one, some, many = np.median(rates, axis=0)
    yield Ratio(f"{data.name}: as many readers as cores / one", some / one, detail=f"{some:.0f} a second")
    yield Ratio(
        f"{data.name}: {READERS} readers / one, searches a second",
        many / one,
        at_least=1.7,
        detail=f"{one:.0f} and {many:.0f} a second on {cores} cores",
    )


def _meet(ready: Barrier) -> None:
    global _ready
    _ready = ready


def _searches(conninfo: str, data: Data, seconds: float) -> float:
    """Searches a second of one reader, once all of them have connected and searched for each query.

    A new server process touches each page of the shared memory once, which no search should pay for.
    """
    logging.disable(logging.WARNING)
    with searched(conninfo, data, IndexType.HNSW) as hnsw, threadpool_limits(1):
        for query in data.queries:
            hnsw(query[None])
        _ready.wait()
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            hnsw(data.queries[done % len(data.queries)][None])
            done += 1
        return done / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
