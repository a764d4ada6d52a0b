"""Ranking: the final order of candidate rows, in exact float64 arithmetic on what the database stores.

Every method ends here, so that all of them give the same distances and break ties in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from omop_emb.arrays import Doubles, Floats, Ints, Vectors
from omop_emb.records import MetricType, TextKind

_KIND_ORDER = np.full(256, len(TextKind), np.uint8)
for _order, _kind in enumerate(TextKind):
    _KIND_ORDER[ord(_kind.value)] = _order


@dataclass(frozen=True, slots=True)
class RankedRows:
    """The rows of one query, nearest first, one for each concept; arrays of one length.

    Attributes:
        concept_ids: int32.
        text_kinds, text_hashes: which of the concept's texts is nearest: bytes of length 1, int64.
        distances: float64, in the requested metric.
        similarities: float64, cosine.
    """

    concept_ids: NDArray[np.int32]
    text_kinds: NDArray[np.bytes_]
    text_hashes: Ints
    distances: Doubles
    similarities: Doubles

    def __len__(self) -> int:
        return len(self.concept_ids)

    def nearest(self, k: int) -> RankedRows:
        """The k nearest of them."""
        return self if len(self) <= k else self.part(slice(k))

    def part(self, chosen: slice) -> RankedRows:
        """Some of them."""
        return RankedRows(
            self.concept_ids[chosen],
            self.text_kinds[chosen],
            self.text_hashes[chosen],
            self.distances[chosen],
            self.similarities[chosen],
        )


@dataclass(frozen=True, slots=True)
class CandidateRows:
    """Rows that may be near some queries; arrays of one length.

    Attributes:
        queries: position of the query that each row is a candidate for, ascending.
        concept_ids, text_kinds, text_hashes: the rows' keys.
        vectors: (n, dimensions) float64, exactly as stored.
    """

    queries: NDArray[np.intp]
    concept_ids: NDArray[np.int32]
    text_kinds: NDArray[np.bytes_]
    text_hashes: Ints
    vectors: Doubles


def rank_rows(rows: CandidateRows, queries: Vectors, metric_type: MetricType) -> list[RankedRows]:
    """The rows of each query, nearest first, ties by concept_id, the nearest text of each concept only.

    A concept's texts at the same distance: its name first, then synonyms, codes and aliases.
    """
    exact_queries = queries.astype(np.float64)
    distances, similarities = _distances_and_similarities(
        rows.vectors, exact_queries[rows.queries], _squared_lengths(exact_queries)[rows.queries], metric_type
    )
    kinds = _KIND_ORDER[np.ascontiguousarray(rows.text_kinds).view(np.uint8)]
    order = np.lexsort((rows.text_hashes, kinds, rows.concept_ids, distances, rows.queries))
    concept_ids = rows.concept_ids[order].astype(np.int64) & 0xFFFFFFFF
    # The first row of each (query, concept) in that order.
    _, first = np.unique(rows.queries[order].astype(np.int64) << 32 | concept_ids, return_index=True)
    first.sort()
    order = order[first]
    ends = np.searchsorted(rows.queries[order], np.arange(len(queries) + 1))
    ranked = RankedRows(
        rows.concept_ids[order],
        rows.text_kinds[order],
        rows.text_hashes[order],
        distances[order],
        similarities[order],
    )
    return [ranked.part(slice(start, end)) for start, end in pairwise(ends)]


def rank_few_rows(
    keys: Sequence[tuple[int, str, int]], vectors: Doubles, query: Floats, metric_type: MetricType
) -> tuple[RankedRows, float]:
    """The rows of one query as rank_rows() orders them, and the distance of the farthest of all rows.

    Few plain values are sorted faster than arrays. `keys` are concept_id, text_kind and text_hash.
    """
    exact_query = query.astype(np.float64)[None]
    repeated = np.broadcast_to(exact_query, vectors.shape)
    distances, similarities = _distances_and_similarities(
        vectors, repeated, _squared_lengths(exact_query), metric_type
    )
    ordered = sorted(
        (distance, concept_id, _KIND_ORDER.item(ord(kind)), text_hash, row)
        for row, (distance, (concept_id, kind, text_hash)) in enumerate(
            zip(distances.tolist(), keys, strict=True)
        )
    )
    first_rows: dict[int, int] = {}
    for _, concept_id, _, _, row in ordered:
        first_rows.setdefault(concept_id, row)
    rows = list(first_rows.values())
    ranked = RankedRows(
        np.array(list(first_rows), np.int32),
        np.array([keys[row][1] for row in rows], "S1"),
        np.array([keys[row][2] for row in rows], np.int64),
        distances[rows],
        similarities[rows],
    )
    return ranked, ordered[-1][0]


def _squared_lengths(vectors: Doubles) -> Doubles:
    # Not BLAS: its last bit depends on where in the block a row stands, which would break ties by chance.
    squares: Doubles = np.einsum("ij,ij->i", vectors, vectors)
    return squares


def _distances_and_similarities(
    vectors: Doubles, queries: Doubles, squared_query_lengths: Doubles, metric_type: MetricType
) -> tuple[Doubles, Doubles]:
    """Distance and cosine similarity of each row of `vectors` to the same row of `queries`."""
    products = np.einsum("ij,ij->i", vectors, queries)
    lengths = np.sqrt(_squared_lengths(vectors) * squared_query_lengths)
    similarities = np.minimum(np.maximum(products / lengths, -1.0), 1.0)
    match metric_type:
        case MetricType.COSINE:
            return 1.0 - similarities, similarities
        case MetricType.INNER_PRODUCT:
            return -products, similarities
        case MetricType.L2:
            differences = vectors - queries
            return np.sqrt(np.einsum("ij,ij->i", differences, differences)), similarities
        case MetricType.L1:
            return np.abs(vectors - queries).sum(axis=1), similarities


NO_ROWS = RankedRows(
    np.empty(0, np.int32), np.empty(0, "S1"), np.empty(0, np.int64), np.empty(0), np.empty(0)
)
