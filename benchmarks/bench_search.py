"""One query at a time: exact against numpy, HNSW against bare psycopg, hnswlib, faiss and exact search."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from ratios import Ratio, interleaved
from search_data import (
    Data,
    K,
    Searched,
    by_sql,
    nearest,
    processor_seconds,
    recall,
    searched,
    seconds_each,
)
from search_run import run
from sqlalchemy.orm import Session

from omop_emb import IndexType, disk_cache
from omop_emb.database import binary_format
from omop_emb.database.engine import driver_connection
from omop_emb.search import measured_recall
from omop_emb.spaces.registry import Space

FLAT_BOUNDS = {768: 3.3, 384: 4.5}
TIMED = 200  # queries; recall is measured with all of them
MOST_SEARCHES = 300  # that may pass before one builds the matrix; with few rows, none ever does


def main() -> None:
    run(
        "search, one query at a time",
        __doc__,
        _ratios,
        dimensions=[768, 384],
        queries=1000,
        real_data=True,
    )


def _ratios(conninfo: str, data: Data, chosen: argparse.Namespace) -> Iterator[Ratio]:
    yield from _flat(conninfo, data, chosen)
    yield from _hnsw(conninfo, data, chosen)


def _flat(conninfo: str, data: Data, chosen: argparse.Namespace) -> Iterator[Ratio]:
    some = data.queries[:: max(1, len(data.queries) // 20)]

    def by_numpy(number: int) -> object:
        scores = data.rows @ some[number]
        best = np.argpartition(-scores, K)[:K]
        return best[np.argsort(-scores[best])]

    with searched(conninfo, data, IndexType.FLAT) as flat:
        sides = {
            "api": _Side(lambda n: flat(some[n : n + 1]), flat.session),
            "numpy": _Side(by_numpy, None),
        }
        with by_sql():
            assert recall(flat(some), nearest(data, some)) > 0.999
            _, by_clock = _compared(chosen.rounds, len(some), sides)  # with the workers that the server adds
            flat.without_workers()
            alone, _ = _compared(chosen.rounds, len(some), sides)
        built = f"no matrix: {MOST_SEARCHES} searches of so few rows do not repay one"
        for number in range(1, MOST_SEARCHES + 1):
            [seconds] = seconds_each(lambda n: flat(some[:1]), 1)
            if any(disk_cache.folder().glob("*/about.json")):
                built = f"search {number} built the matrix and took {seconds:.2f} s"
                break
        assert recall([flat(query[None])[0] for query in some], nearest(data, some)) > 0.999
        _, waited = _compared(chosen.rounds, len(some), sides)
    yield Ratio(
        f"{data.name}: FLAT / numpy on one thread",
        waited["api"] / waited["numpy"],
        at_most=FLAT_BOUNDS.get(data.dimensions),
        detail=f"{_milliseconds(waited)}; {built}",
    )
    yield Ratio(
        f"{data.name}: FLAT before the matrix exists / numpy on one thread",
        by_clock["api"] / by_clock["numpy"],
        detail=_milliseconds(by_clock),
    )
    yield Ratio(
        f"{data.name}: the same on one core / numpy on one thread",
        alone["api"] / alone["numpy"],
        detail=_milliseconds(alone),
    )


def _hnsw(conninfo: str, data: Data, chosen: argparse.Namespace) -> Iterator[Ratio]:
    truth = nearest(data, data.queries)
    some = data.queries[:: max(1, len(data.queries) // TIMED)]  # of each kind as many as of all
    with searched(conninfo, data, IndexType.HNSW) as hnsw:
        found = [hnsw(query[None])[0] for query in data.queries]
        ours = recall(found, truth)
        ef_search = measured_recall.ef_search_for(hnsw.space, K, None)[0]
        yield Ratio(
            f"{data.name}: HNSW recall at 10",
            ours,
            at_least=0.99,
            unit="",
            detail=f"calibrated ef_search {ef_search}; built and measured in {hnsw.seconds:.0f} s",
        )
        libraries = dict(_libraries(data, hnsw.space, truth, ours))
        hnsw.without_workers()
        with (
            _bare(hnsw, some[:1]) as (bare, bare_session),
            _scan(hnsw, ef_search or 40) as (scan, scan_session),
        ):
            sides = {
                "api": _Side(lambda n: hnsw(some[n : n + 1]), hnsw.session),
                "bare": _Side(lambda n: bare(some[n]), bare_session),
                "scan": _Side(lambda n: scan(some[n]), scan_session),
                **{name: _Side(partial(_one, search, some), None) for name, (search, _) in libraries.items()},
            }
            times, waited = _compared(chosen.rounds, len(some), sides)
        with by_sql():
            flat, flat_waited = _compared(
                chosen.rounds,
                20,
                {"flat": _Side(lambda n: hnsw(some[n : n + 1], exact=True), hnsw.session)},
            )
    detail = f"{_milliseconds(times)}; by the clock {_milliseconds(waited)}"
    yield Ratio(f"{data.name}: HNSW / bare psycopg", times["api"] / times["bare"], at_most=1.2, detail=detail)
    for name, (_, share) in libraries.items():
        yield Ratio(
            f"{data.name}: HNSW / {name}",
            times["api"] / times[name],
            at_most=4,
            detail=f"its recall {share:.3f}",
        )
        yield Ratio(f"{data.name}: a prepared index scan alone / {name}", times["scan"] / times[name])
    yield Ratio(
        f"{data.name}: exact on one core / HNSW",
        flat["flat"] / times["api"],
        at_least=20,
        detail=f"{_milliseconds(flat)}; by the clock {_milliseconds(flat_waited)}",
    )


@dataclass(frozen=True)
class _Side:
    """One side of a ratio: a search by its number, and the session whose server works for it."""

    one: Callable[[int], object]
    session: Session | None

    def cost(self, count: int) -> tuple[float, float]:
        """Processor seconds of a search, mean of all, and its seconds by the clock, median."""
        before = processor_seconds(self.session)
        waited = statistics.median(seconds_each(self.one, count))
        return (processor_seconds(self.session) - before) / count, waited


def _compared(rounds: int, count: int, sides: dict[str, _Side]) -> tuple[dict[str, float], dict[str, float]]:
    """Processor seconds and seconds by the clock of each side's search: medians over interleaved rounds."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}

    def run(name: str) -> None:
        found[name].append(sides[name].cost(count))

    interleaved(rounds, **{name: partial(run, name) for name in sides})
    medians = {name: np.median(costs, axis=0) for name, costs in found.items()}
    return {name: float(m[0]) for name, m in medians.items()}, {
        name: float(m[1]) for name, m in medians.items()
    }


