"""Exact neighbours of many queries at once: blocked products with a matrix, then float64 on what is left."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from omop_emb.database import binary_format
from omop_emb.records import MetricType
from omop_emb.search import ranking
from omop_emb.search.matrix import VectorMatrix
from omop_emb.search.ranking import RankedRows, CandidateRows
from omop_emb.search.topk import TopK

QUERIES = 1024  # per pass over the rows: enough to make widening float16 one twentieth of the product's time
_ROWS = 2048  # per block: widened, they stay near the processor; for one query 8,192 take half as long again
_SLACK = 24  # rows kept beyond k, so that a second pass is rare
_FLOAT32_ERROR = 1e-5  # more than a float32 product of unit rows can be off, at 16,000 dimensions
_RANKED = 1 << 24  # values that are compared in float64 at a time: 128 MB

Passing = NDArray[np.intp] | None
"""Positions of the rows that pass a filter, ascending; None: all do."""


def search_matrix(
    matrix: VectorMatrix, queries: NDArray[np.float32], *, metric_type: MetricType, k: int, passing: Passing = None
) -> list[RankedRows]:
    """The k nearest concepts of each query, exactly; fewer only where fewer pass.

    Args:
        matrix: the rows.
        queries: (n, dimensions) float32, rows of unit length.
        metric_type: COSINE, L2 or INNER_PRODUCT: on unit rows each of them ranks by the product.
        k: how many concepts.
        passing: which rows may be returned.
    """
    found: list[RankedRows] = []
    for start in range(0, len(queries), QUERIES):
        found += _nearest(matrix, queries[start : start + QUERIES], metric_type, k, passing, k + _SLACK)
    return found


def _nearest(
    matrix: VectorMatrix,
    queries: NDArray[np.float32],
    metric_type: MetricType,
    k: int,
    passing: Passing,
    keep: int,
) -> list[RankedRows]:
    total = len(matrix) if passing is None else len(passing)
    keep = min(keep, total)
    if not keep:
        return [ranking.NO_ROWS] * len(queries)
    scores, places = _largest_products(matrix, queries, passing, keep)
    # Products of rows that are not quite of unit length rank like the metric up to their deviation.
    margin = 3 * matrix.deviation + 2 * _FLOAT32_ERROR
    kth, enough = _kth_concept(matrix.concept_ids[places], k)
    needed = np.where(enough, scores[np.arange(len(queries)), kth] - margin, -np.inf)
    complete = (scores[:, -1] < needed) | (keep == total)
    hits: list[RankedRows] = [ranking.NO_ROWS] * len(queries)
    done = np.flatnonzero(complete)
    for query, found in zip(
        done,
        _ranked(matrix, queries[done], scores[done], places[done], needed[done], metric_type),
        strict=True,
    ):
        hits[query] = ranking.first(found, k)
    left = np.flatnonzero(~complete)
    if len(left):
        again = _nearest(matrix, queries[left], metric_type, k, passing, keep * 4)
        for query, found in zip(left, again, strict=True):
            hits[query] = found
    return hits


def _kth_concept(concept_ids: NDArray[np.int32], k: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """In each row of ids: the position by which k different ones have been seen, and whether so many are."""
    order = np.argsort(concept_ids, axis=1, kind="stable")
    ordered = np.take_along_axis(concept_ids, order, axis=1)
    new = np.ones(ordered.shape, np.bool_)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    is_first = np.empty_like(new)
    np.put_along_axis(is_first, order, new, axis=1)
    seen = np.cumsum(is_first, axis=1)
    return np.argmax(seen >= k, axis=1), seen[:, -1] >= k


def _ranked(
    matrix: VectorMatrix,
    queries: NDArray[np.float32],
    scores: NDArray[np.float32],
    places: NDArray[np.intp],
    needed: NDArray[np.float64],
    metric_type: MetricType,
) -> Iterator[RankedRows]:
    step = max(1, _RANKED // (scores.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        query, column = np.nonzero(scores[part] >= needed[part, None])
        chosen = places[part][query, column]
        keys = matrix.keys[chosen]
        rows = CandidateRows(
            queries=query,
            concept_ids=keys["concept_id"],
            text_kinds=keys["text_kind"],
            text_hashes=keys["text_hash"],
            vectors=binary_format.halves_to_float32(matrix.vectors[chosen]).astype(np.float64),
        )
        yield from ranking.rank_rows(rows, queries[part], metric_type)


def _largest_products(
    matrix: VectorMatrix, queries: NDArray[np.float32], passing: Passing, keep: int
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """The `keep` largest products of each query, largest first, and the rows that they are with."""
    total = len(matrix) if passing is None else len(passing)
    best = TopK(len(queries), keep)
    buffer = np.empty((len(queries), min(_ROWS, total)), np.float32)
    for start in range(0, total, _ROWS):
        stop = min(start + _ROWS, total)
        chosen = matrix.vectors[start:stop] if passing is None else matrix.vectors[passing[start:stop]]
        products = (
            buffer if stop - start == buffer.shape[1] else np.empty((len(queries), stop - start), np.float32)
        )
        np.matmul(queries, binary_format.halves_to_float32(chosen).T, out=products)
        best.add(products, start)
    scores, places = best.table()
    return scores, places if passing is None else passing[places]
