"""Fewer rows: what is found of the 100 nearest if only some rows, dimensions or bits are compared first."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from ratios import Ratio, options, report
from search_data import Data, clustered, real, unit
from search_run import add_real_data

K = 100
_ROUNDS = 8  # of k-means
_SAMPLE = 48  # rows of a cluster that k-means learns from
_BLOCK = 20_000

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]


def main() -> None:
    chosen = options(__doc__ or "", _arguments)
    if chosen.names:
        data = real(chosen.names, chosen.terms, None, chosen.queries)
    else:
        data = clustered(chosen.rows, 384, chosen.queries)
    truth = _largest(_products(data.queries, data.rows), K)
    report(f"fewer rows, {data.name}", list(_recalls(data, truth)), chosen)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=100_000, help="of the made-up data")
    parser.add_argument("--queries", type=int, default=300)
    add_real_data(parser)


def _recalls(data: Data, truth: Ints) -> Iterator[Ratio]:
    for clusters in (256, 1024):
        for share in (0.03, 0.06, 0.1, 0.2):
            value = _recall_of_clusters(data, truth, clusters, share)
            yield Ratio(f"{clusters} clusters, {share:.0%} of the rows", value, at_least=0.98, unit="")
    sample = data.rows[:: max(1, len(data.rows) // 50_000)].astype(np.float64)
    axes = np.linalg.eigh(sample.T @ sample)[1][:, ::-1].astype(np.float32)
    for dimensions in (64, 128):
        queries, rows = (vectors @ axes[:, :dimensions] for vectors in (data.queries, data.rows))
        yield from _kept(f"{dimensions} principal dimensions", _products(queries, rows), truth)
    middle, turned = data.rows.mean(axis=0), _rotation(data.dimensions)
    queries, rows = (np.sign((vectors - middle) @ turned) for vectors in (data.queries, data.rows))
    yield from _kept("signs", _products(queries, rows), truth)


def _kept(name: str, scores: Floats, truth: Ints) -> Iterator[Ratio]:
    """The recall if so many of the first pass are compared in full."""
    for kept in (500, 1000, 2000, 5000):
        found = _largest(scores, kept)
        shares = [np.isin(near, of_query).mean() for near, of_query in zip(truth, found, strict=True)]
        yield Ratio(f"{name}, {kept:,} compared in full", float(np.mean(shares)), at_least=0.98, unit="")


def _recall_of_clusters(data: Data, truth: Ints, clusters: int, share: float) -> float:
    """The recall if each query's nearest clusters are compared, until they have a share of all rows."""
    centres = _centres(data.rows, clusters)
    cluster = _nearest(centres, data.rows)
    order = np.argsort(-(data.queries @ centres.T), axis=1)
    rows_before = np.cumsum(np.bincount(cluster, minlength=clusters)[order], axis=1)
    opened = (rows_before < share * len(data.rows)).sum(axis=1) + 1
    found = [
        np.isin(cluster[near], of_query[:count]).mean()
        for near, of_query, count in zip(truth, order, opened, strict=True)
    ]
    return float(np.mean(found))


def _centres(rows: Floats, clusters: int) -> Floats:
    """Unit centres of clusters by spherical k-means, from a sample of the rows."""
    random = np.random.default_rng(0)
    size = min(len(rows), _SAMPLE * clusters)
    sample = rows[np.sort(random.choice(len(rows), size, replace=False))]
    centres = sample[random.choice(size, clusters, replace=False)]
    for _ in range(_ROUNDS):
        nearest = _nearest(centres, sample)
        order = np.argsort(nearest, kind="stable")
        numbers, begins = np.unique(nearest[order], return_index=True)
        centres = centres.copy()  # an empty cluster keeps its centre
        centres[numbers] = unit(np.add.reduceat(sample[order], begins, axis=0))
    return centres


def _rotation(dimensions: int) -> Floats:
    random = np.random.default_rng(0).standard_normal((dimensions, dimensions))
    return np.linalg.qr(random)[0].astype(np.float32)


def _products(queries: Floats, rows: Floats) -> Floats:
    return np.asarray(queries @ rows.T, np.float32)


def _nearest(centres: Floats, rows: Floats) -> Ints:
    starts = range(0, len(rows), _BLOCK)
    return np.concatenate([(rows[start : start + _BLOCK] @ centres.T).argmax(axis=1) for start in starts])


def _largest(scores: Floats, k: int) -> Ints:
    return np.argpartition(-scores, k, axis=1)[:, :k]


if __name__ == "__main__":
    main()
