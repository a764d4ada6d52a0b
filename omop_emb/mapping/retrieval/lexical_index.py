"""Lexical retrieval in bulk: the vocabulary's texts as sparse rows, the best k for many queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.retrieval.lexicon import Lexicon
from omop_emb.mapping.retrieval.tfidf import Grams, Words, grams
from omop_emb.mapping.terms.words import normal

Domains = tuple[str, ...] | None

# A query is searched by its rarest grams: at least so many, and as many as stand in so many texts together.
# Common ones choose little and cost most; they come back in when candidates are scored.
LEAST_GRAMS, MOST_POSTINGS = 4, 100_000
_GROUPS = 4  # times k: of how many groups of scores the largest are looked at first


def hashes(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each text, the same on every machine."""
    if not len(texts):
        return np.zeros(0, np.uint64)
    return pd.util.hash_array(np.array(texts, dtype=object), categorize=False)


def best(scores: sparse.csr_matrix, k: int) -> tuple[Ints, Ints, Floats]:
    """(row, column, value) of the k largest entries of each row, largest first, equal ones by column."""
    rows: list[Ints] = [np.zeros(0, np.int64)]
    columns: list[Ints] = [np.zeros(0, np.int64)]
    values: list[Floats] = [np.zeros(0, np.float32)]
    for row in range(scores.shape[0]):
        start, stop = scores.indptr[row], scores.indptr[row + 1]
        data, places = scores.data[start:stop], scores.indices[start:stop]
        if len(data) > k:
            # everything that ties with the k-th stays in until ties are broken by column
            limit = np.partition(data, len(data) - k)[len(data) - k]
            chosen = np.flatnonzero(data >= limit)
            data, places = data[chosen], places[chosen]
        order = np.lexsort((places, -data))[:k]
        columns.append(places[order].astype(np.int64))
        values.append(data[order])
        rows.append(np.full(len(order), row, np.int64))
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(values)


def rarest(queries: sparse.csr_matrix, frequency: Ints) -> sparse.csr_matrix:
    """Queries with their rarest grams alone; frequency: in how many texts each gram stands."""
    counts = frequency[queries.indices]
    owner = np.repeat(np.arange(queries.shape[0]), np.diff(queries.indptr))
    order = np.lexsort((queries.indices, counts, owner))
    start = np.repeat(queries.indptr[:-1], np.diff(queries.indptr))
    total = np.cumsum(counts[order])
    before = np.concatenate([[0], total])[start]
    kept = (total - before <= MOST_POSTINGS) | (np.arange(len(order)) - start < LEAST_GRAMS)
    chosen = np.sort(order[kept])
    sizes = np.bincount(owner[chosen], minlength=queries.shape[0])
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    return sparse.csr_matrix((queries.data[chosen], queries.indices[chosen], indptr), shape=queries.shape)


