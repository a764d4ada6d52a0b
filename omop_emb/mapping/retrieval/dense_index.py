"""Dense retrieval in bulk: a space's vectors in memory, all of them compared, domain by domain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Floats, Ints
from omop_emb.database import binary_format
from omop_emb.mapping.retrieval.lexical_index import Domains
from omop_emb.mapping.retrieval.lexicon import Lexicon
from omop_emb.mapping.retrieval.similarity_products import ROWS, Products, products

_QUERIES = 1024
# A concept has more than one text: so many times k texts are kept to be sure of k concepts.
_TEXTS = 2

Scores = npt.NDArray[Any]


_WAITING = 2
"""Times as many as are kept: so many more scores come before the limit that they beat is raised."""


def _ordered(scores: Scores) -> npt.NDArray[np.int32]:
    """float32 as integers of the same order, and back; integers as they are."""
    if scores.dtype != np.float32:
        return scores
    bits = scores.view(np.int32)
    return np.asarray(bits ^ ((bits >> 31) & 0x7FFFFFFF))


def _narrowed(
    found: list[tuple[Ints, Ints, Scores]], queries: int, keep: int, lowest: float
) -> tuple[tuple[Ints, Ints, Scores], Scores]:
    """(query, row, score) of the `keep` best of each query and what ties with them, and what they beat."""
    query, row, score = (np.concatenate(part) for part in zip(*found, strict=True))
    keys = np.sort((query << 32) + _ordered(score))
    owner = np.arange(queries, dtype=np.int64) << 32
    last = np.searchsorted(keys, owner + (1 << 31))
    first = np.searchsorted(keys, owner - (1 << 31))
    least = (keys[np.maximum(last - keep, 0)] - owner).astype(np.int32)
    if score.dtype == np.float32:
        least = _ordered(least.view(np.float32)).view(np.float32)
    limit = np.where(last - first >= keep, least, np.array(lowest, score.dtype))
    kept = score >= limit[query]
    return (query[kept], row[kept], score[kept]), limit[:, None]


class DenseIndex:
    """Vectors of concepts' texts, as float16, looked at in the order of a lexicon's concepts.

    Args:
        lexicon: the concepts.
        concept_ids: (m,) whose text each vector is; vectors of concepts outside the lexicon are left out.
        vectors: (m, dimensions) unit rows, float16 or float32.
        name: of this lexicon with these vectors in the cache folder; None: nothing is kept there.

    Attributes:
        place: (n,) where in vectors the rows stand that take part, those of one concept side by side.
        concept: (n,) the concept row of each.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        concept_ids: Ints,
        vectors: npt.NDArray[np.floating],
        *,
        name: str | None = None,
    ) -> None:
        rows = lexicon.rows(concept_ids)
        order = np.argsort(rows, kind="stable")
        self.lexicon, self._name = lexicon, name
        self.place = order[rows[order] >= 0]
        self.concept = rows[self.place]
        self.vectors = np.asarray(vectors).astype(np.float16, copy=False)
        self.first = np.searchsorted(self.concept, np.arange(len(lexicon.concept_id) + 1))

    @cached_property
    def _products(self) -> Products:
        return products(self.vectors, self.place, self._name)

    def search(self, queries: Floats, domains: Sequence[Domains], k: Ints | int) -> tuple[Ints, Ints]:
        """(query, concept row) of the k concepts nearest to each query vector in its domains (None: all).

        Args:
            queries: (n, dimensions) unit rows.
            domains: (n,) of each query.
            k: how many, of all or (n,) of each.
        """
        most = np.broadcast_to(k, len(domains))
        groups: dict[Domains, list[int]] = {}
        for place, limits in enumerate(domains):
            groups.setdefault(limits, []).append(place)
        queries_found, concepts_found = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for limits, places in groups.items():
            spans = self._spans(limits)
            for first in range(0, len(places), _QUERIES):
                chosen = np.array(places[first : first + _QUERIES])
                query, concept = self._nearest(queries[chosen], spans, most[chosen])
                queries_found.append(chosen[query])
                concepts_found.append(concept)
        query, concept = np.concatenate(queries_found), np.concatenate(concepts_found)
        order = np.argsort(query, kind="stable")
        return query[order], concept[order]

    def _spans(self, limits: Domains) -> list[tuple[int, int]]:
        if limits is None:
            return [(0, len(self.concept))]
        ranges = (self.lexicon.domain_range(domain) for domain in limits)
        return [(int(self.first[start]), int(self.first[stop])) for start, stop in ranges if stop > start]

    def _nearest(self, queries: Floats, spans: list[tuple[int, int]], k: Ints) -> tuple[Ints, Ints]:
        """(place in queries, concept row) of each query's k nearest, nearest first, equal ones by row."""
        if not len(queries) or not any(stop > start for start, stop in spans):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        query, row, score = self._best(queries, spans, _TEXTS * int(k.max()))
        concept = self.concept[row]
        order = np.lexsort((concept, -score, query))
        query, concept = query[order], concept[order]
        # the best text of a concept counts: the first of the pairs that are the same
        _, new = np.unique(query * (len(self.first) + 1) + concept, return_index=True)
        new.sort()
        query, concept = query[new], concept[new]
        nth = np.arange(len(query)) - np.searchsorted(query, query)
        return query[nth < k[query]], concept[nth < k[query]]

    def _best(self, queries: Floats, spans: list[tuple[int, int]], keep: int) -> tuple[Ints, Ints, Scores]:
        """(place in queries, row, score) of each query's `keep` best rows and what ties with the last."""
        products_of = self._products
        prepared = products_of.prepare(queries)
        limit: Scores | None = None
        found: list[tuple[Ints, Ints, Scores]] = []
        waiting = 0
        for start, stop in spans:
            for at in range(start - start % ROWS, stop, ROWS):
                first, last = max(at, start), min(at + ROWS, stop)
                scores = products_of.block(prepared, first, last)
                if limit is None and scores.shape[1] > keep:
                    limit = np.partition(scores, -keep, axis=1)[:, -keep, None]
                beats = scores >= limit if limit is not None else np.ones(scores.shape, bool)
                flat = np.flatnonzero(beats)
                query, place = np.divmod(flat, scores.shape[1])
                found.append((query, place + first, scores.ravel()[flat]))
                waiting += len(flat)
                if waiting > _WAITING * keep * len(queries):
                    best, limit = _narrowed(found, len(queries), keep, products_of.lowest)
                    found, waiting = [best], 0
        return _narrowed(found, len(queries), keep, products_of.lowest)[0]

    def similarity(self, queries: Floats, concepts: Ints) -> Floats:
        """(queries, concepts) cosine of each query with each concept's best text; 0 where it has none."""
        start, stop = self.first[concepts], self.first[concepts + 1]
        sizes = stop - start
        if not sizes.sum():
            return np.zeros((len(queries), len(concepts)), np.float32)
        begin = np.cumsum(sizes) - sizes
        rows = np.repeat(start - begin, sizes) + np.arange(int(sizes.sum()))
        scores = queries @ binary_format.halves_to_float32(self.vectors[self.place[rows]]).T
        filled = sizes > 0
        result = np.zeros((len(queries), len(concepts)), np.float32)
        result[:, filled] = np.maximum.reduceat(scores, begin[filled], axis=1)
        return result
