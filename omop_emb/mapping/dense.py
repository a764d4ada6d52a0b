"""Dense retrieval in bulk: a space's vectors in memory, all of them compared, domain by domain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from omop_emb import binary
from omop_emb.mapping.lexical import Domains
from omop_emb.mapping.lexicon import Lexicon
from omop_emb.mapping.products import ROWS, Products, products

_QUERIES = 1024
# A concept has more than one text: so many times k texts are kept to be sure of k concepts.
_TEXTS = 2

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Scores = npt.NDArray[Any]


def _largest(scores: Scores, k: int) -> Scores:
    return np.partition(scores, scores.shape[1] - k, axis=1)[:, -k:] if scores.shape[1] > k else scores


def _above(limit: Scores, query: Ints, row: Ints, score: Scores) -> tuple[Ints, Ints, Scores]:
    kept = score >= limit[query, 0]
    return query[kept], row[kept], score[kept]


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
        found = self._beating(queries, spans, _TEXTS * int(k.max()))
        if not found:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        query, row, score = (np.concatenate(part) for part in zip(*found, strict=True))
        concept = self.concept[row]
        order = np.lexsort((concept, -score, query))
        query, concept = query[order], concept[order]
        # the best text of a concept counts: the first of the pairs that are the same
        _, new = np.unique(query * (len(self.first) + 1) + concept, return_index=True)
        new.sort()
        query, concept = query[new], concept[new]
        nth = np.arange(len(query)) - np.searchsorted(query, query)
        return query[nth < k[query]], concept[nth < k[query]]

    def _beating(
        self, queries: Floats, spans: list[tuple[int, int]], keep: int
    ) -> list[tuple[Ints, Ints, Scores]]:
        """(place in queries, row, score) of at least the `keep` best rows of each query; few others."""
        products_of = self._products
        prepared = products_of.prepare(queries)
        limit = np.full((len(queries), 1), products_of.lowest)
        kept: Scores | None = None
        found: list[tuple[Ints, Ints, Scores]] = []
        seen, renew = 0, 1
        for start, stop in spans:
            for at in range(start - start % ROWS, stop, ROWS):
                first, last = max(at, start), min(at + ROWS, stop)
                scores = products_of.block(prepared, first, last)
                seen += 1
                if seen == renew:
                    # A new limit costs as much as the product: at the 1st, 2nd, 4th … block only, by when
                    # as many have come as are kept.
                    renew *= 2
                    top = _largest(scores, keep)
                    kept = top if kept is None else _largest(np.concatenate([kept, top], axis=1), keep)
                    if kept.shape[1] == keep:
                        limit = kept.min(axis=1, keepdims=True)
                        found = [_above(limit, *part) for part in found]
                flat = np.flatnonzero(scores >= limit)
                query, place = np.divmod(flat, scores.shape[1])
                found.append((query, place + first, scores.ravel()[flat]))
        return [_above(limit, *part) for part in found]

    def similarity(self, queries: Floats, concepts: Ints) -> Floats:
        """(queries, concepts) cosine of each query with each concept's best text; 0 where it has none."""
        start, stop = self.first[concepts], self.first[concepts + 1]
        sizes = stop - start
        if not sizes.sum():
            return np.zeros((len(queries), len(concepts)), np.float32)
        begin = np.cumsum(sizes) - sizes
        rows = np.repeat(start - begin, sizes) + np.arange(int(sizes.sum()))
        scores = queries @ binary.widened(self.vectors[self.place[rows]]).T
        filled = sizes > 0
        result = np.zeros((len(queries), len(concepts)), np.float32)
        result[:, filled] = np.maximum.reduceat(scores, begin[filled], axis=1)
        return result
