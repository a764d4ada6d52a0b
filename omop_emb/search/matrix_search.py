"""Matrix search: exact neighbours of many queries, by blocked products and then float64 on what is left."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from omop_emb.arrays import Doubles, Floats, Ints, Mask, Vectors
from omop_emb.database import binary_format
from omop_emb.records import MetricType
from omop_emb.search import ranking
from omop_emb.search.matrix import VectorMatrix
from omop_emb.search.ranking import CandidateRows, RankedRows
from omop_emb.search.topk import TopK

# Per pass over the rows: enough to make widening float16 one twentieth of the product's time.
QUERIES = 1024
_ROWS = 2048  # per block: widened, they stay near the processor; for one query 8,192 take half as long again
_SLACK = 24  # rows kept beyond k, so that a second pass is rare
_FLOAT32_ERROR = 1e-5  # more than a float32 product of unit rows can be off, at 16,000 dimensions
_RANKED_VALUES = 1 << 24  # compared in float64 at a time: 128 MB

PassingRows = Ints | None
"""Positions of the rows that pass a filter, ascending; None: all do."""


def search_matrix(
    matrix: VectorMatrix, queries: Vectors, *, metric_type: MetricType, k: int, passing: PassingRows = None
) -> list[RankedRows]:
    """The k nearest concepts of each query, exactly; fewer only where fewer pass.

    Args:
        matrix: the rows.
        queries: (n, dimensions) float32, rows of unit length.
        metric_type: COSINE, L2 or INNER_PRODUCT: on unit rows each of them ranks by the product.
        k: how many concepts.
        passing: which rows may be returned.
    """
    ranked: list[RankedRows] = []
    for start in range(0, len(queries), QUERIES):
        ranked += _search(matrix, queries[start : start + QUERIES], metric_type, k, passing, k + _SLACK)
    return ranked


def _search(
    matrix: VectorMatrix, queries: Vectors, metric_type: MetricType, k: int, passing: PassingRows, keep: int
) -> list[RankedRows]:
    total = len(matrix) if passing is None else len(passing)
    keep = min(keep, total)
    if not keep:
        return [ranking.NO_ROWS] * len(queries)
    scores, rows = _largest_products(matrix, queries, passing, keep)
    # Products of rows that are not quite of unit length rank like the metric up to their deviation.
    margin = 3 * matrix.deviation + 2 * _FLOAT32_ERROR
    kth, has_k = kth_concept(matrix.concept_ids[rows], k)
    needed = np.where(has_k, scores[np.arange(len(queries)), kth] - margin, -np.inf)
    is_complete = (scores[:, -1] < needed) | (keep == total)
    results: list[RankedRows] = [ranking.NO_ROWS] * len(queries)
    complete, incomplete = np.flatnonzero(is_complete), np.flatnonzero(~is_complete)
    ranked = _ranked(
        matrix, queries[complete], scores[complete], rows[complete], needed[complete], metric_type
    )
    for query, of_query in zip(complete, ranked, strict=True):
        results[query] = of_query.nearest(k)
    if len(incomplete):
        again = _search(matrix, queries[incomplete], metric_type, k, passing, keep * 4)
        for query, of_query in zip(incomplete, again, strict=True):
            results[query] = of_query
    return results


def kth_concept(concept_ids: NDArray[np.int32], k: int) -> tuple[NDArray[np.intp], Mask]:
    """In each row of ids: the column by which k different ones have been seen, and whether so many are."""
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
    queries: Vectors,
    scores: Floats,
    rows: Ints,
    needed: Doubles,
    metric_type: MetricType,
) -> Iterator[RankedRows]:
    step = max(1, _RANKED_VALUES // (scores.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        query, column = np.nonzero(scores[part] >= needed[part, None])
        chosen = rows[part][query, column]
        keys = matrix.keys[chosen]
        candidates = CandidateRows(
            queries=query,
            concept_ids=keys["concept_id"],
            text_kinds=keys["text_kind"],
            text_hashes=keys["text_hash"],
            vectors=binary_format.halves_to_float32(matrix.vectors[chosen]).astype(np.float64),
        )
        yield from ranking.rank_rows(candidates, queries[part], metric_type)


def _largest_products(
    matrix: VectorMatrix, queries: Vectors, passing: PassingRows, keep: int
) -> tuple[Floats, Ints]:
    """(queries, keep) the largest products of each query, largest first, and the rows that they are with."""
    total = len(matrix) if passing is None else len(passing)
    top = TopK(len(queries), keep)
    buffer = np.empty(len(queries) * min(_ROWS, total), np.float32)
    for start in range(0, total, _ROWS):
        stop = min(start + _ROWS, total)
        vectors = matrix.vectors[start:stop] if passing is None else matrix.vectors[passing[start:stop]]
        products = buffer[: len(queries) * (stop - start)].reshape(len(queries), stop - start)
        np.matmul(queries, binary_format.halves_to_float32(vectors).T, out=products)
        top.add(products, start)
    scores, rows = top.table()
    return scores, rows if passing is None else passing[rows]
