"""The final order of rows that were found: exact arithmetic in float64 on what the database stores.

Every way of searching ends here, so that all of them give the same distances and break ties alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from omop_emb.records import MetricType, TextKind

_KIND_ORDER = np.full(256, len(TextKind), np.uint8)
for _place, _kind in enumerate(TextKind):
    _KIND_ORDER[ord(_kind.value)] = _place


@dataclass(frozen=True, slots=True)
class RankedRows:
    """What was found for one query: nearest first, one row a concept; arrays of one length.

    Attributes:
        concept_ids: int32.
        text_kinds, text_hashes: which of the concept's texts was hit: bytes of length 1, int64.
        distances: float64, in the metric that was asked for.
        similarities: float64, cosine.
    """

    concept_ids: NDArray[np.int32]
    text_kinds: NDArray[np.bytes_]
    text_hashes: NDArray[np.int64]
    distances: NDArray[np.float64]
    similarities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.concept_ids)


@dataclass(frozen=True, slots=True)
class CandidateRows:
    """Rows of a space that may be near some queries; arrays of one length, in any order.

    Attributes:
        queries: position of the query that each row was found for, ascending.
        concept_ids, text_kinds, text_hashes: the rows' keys.
        vectors: (n, dimensions) float64, exactly as stored.
    """

    queries: NDArray[np.intp]
    concept_ids: NDArray[np.int32]
    text_kinds: NDArray[np.bytes_]
    text_hashes: NDArray[np.int64]
    vectors: NDArray[np.float64]


def squared_lengths(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) the square of each row's length."""
    # Not BLAS: its last bit depends on where in the block a row stands, which would break ties by chance.
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors)
    return squares


def distances_and_similarities(
    vectors: NDArray[np.float64],
    wanted: NDArray[np.float64],
    wanted_squares: NDArray[np.float64],
    metric_type: MetricType,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance and cosine similarity of each row of `vectors` to the same row of `wanted`.

    `wanted_squares` are the squares of these rows' lengths.
    """
    products = np.einsum("ij,ij->i", vectors, wanted)
    squares = squared_lengths(vectors)
    similarities = np.minimum(np.maximum(products / np.sqrt(squares * wanted_squares), -1.0), 1.0)
    match metric_type:
        case MetricType.COSINE:
            return 1.0 - similarities, similarities
        case MetricType.INNER_PRODUCT:
            return -products, similarities
        case MetricType.L2:
            differences = vectors - wanted
            return np.sqrt(np.einsum("ij,ij->i", differences, differences)), similarities
        case MetricType.L1:
            return np.abs(vectors - wanted).sum(axis=1), similarities


def rank_rows(rows: CandidateRows, queries: NDArray[np.float32], metric_type: MetricType) -> list[RankedRows]:
    """The rows of each query, nearest first, ties by concept_id, the nearest text of each concept only.

    A concept's texts at the same distance: its name first, then synonyms, codes and aliases.
    """
    wanted = queries.astype(np.float64)
    distances, similarities = distances_and_similarities(
        rows.vectors, wanted[rows.queries], squared_lengths(wanted)[rows.queries], metric_type
    )
    kinds = _KIND_ORDER[np.ascontiguousarray(rows.text_kinds).view(np.uint8)]
    order = np.lexsort((rows.text_hashes, kinds, rows.concept_ids, distances, rows.queries))
    # The first row of each (query, concept) in that order.
    concepts = rows.queries[order].astype(np.int64) << 32 | (
        rows.concept_ids[order].astype(np.int64) & 0xFFFFFFFF
    )
    firsts = np.unique(concepts, return_index=True)[1]
    firsts.sort()
    kept = order[firsts]
    ends = np.searchsorted(rows.queries[kept], np.arange(len(queries) + 1))
    ids, hashes = rows.concept_ids[kept], rows.text_hashes[kept]
    text_kinds, near, alike = rows.text_kinds[kept], distances[kept], similarities[kept]
    return [
        RankedRows(ids[start:end], text_kinds[start:end], hashes[start:end], near[start:end], alike[start:end])
        for start, end in pairwise(ends)
    ]


def rank_few_rows(
    keys: Sequence[tuple[int, str, int]],
    vectors: NDArray[np.float64],
    query: NDArray[np.float32],
    metric_type: MetricType,
) -> tuple[RankedRows, float]:
    """The rows of one query as rank() orders them, and the distance of the farthest of all rows.

    They are few: plain values are sorted sooner than arrays. `keys` are concept_id, text_kind and text_hash.
    """
    wanted = query.astype(np.float64)[None]
    every = np.broadcast_to(wanted, vectors.shape)
    distances, similarities = distances_and_similarities(vectors, every, squared_lengths(wanted), metric_type)
    firsts: dict[int, int] = {}
    ordered = sorted(
        (distance, concept_id, _KIND_ORDER.item(ord(kind)), text_hash, place)
        for place, (distance, (concept_id, kind, text_hash)) in enumerate(
            zip(distances.tolist(), keys, strict=True)
        )
    )
    for _, concept_id, _, _, place in ordered:
        firsts.setdefault(concept_id, place)
    kept = list(firsts.values())
    hits = RankedRows(
        np.array(list(firsts), np.int32),
        np.array([keys[place][1] for place in kept], "S1"),
        np.array([keys[place][2] for place in kept], np.int64),
        distances[kept],
        similarities[kept],
    )
    return hits, ordered[-1][0]


def first(hits: RankedRows, k: int) -> RankedRows:
    """The k nearest of the hits."""
    if len(hits) <= k:
        return hits
    return RankedRows(
        hits.concept_ids[:k],
        hits.text_kinds[:k],
        hits.text_hashes[:k],
        hits.distances[:k],
        hits.similarities[:k],
    )


NO_ROWS = RankedRows(np.empty(0, np.int32), np.empty(0, "S1"), np.empty(0, np.int64), np.empty(0), np.empty(0))
