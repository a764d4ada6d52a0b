"""Dense retrieval in bulk: a space's vectors in memory, searched exactly, domain by domain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from omop_emb.mapping.lexical import Domains
from omop_emb.mapping.lexicon import Lexicon

_ROWS = 8192
_QUERIES = 512
# A concept has more than one text: so many times k texts are kept to be sure of k concepts.
_TEXTS = 2

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def _largest(scores: Floats, k: int) -> Floats:
    return np.partition(scores, scores.shape[1] - k, axis=1)[:, -k:] if scores.shape[1] > k else scores


class DenseIndex:
    """Vectors of concepts' texts, kept as float16 in the order of a lexicon's concepts.

    Args:
        lexicon: the concepts.
        concept_ids: (m,) whose text each vector is; vectors of concepts outside the lexicon are dropped.
        vectors: (m, dimensions) unit rows, float16 or float32.
    """

    def __init__(self, lexicon: Lexicon, concept_ids: Ints, vectors: npt.NDArray[np.floating]) -> None:
        rows = lexicon.rows(concept_ids)
        order = np.argsort(rows, kind="stable")
        order = order[rows[order] >= 0]
        self.lexicon = lexicon
        self.concept = rows[order]
        self.vectors = vectors[order].astype(np.float16, copy=False)
        self.first = np.searchsorted(self.concept, np.arange(len(lexicon.concept_id) + 1))

    def search(self, queries: Floats, domains: Sequence[Domains], k: int) -> tuple[Ints, Ints]:
        """(query, concept row) of the k concepts nearest to each query vector in its domains (None: all)."""
        found: list[tuple[Ints, Ints, Floats]] = []
        groups: dict[Domains, list[int]] = {}
        for place, limits in enumerate(domains):
            groups.setdefault(limits, []).append(place)
        for limits, places in groups.items():
            spans = self._spans(limits)
            for first in range(0, len(places), _QUERIES):
                chosen = np.array(places[first : first + _QUERIES])
                found.extend((chosen[q], c, s) for q, c, s in self._block(queries[chosen], spans, k))
        if not found:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        query, concept, score = (np.concatenate(part) for part in zip(*found, strict=True))
        # the best text of a concept counts
        order = np.lexsort((-score, concept, query))
        query, concept, score = query[order], concept[order], score[order]
        new = np.ones(len(query), bool)
        new[1:] = (query[1:] != query[:-1]) | (concept[1:] != concept[:-1])
        query, concept, score = query[new], concept[new], score[new]
        order = np.lexsort((concept, -score, query))
        query, concept = query[order], concept[order]
        nth = np.arange(len(query)) - np.searchsorted(query, query)
        return query[nth < k], concept[nth < k]

    def _spans(self, limits: Domains) -> list[tuple[int, int]]:
        if limits is None:
            return [(0, len(self.concept))]
        ranges = (self.lexicon.domain_range(domain) for domain in limits)
        return [(int(self.first[start]), int(self.first[stop])) for start, stop in ranges if stop > start]

    def _block(
        self, queries: Floats, spans: list[tuple[int, int]], k: int
    ) -> list[tuple[Ints, Ints, Floats]]:
        """Everything that beats the k-th best seen so far: a superset of the answer."""
        limit = np.full((len(queries), 1), -np.inf, np.float32)
        kept = np.zeros((len(queries), 0), np.float32)
        found = []
        seen, renew = 0, 1
        for start, stop in spans:
            for at in range(start, stop, _ROWS):
                block = self.vectors[at : min(at + _ROWS, stop)].astype(np.float32)
                scores = queries @ block.T
                query, place = np.nonzero(scores >= limit)
                found.append((query.astype(np.int64), self.concept[place + at], scores[query, place]))
                seen += 1
                if (
                    seen == renew
                ):  # partitioning costs as much as the product: at the 1st, 2nd, 4th … block only
                    renew *= 2
                    top = np.concatenate([kept, _largest(scores, _TEXTS * k)], axis=1)
                    kept = _largest(top, _TEXTS * k)
                    if kept.shape[1] == _TEXTS * k:
                        limit = kept.min(axis=1, keepdims=True)
        return found

    def similarity(self, queries: Floats, concepts: Ints) -> Floats:
        """(queries, concepts) cosine of each query with each concept's best text; 0 where it has none."""
        start, stop = self.first[concepts], self.first[concepts + 1]
        sizes = stop - start
        if not sizes.sum():
            return np.zeros((len(queries), len(concepts)), np.float32)
        begin = np.cumsum(sizes) - sizes
        rows = np.repeat(start - begin, sizes) + np.arange(int(sizes.sum()))
        scores = queries @ self.vectors[rows].astype(np.float32).T
        filled = sizes > 0
        result = np.zeros((len(queries), len(concepts)), np.float32)
        result[:, filled] = np.maximum.reduceat(scores, begin[filled], axis=1)
        return result