def largest(scores: Floats, k: int) -> tuple[Ints, Floats]:
    """(place, value) of the k largest positive scores, largest first, equal ones by place."""
    groups = _GROUPS * k
    limit = np.float32(0)
    if len(scores) > 2 * groups:
        # The k-th of the groups' largest is no more than the k-th of all: few scores are left to be sorted.
        tops = scores[: len(scores) // groups * groups].reshape(-1, groups).max(axis=0)
        limit = np.partition(tops, groups - k)[groups - k]
    places = np.flatnonzero(scores >= limit) if limit > 0 else np.flatnonzero(scores)
    values = scores[places]
    order = np.lexsort((places, -values))[:k]
    return places[order], values[order]


@dataclass(frozen=True, eq=False)
class _Part:
    """The texts of a domain, or all: their rows, and for each gram which of its postings are theirs."""

    start: int
    stop: int
    first: Ints
    last: Ints


class LexicalIndex:
    """All texts of a lexicon, searchable by 3-grams and comparable word by word.

    Args:
        lexicon: what is indexed.
        known: how rare grams and words are in the vocabulary that it is a part of; None: it is the whole.

    Attributes:
        lexicon: what was indexed.
        gram_rows: (t, grams) TF-IDF rows of unit length.
        word_rows: (t, words) idf of each text's words.
        word_total: (t,) sum of a text's idf.
        text_hash: (t,) hash of the normal text; equal for texts that read alike.
        exact_hash: (t,) hash of the text as it stands.
    """

    def __init__(self, lexicon: Lexicon, known: tuple[Grams, Words] | None = None) -> None:
        self.lexicon = lexicon
        texts = [normal(text) for text in lexicon.texts]
        counts = grams(texts)
        self.grams = Grams.learn(counts) if known is None else known[0]
        self.gram_rows = self.grams.weigh(counts)
        del counts
        self._postings = self.gram_rows.T.tocsr()  # (grams, texts): the texts of each gram, ascending
        self.words, self.word_rows = Words.learn(texts) if known is None else (known[1], known[1].rows(texts))
        self.word_total = np.asarray(self.word_rows.sum(axis=1), np.float32).ravel()
        self.word_count = np.diff(self.word_rows.indptr).astype(np.float32)
        self.text_hash = hashes(texts)
        self.exact_hash = hashes(list(lexicon.texts))
        self._hash_order = np.argsort(self.text_hash, kind="stable")
        self._sorted_hash = self.text_hash[self._hash_order]
        self._parts: dict[str, _Part] = {}

    def encode(self, normal_texts: Sequence[str]) -> sparse.csr_matrix:
        """(n, grams) TF-IDF rows of queries."""
        return self.grams.weigh(grams(normal_texts))

    def _part(self, domain: str) -> _Part:
        """Where a domain's texts stand ("": all texts)."""
        if domain not in self._parts:
            postings = self._postings
            start, stop = 0, self.gram_rows.shape[0]
            first, last = postings.indptr[:-1], postings.indptr[1:]
            if domain:
                rows = self.lexicon.domain_range(domain)
                start, stop = (int(self.lexicon.first_text[row]) for row in rows)
                grams_of = self.gram_rows.indices[slice(*self.gram_rows.indptr[[start, stop]])]
                count = np.bincount(grams_of, minlength=len(first))
                before = np.bincount(
                    self.gram_rows.indices[: self.gram_rows.indptr[start]], minlength=len(first)
                )
                first = first + before
                last = first + count
            self._parts[domain] = _Part(start, stop, first.astype(np.int64), last.astype(np.int64))
        return self._parts[domain]

    def search(
        self, queries: sparse.csr_matrix, domains: Sequence[Domains], k: Ints | int
    ) -> tuple[Ints, Ints]:
        """(query, text row) of the best k texts (of all, or (n,) of each) in its domains (None: all)."""
        most = np.broadcast_to(k, len(domains))
        wanted: dict[str, list[int]] = {}
        for place, limits in enumerate(domains):
            for domain in ("",) if limits is None else limits:
                if not domain or domain in self.lexicon.domains:
                    wanted.setdefault(domain, []).append(place)
        found: list[tuple[Ints, Ints, Floats]] = []
        scores = np.empty(self.gram_rows.shape[0], np.float32)
        for domain, places in wanted.items():
            part = self._part(domain)
            asked = rarest(queries[np.array(places)], part.last - part.first)
            for number, place in enumerate(places):
                grams_of = slice(asked.indptr[number], asked.indptr[number + 1])
                self._add_up(part, asked.indices[grams_of], asked.data[grams_of], scores)
                texts, values = largest(scores[part.start : part.stop], int(most[place]))
                found.append((np.full(len(texts), place), texts + part.start, values))
        if not found:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        query, text, score = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.lexsort((text, -score, query))
        query, text = query[order], text[order]
        nth = np.arange(len(query)) - np.searchsorted(query, query)
        kept = nth < most[query]
        return query[kept], text[kept]

    def _add_up(
        self,
        part: _Part,
        grams_of: npt.NDArray[np.int32],
        weights: Floats,
        scores: Floats,
    ) -> None:
        """Set the scores of a part's texts to their products with a query's grams."""
        postings = self._postings
        scores[part.start : part.stop] = 0
        firsts, lasts = part.first[grams_of].tolist(), part.last[grams_of].tolist()
        for first, last, weight in zip(firsts, lasts, weights, strict=True):
            # six times as fast as a product of sparse matrices, which counts the result's places first
            np.add.at(scores, postings.indices[first:last], postings.data[first:last] * weight)

    def exact(self, normal_hashes: npt.NDArray[np.uint64], limit: int = 50) -> tuple[Ints, Ints]:
        """(query, text row) of the texts that read exactly like a query, at most `limit` a query."""
        left = np.searchsorted(self._sorted_hash, normal_hashes, "left")
        right = np.minimum(np.searchsorted(self._sorted_hash, normal_hashes, "right"), left + limit)
        sizes = right - left
        query = np.repeat(np.arange(len(normal_hashes)), sizes)
        offset = np.arange(len(query)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return query, self._hash_order[np.repeat(left, sizes) + offset]
