"""Lexical index: a vocabulary's texts by character 3-grams and words, searched for many queries at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from omop_emb.arrays import Floats, Ints, Mask
from omop_emb.mapping.retrieval import spilled_array
from omop_emb.mapping.retrieval.lexicon import SYNONYM, Lexicon
from omop_emb.mapping.retrieval.tfidf import GramWeights, WordWeights, count_grams
from omop_emb.mapping.terms.harvested_abbreviations import harvest
from omop_emb.mapping.terms.words import normalise
from omop_emb.search.topk import largest, rank_in_group

Domains = tuple[str, ...] | None
"""The domains that a query's concept may be in; None: any."""

# A query is searched by its rarest grams: at least MIN_GRAMS, and more while together they have no more than
# MAX_POSTINGS texts. Common grams cost most and select little; they count again when candidates are scored.
MIN_GRAMS, MAX_POSTINGS = 4, 100_000
# With so many texts for each posting, it is faster to look up the postings' texts than to go through all.
SPARSE = 10


def hash_texts(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each text, the same on every machine."""
    # surrogatepass: a source may have half a pair, which is a text like any other.
    digests = (
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts
    )
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def expand_spans(start: Ints, sizes: Ints) -> tuple[Ints, Ints]:
    """(span, row) of every row in spans that begin at `start`, span by span."""
    span = np.repeat(np.arange(len(start)), sizes)
    return span, np.repeat(start, sizes) + rank_in_group(span)


def find_hashes(
    sorted_hashes: npt.NDArray[np.uint64], hashes: npt.NDArray[np.uint64], limit: int | None = None
) -> tuple[Ints, Ints]:
    """(query, position in the sorted hashes) of every equal pair, at most `limit` per query."""
    start = np.searchsorted(sorted_hashes, hashes, "left")
    sizes = np.searchsorted(sorted_hashes, hashes, "right") - start
    if limit is not None:
        sizes = np.minimum(sizes, limit)
    return expand_spans(start, sizes)


def _positions(values: npt.NDArray[np.int32], first: Ints, last: Ints, value: int) -> Ints:
    """Where a value belongs in each of many spans of ascending values."""
    first, last = first.astype(np.int64), last.astype(np.int64)
    while (is_open := first < last).any():
        middle = (first + last) // 2
        is_less = is_open & (values[np.minimum(middle, len(values) - 1)] < value)
        first, last = np.where(is_less, middle + 1, first), np.where(is_less, last, middle)
    return first


def rarest_grams(queries: sparse.csr_matrix, frequency: Ints) -> sparse.csr_matrix:
    """Queries reduced to their rarest grams; frequency: the number of texts with each gram."""
    counts = frequency[queries.indices]
    sizes = np.diff(queries.indptr)
    owner = np.repeat(np.arange(queries.shape[0]), sizes)
    order = np.lexsort((queries.indices, counts, owner))
    start = np.repeat(queries.indptr[:-1], sizes)
    total = np.concatenate([[0], np.cumsum(counts[order])])
    postings = total[1:] - total[start]
    chosen = order[(postings <= MAX_POSTINGS) | (np.arange(len(order)) - start < MIN_GRAMS)]
    chosen.sort()
    indptr = np.concatenate([[0], np.cumsum(np.bincount(owner[chosen], minlength=queries.shape[0]))])
    return sparse.csr_matrix((queries.data[chosen], queries.indices[chosen], indptr), shape=queries.shape)


@dataclass(frozen=True, eq=False)
class DomainPart:
    """The texts of a domain, or all: their text rows, and for each gram the span of its postings in them."""

    start: int
    stop: int
    first: Ints
    last: Ints


class LexicalIndex:
    """All texts of a lexicon, searchable by 3-grams and comparable word by word; t texts."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        texts = [normalise(text) for text in lexicon.texts]
        self.grams, self.text_grams = GramWeights.fit(texts)
        self._length = self.text_grams.length.astype(np.float32)
        self.words, self.word_rows = WordWeights.fit(texts)  # word_rows: (t, words) idf
        self.word_total = np.asarray(self.word_rows.sum(axis=1), np.float32).ravel()  # (t,) sum of idf
        self.word_count = np.diff(self.word_rows.indptr).astype(np.float32)  # (t,) distinct words
        self.text_hash = hash_texts(texts)  # (t,) of the normal texts
        del texts  # a gigabyte at ten million concepts
        self.exact_hash = hash_texts(lexicon.texts)  # (t,) of the unchanged texts
        self._postings = self.text_grams.counts.T.tocsr()  # (grams, t): the texts of each gram, ascending
        self._postings.data = spilled_array.spill(self._postings.data)
        self._postings.indices = spilled_array.spill(self._postings.indices)
        self._hash_order = np.argsort(self.text_hash, kind="stable")
        self._sorted_hash = self.text_hash[self._hash_order]
        self._parts: dict[str, DomainPart] = {}
        of_concepts = zip(
            lexicon.text_concept.tolist(), lexicon.text_kind.tolist(), lexicon.texts, strict=True
        )
        self.abbreviations = harvest((row, text) for row, kind, text in of_concepts if kind <= SYNONYM)

    def encode(self, normal_texts: Sequence[str]) -> sparse.csr_matrix:
        """(n, grams) TF-IDF rows of queries."""
        return self.grams.weigh(count_grams(normal_texts))

    def _part(self, domain: str) -> DomainPart:
        """The texts of a domain ("": all texts)."""
        if domain not in self._parts:
            postings, indptr = self._postings, self._postings.indptr
            start, stop = 0, postings.shape[1]
            first, last = indptr[:-1], indptr[1:]
            if domain:
                start, stop = self.lexicon.text_offsets[list(self.lexicon.domain_range(domain))].tolist()
                first, last = (_positions(postings.indices, first, last, text) for text in (start, stop))
            self._parts[domain] = DomainPart(start, stop, first.astype(np.int64), last.astype(np.int64))
        return self._parts[domain]

    def search(
        self,
        queries: sparse.csr_matrix,
        domains: Sequence[Domains],
        k: Ints | int,
        passing: Mask | None = None,
    ) -> tuple[Ints, Ints]:
        """(query, text row) of each query's best k texts in its domains.

        k: of all queries, or (n,) of each. passing: (c,) the concepts to find; None: all.
        """
        limits = np.broadcast_to(k, len(domains))
        queries_by_domain: dict[str, list[int]] = {}
        for query, allowed in enumerate(domains):
            for domain in ("",) if allowed is None else allowed:
                if not domain or domain in self.lexicon.domains:
                    queries_by_domain.setdefault(domain, []).append(query)
        matches = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]
        scores = np.zeros(len(self.lexicon.texts), np.float32)
        passes = None if passing is None else passing[self.lexicon.text_concept]
        for domain, numbers in queries_by_domain.items():
            part = self._part(domain)
            rare = rarest_grams(queries[np.array(numbers)], part.last - part.first)
            for row, query in enumerate(numbers):
                grams = slice(rare.indptr[row], rare.indptr[row + 1])
                texts = self._add_products(part, rare.indices[grams], rare.data[grams], scores)
                is_sparse = part.stop - part.start > SPARSE * len(texts)
                rows = texts if is_sparse else slice(part.start, part.stop)
                cosines, scores[rows] = scores[rows] / self._length[rows], 0
                if passes is not None:
                    cosines *= passes[rows]
                repeated = (texts, grams.stop - grams.start) if is_sparse else None
                best, values = largest(cosines, int(limits[query]), above=0, repeated=repeated)
                best = best if is_sparse else best + part.start
                matches.append((np.full(len(best), query), best, values))
        query_of, text, score = (np.concatenate(column) for column in zip(*matches, strict=True))
        order = np.lexsort((text, -score, query_of))
        query_of, text = query_of[order], text[order]
        chosen = rank_in_group(query_of) < limits[query_of]
        return query_of[chosen], text[chosen]

    def _add_products(
        self, part: DomainPart, grams: npt.NDArray[np.int32], weights: Floats, scores: Floats
    ) -> Ints:
        """Add texts' products with a query's grams to scores; the text rows, once for each of their grams."""
        spans = list(map(slice, part.first[grams].tolist(), part.last[grams].tolist()))
        counts, idf = self._postings.data, self.grams.idf[grams]
        texts = [self._postings.indices[span] for span in spans]
        products = [counts[span] * weight for span, weight in zip(spans, weights * idf, strict=True)]
        every_text = np.concatenate([np.zeros(0, np.int64), *texts])
        # Six times as fast as a product of sparse matrices, which first counts the result's entries.
        np.add.at(scores, every_text, np.concatenate([np.zeros(0, np.float32), *products]))
        return every_text

    def find_equal(self, normal_hashes: npt.NDArray[np.uint64], limit: int = 50) -> tuple[Ints, Ints]:
        """(query, text row) of the texts whose normal text is the query's, at most `limit` per query."""
        query, position = find_hashes(self._sorted_hash, normal_hashes, limit)
        return query, self._hash_order[position]
