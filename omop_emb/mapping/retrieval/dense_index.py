"""Dense retriever: a space's vectors in memory, all compared with many queries at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Floats, Ints, Mask
from omop_emb.database import binary_format
from omop_emb.machine import processors
from omop_emb.mapping.retrieval.lexical_index import Domains, expand_spans
from omop_emb.mapping.retrieval.lexicon import Lexicon
from omop_emb.mapping.retrieval.queries import QueryBatch
from omop_emb.mapping.retrieval.similarity_products import (
    BLOCK_ROWS,
    IntegerProducts,
    IntegerRows,
    Products,
    make_products,
)
from omop_emb.search.topk import TopK, rank_in_group

_BLOCK_QUERIES = 1024
_THREAD_BLOCKS = 8  # fewer blocks of rows are not worth a thread of their own
_TEXTS_PER_CONCEPT = 2  # so many times k texts are found for k concepts, which may have several texts each


@dataclass(frozen=True, eq=False)
class DenseArrays:
    """What a DenseIndex searches: see its attributes, and the rows in integers where there are enough."""

    vector_row: Ints
    concept: Ints
    vectors: npt.NDArray[np.floating]
    integers: IntegerRows | None


class DenseIndex:
    """Vectors of concepts' texts, in the order of a lexicon's concepts; a Retriever.

    Args:
        lexicon: the concepts.
        concept_ids: (m,) the concept of each vector; those of concepts outside the lexicon are left out.
        vectors: (m, dimensions) unit rows, float16 or float32.
        cache_key: for this lexicon with these vectors; None caches nothing.

    Attributes:
        vector_row: (n,) rows of `vectors` that are searched, those of one concept side by side.
        concept: (n,) the concept row of each.
        cache_key: as given.
    """

    uses_vectors = True

    def __init__(
        self,
        lexicon: Lexicon,
        concept_ids: Ints,
        vectors: npt.NDArray[np.floating],
        *,
        cache_key: str | None = None,
    ) -> None:
        rows = lexicon.rows(concept_ids)
        order = np.argsort(rows, kind="stable")
        self.lexicon, self.cache_key = lexicon, cache_key
        self.vector_row = order[rows[order] >= 0]
        self.concept = rows[self.vector_row]
        self.vectors = np.asarray(vectors).astype(np.float16, copy=False)
        self._offsets = np.searchsorted(self.concept, np.arange(len(lexicon.concept_id) + 1))

    @property
    def arrays(self) -> DenseArrays:
        """What of_arrays() makes the same index from."""
        products = self._products
        rows = products.rows if isinstance(products, IntegerProducts) else None
        return DenseArrays(self.vector_row, self.concept, np.asarray(self.vectors), rows)

    @classmethod
    def of_arrays(cls, lexicon: Lexicon, arrays: DenseArrays) -> DenseIndex:
        """The index of arrays that another one of the same lexicon had."""
        self = cls(lexicon, np.zeros(0, np.int64), arrays.vectors)
        self.vector_row, self.concept = arrays.vector_row, arrays.concept
        self._offsets = np.searchsorted(self.concept, np.arange(len(lexicon.concept_id) + 1))
        if arrays.integers is not None and find_spec("onnxruntime") is not None:
            vars(self)["_products"] = IntegerProducts(arrays.integers)
        return self

    @cached_property
    def _products(self) -> Products:
        return make_products(self.vectors, self.vector_row, self.cache_key)

    def find(self, batch: QueryBatch) -> tuple[Ints, Ints]:
        """(variant, concept row) of the concepts nearest to each variant, as many as its limit."""
        if batch.vectors is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return self.search(batch.vectors, batch.domains, batch.limits, batch.allowed)

    def search(
        self, queries: Floats, domains: Sequence[Domains], k: Ints | int, passing: Mask | None = None
    ) -> tuple[Ints, Ints]:
        """(query, concept row) of the k concepts nearest to each query in its domains.

        k: of all queries, or (n,) of each. passing: (c,) the concepts to find; None: all.
        """
        rows = None if passing is None else np.flatnonzero(passing[self.concept])
        limits = np.broadcast_to(k, len(domains))
        groups: dict[Domains, list[int]] = {}
        for number, allowed in enumerate(domains):
            groups.setdefault(allowed, []).append(number)
        query_parts, concept_parts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for allowed, numbers in groups.items():
            spans = self._spans(allowed)
            for start in range(0, len(numbers), _BLOCK_QUERIES):
                block = np.array(numbers[start : start + _BLOCK_QUERIES])
                query, concept = self._nearest(queries[block], spans, limits[block], rows)
                query_parts.append(block[query])
                concept_parts.append(concept)
        query, concept = np.concatenate(query_parts), np.concatenate(concept_parts)
        order = np.argsort(query, kind="stable")
        return query[order], concept[order]

    def _spans(self, domains: Domains) -> list[tuple[int, int]]:
        """First and last + 1 of the rows that are in some domains."""
        if domains is None:
            return [(0, len(self.concept))]
        ranges = (self.lexicon.domain_range(domain) for domain in domains)
        return [
            (int(self._offsets[start]), int(self._offsets[stop])) for start, stop in ranges if stop > start
        ]

    def _nearest(
        self, queries: Floats, spans: list[tuple[int, int]], k: Ints, rows: Ints | None
    ) -> tuple[Ints, Ints]:
        """(query, concept row) of each query's k nearest, nearest first, equal ones by row.

        rows: those that are compared, ascending; None: all in the spans.
        """
        if not len(queries) or not any(stop > start for start, stop in spans):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        blocks = [
            (max(block, start), min(block + BLOCK_ROWS, stop))
            for start, stop in spans
            for block in range(start - start % BLOCK_ROWS, stop, BLOCK_ROWS)
        ]
        size, prepared = _TEXTS_PER_CONCEPT * int(k.max()), self._products.prepare(queries)

        def compare(own_blocks: list[tuple[int, int]]) -> TopK:
            top = TopK(len(queries), size)
            for first, last in own_blocks:
                if rows is None:
                    top.add(self._products.block(prepared, first, last), first)
                    continue
                begin, end = np.searchsorted(rows, [first, last]).tolist()
                if begin < end:
                    scores = self._products.block(prepared, first, last)
                    top.add(scores[:, rows[begin:end] - first], begin)
            return top

        top = _in_threads(compare, blocks)
        query, row, score = top.pairs()
        if rows is not None:
            row = rows[row]
        concept = self.concept[row]
        order = np.lexsort((concept, -score, query))
        query, concept = query[order], concept[order]
        # A concept counts by its best text, the first of the equal pairs.
        _, first_of_pair = np.unique(query * (len(self._offsets) + 1) + concept, return_index=True)
        first_of_pair.sort()
        query, concept = query[first_of_pair], concept[first_of_pair]
        chosen = rank_in_group(query) < k[query]
        return query[chosen], concept[chosen]

    def has_vector(self, concepts: Ints) -> Mask:
        """(concepts,) whether each concept row has a vector here."""
        return np.asarray(self._offsets[concepts + 1] > self._offsets[concepts])

    def similarity(self, queries: Floats, concepts: Ints) -> Floats:
        """(queries, concepts) cosine of each query with each concept's best text; 0 without a vector."""
        sizes = self._offsets[concepts + 1] - self._offsets[concepts]
        result = np.zeros((len(queries), len(concepts)), np.float32)
        has_vector = sizes > 0
        if has_vector.any():
            _, rows = expand_spans(self._offsets[concepts], sizes)
            scores = queries @ binary_format.halves_to_float32(self.vectors[self.vector_row[rows]]).T
            begin = np.cumsum(sizes) - sizes
            result[:, has_vector] = np.maximum.reduceat(scores, begin[has_vector], axis=1)
        return result


def _in_threads(compare: Callable[[list[tuple[int, int]]], TopK], blocks: list[tuple[int, int]]) -> TopK:
    """The best of all blocks, which as many threads share as the process has processors."""
    threads = max(1, min(processors(), len(blocks) // _THREAD_BLOCKS))
    if threads == 1:
        return compare(blocks)
    with ThreadPoolExecutor(threads) as pool:
        first, *others = pool.map(compare, [blocks[number::threads] for number in range(threads)])
    for other in others:
        first.merge(other)
    return first