def _one(
    search: Callable[[NDArray[np.float32]], object], queries: NDArray[np.float32], number: int
) -> object:
    return search(queries[number : number + 1])


@contextmanager
def _bare(
    hnsw: Searched, query: NDArray[np.float32]
) -> Iterator[tuple[Callable[[NDArray[np.float32]], object], Session]]:
    """A function that sends the statements of one search, recorded from it, by psycopg alone."""
    recorded: list[tuple[Any, Any, bool]] = []
    execute = psycopg.Cursor.execute

    def recording(self: Any, query: Any, params: Any = None, **rest: Any) -> Any:
        text = query.as_string(None) if isinstance(query, sql.Composable) else query
        recorded.append((text, params, self.format == psycopg.pq.Format.BINARY))
        return execute(self, query, params, **rest)

    with mock.patch.object(psycopg.Cursor, "execute", recording):
        hnsw(query)
    assert any("embedding" in str(statement) for statement, _, _ in recorded)
    with Session(hnsw.session.get_bind()) as session:
        connection = driver_connection(session)
        in_text = connection.cursor()
        with binary_format.binary_cursor(connection) as in_binary:

            def search(vector: NDArray[np.float32]) -> object:
                rows: object = None
                for statement, parameters, is_binary in recorded:
                    if isinstance(parameters, dict) and "query" in parameters:
                        parameters = {**parameters, "query": binary_format.encode_half_vector(vector)}
                    cursor = in_binary if is_binary else in_text
                    cursor.execute(statement, parameters, prepare=False)
                    if cursor.description is not None:
                        rows = cursor.fetchall()
                return rows

            yield search, session


@contextmanager
def _scan(
    hnsw: Searched, ef_search: int
) -> Iterator[tuple[Callable[[NDArray[np.float32]], object], Session]]:
    """A function that has the server scan its index for ids only, which no client can beat."""
    with Session(hnsw.session.get_bind()) as session:
        connection = driver_connection(session)
        connection.prepare_threshold = 0
        connection.execute("select set_config('hnsw.ef_search', %s, true)", (str(ef_search),))
        statement = sql.SQL(
            "select concept_id from {} order by embedding <=> cast(%(query)s as halfvec) limit {}"
        ).format(hnsw.space.tables.rows, sql.Literal(K))
        with binary_format.binary_cursor(connection) as cursor:

            def search(vector: NDArray[np.float32]) -> object:
                return cursor.execute(
                    statement, {"query": binary_format.encode_half_vector(vector)}
                ).fetchall()

            yield search, session


def _libraries(
    data: Data, space: Space, truth: NDArray[np.intp], wanted: float
) -> Iterator[tuple[str, tuple[Any, float]]]:
    """hnswlib and faiss with a graph of the same settings, searched just far enough for the same recall."""
    import faiss
    import hnswlib

    index = hnswlib.Index("ip", data.dimensions)
    index.init_index(
        len(data.rows), M=space.hnsw_m, ef_construction=space.hnsw_ef_construction, random_seed=1
    )
    index.add_items(data.rows, num_threads=2)
    index.set_num_threads(1)
    flat = faiss.IndexHNSWFlat(data.dimensions, space.hnsw_m, faiss.METRIC_INNER_PRODUCT)
    flat.hnsw.efConstruction = space.hnsw_ef_construction
    faiss.omp_set_num_threads(2)
    flat.add(data.rows)
    faiss.omp_set_num_threads(1)

    def faiss_ef(ef: int) -> None:
        flat.hnsw.efSearch = ef

    for name, search, set_ef in (
        ("hnswlib", lambda q: index.knn_query(q, K)[0], index.set_ef),
        ("faiss", lambda q: flat.search(q, K)[1], faiss_ef),
    ):
        for ef in (16, 24, 32, 40, 52, 64, 80, 100, 128, 160, 200, 250, 320, 400, 500, 640, 1000):
            set_ef(ef)
            found = search(data.queries)
            share = (
                sum(len({*a} & {*b}) for a, b in zip(found.tolist(), truth.tolist(), strict=True))
                / truth.size
            )
            if share >= wanted:
                break
        yield name, (search, share)


def _milliseconds(times: dict[str, float]) -> str:
    return ", ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in times.items())


if __name__ == "__main__":
    main()
