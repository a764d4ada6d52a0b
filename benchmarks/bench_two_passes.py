"""First passes: an index over the first dimensions or the signs, its size, time and recall."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator

import numpy as np
from ratios import Ratio, embedded_server, options, report
from search_data import (
    Data,
    Searched,
    nearest,
    processor_seconds,
    real,
    rebuilt,
    recall,
    searched,
    seconds_each,
    unit,
)
from search_run import add_real_data
from threadpoolctl import threadpool_limits

from omop_emb import IndexType
from omop_emb.database.engine import driver_connection
from omop_emb.search import measured_recall, vector_indexes
from omop_emb.search.vector_indexes import IndexSettings


def main() -> None:
    chosen = options(__doc__ or "", _arguments)
    logging.disable(logging.WARNING)  # no prefix is needed where vectors are given
    threadpool_limits(1)
    if chosen.names:
        data = _principal(real(chosen.names, chosen.terms, chosen.rows, chosen.queries))
    else:
        data = _nested(chosen)
    with embedded_server() as conninfo:
        report("search, two passes", list(_passes(conninfo, data)), chosen)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dimensions", type=int, default=1536, help="of the synthetic data")
    parser.add_argument("--queries", type=int, default=200)
    add_real_data(parser)


def _principal(data: Data) -> Data:
    """The same vectors rotated to their principal axes: no product changes, the first dimensions hold most.

    That is the best order that any rotation can give, and what a Matryoshka model is trained to approach.
    """
    sample = data.rows[:: max(1, len(data.rows) // 20_000)].astype(np.float64)
    axes = np.linalg.eigh(sample.T @ sample)[1][:, ::-1]
    rotated = [unit(vectors @ axes) for vectors in (data.rows, data.queries)]
    return Data(f"{data.name}, principal axes", *rotated, data.row_clusters, data.query_clusters)


def _nested(chosen: argparse.Namespace) -> Data:
    """Clusters of clusters of clusters: the first dimensions separate the coarse ones, all the fine ones.

    The scale of a dimension falls with the square root of its index, so that the share of the first N in a
    vector's squared length grows with the logarithm of N, unlike with PCA or with noise alone.
    """
    random = np.random.default_rng(3)
    dimensions = chosen.dimensions
    scale = 1 / np.sqrt(8 + np.arange(dimensions))
    total = chosen.rows + chosen.queries
    rows = np.zeros((total, dimensions), np.float32)
    for clusters in (30, 1000, total // 8):
        centres = random.normal(size=(clusters, dimensions)).astype(np.float32)
        rows += centres[random.integers(0, clusters, total)]
    rows += random.normal(size=rows.shape)
    rows = unit(rows * scale)
    no_cluster = np.full(total, -1)
    return Data(
        f"{chosen.rows // 1000}k nested x {dimensions}",
        rows[: chosen.rows],
        rows[chosen.rows :],
        no_cluster[: chosen.rows],
        no_cluster[chosen.rows :],
    )


def _passes(conninfo: str, data: Data) -> Iterator[Ratio]:
    truth = nearest(data, data.queries)
    first = data.dimensions // 4
    square_share = float(np.mean(np.sum(data.rows[:2000, :first].astype(np.float64) ** 2, axis=1)))
    alone = unit(data.rows[:, :first])
    short = Data(data.name, alone, unit(data.queries[:, :first]), data.row_clusters, data.query_clusters)
    same = [
        len({*a} & {*b}) for a, b in zip(nearest(short, short.queries).tolist(), truth.tolist(), strict=True)
    ]
    yield Ratio(
        f"{data.name}: of the 10 nearest, found by the first {first} dimensions alone",
        sum(same) / truth.size,
        unit="",
        detail=f"these hold {square_share:.2f} of a vector's squared length",
    )
    with searched(conninfo, data, IndexType.HNSW) as hnsw:
        full = _measured(hnsw, data)
        yield _ratio(data, "full index", full, full, recall(_found(hnsw, data), truth))
        for first_pass in (str(data.dimensions // 2), str(first), "binary"):
            other = rebuilt(hnsw, IndexSettings(first_pass=first_pass, partial="none"))
            yield _ratio(
                data,
                f"first pass {first_pass}",
                _measured(other, data),
                full,
                recall(_found(other, data), truth),
            )


def _ratio(
    data: Data, name: str, figures: tuple[float, ...], full: tuple[float, ...], share_found: float
) -> Ratio:
    cost, wall_clock, size, build_seconds, candidates = figures
    return Ratio(
        f"{data.name}, {name}: recall at 10",
        share_found,
        unit="",
        detail=(
            f"{candidates:.0f} candidates, {cost * 1e3:.1f} ms ({cost / full[0]:.2f}x), by the clock "
            f"{wall_clock * 1e3:.1f} ms; index {size / 1e6:.0f} MB ({size / full[2]:.2f}x), "
            f"built and measured in {build_seconds:.0f} s"
        ),
    )


def _measured(hnsw: Searched, data: Data) -> tuple[float, ...]:
    """Processor seconds and seconds by the clock of a search; the index's bytes and seconds; candidates."""
    hnsw.without_workers()
    before = processor_seconds(hnsw.session)
    wall_clock = float(np.median(seconds_each(lambda n: hnsw(data.queries[n : n + 1]), len(data.queries))))
    cost = (processor_seconds(hnsw.session) - before) / len(data.queries)
    (index,) = vector_indexes.existing_indexes(driver_connection(hnsw.session), hnsw.space)
    return (
        cost,
        wall_clock,
        index.bytes,
        hnsw.seconds,
        measured_recall.ef_search_for(hnsw.space, 10, None)[0] or 0,
    )


def _found(hnsw: Searched, data: Data) -> list:
    return [hnsw(query[None])[0] for query in data.queries]


if __name__ == "__main__":
    main()
