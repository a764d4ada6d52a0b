"""Queries: source terms by their variants, encoded for the retrievers a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from omop_emb.arrays import Ints, Mask, Vectors
from omop_emb.mapping.records import Variant
from omop_emb.mapping.retrieval.lexical_index import Domains, LexicalIndex, hash_texts
from omop_emb.mapping.terms.words import normalise

Embed = Callable[[list[str]], Vectors]
"""Texts -> (n, dimensions) unit rows, embedded as queries."""


@dataclass(frozen=True, eq=False)
class Query:
    """A term to search by its variants.

    Attributes:
        variants: the original first.
        normal: each variant's normal text.
        domains: the domains that its concept may be in; None: any.
        hidden_texts: text rows that must not match: the term's own source, when mapping is measured.
        hidden_names: approved names that must not match: what was approved for the term itself.
    """

    variants: tuple[Variant, ...]
    normal: tuple[str, ...]
    domains: Domains
    hidden_texts: frozenset[int] = frozenset()
    hidden_names: frozenset[int] = frozenset()

    @classmethod
    def of(cls, variants: tuple[Variant, ...], domain: str | None) -> Query:
        """From variants and a domain, or several of them separated by "|"."""
        domains = tuple(dict.fromkeys(domain.split("|"))) if domain else None
        return cls(variants, tuple(normalise(variant.text) for variant in variants), domains)


@dataclass(frozen=True, eq=False)
class QueryBatch:
    """Queries, encoded; v variants in all.

    Attributes:
        queries: the queries.
        offsets: (n + 1,) where each query's variants begin in the arrays below.
        owner: (v,) the query of each variant.
        limits: (v,) how many concepts lexical and dense retrieval find for each variant.
        grams: (v, grams) TF-IDF rows.
        hashes: (v,) hashes of the normal texts.
        embed: for `vectors`; None without a dense index.
    """

    queries: Sequence[Query]
    offsets: Ints
    owner: Ints
    limits: Ints
    grams: sparse.csr_matrix
    hashes: npt.NDArray[np.uint64]
    embed: Embed | None

    @classmethod
    def encode(
        cls,
        queries: Sequence[Query],
        lexical: LexicalIndex,
        embed: Embed | None,
        *,
        k: int = 100,
        k_other: int = 40,
    ) -> QueryBatch:
        """Queries as a batch.

        Args:
            queries: at least one.
            lexical: the index that is searched.
            embed: None without a dense index.
            k: how many concepts each retriever finds for a term's original.
            k_other: how many for each of its other variants.
        """
        texts = [text for query in queries for text in query.normal]
        sizes = np.array([len(query.variants) for query in queries], np.int64)
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        limits = np.full(len(texts), k_other)
        limits[offsets[:-1]] = k
        owner = np.repeat(np.arange(len(queries)), sizes)
        return cls(queries, offsets, owner, limits, lexical.encode(texts), hash_texts(texts), embed)

    @cached_property
    def vectors(self) -> Vectors | None:
        """(v, dimensions) unit rows; embedded when they are first read. None without a dense index."""
        if self.embed is None:
            return None
        return self.embed([variant.text for query in self.queries for variant in query.variants])

    @cached_property
    def domains(self) -> list[Domains]:
        """(v,) the domains of each variant's query."""
        return [self.queries[number].domains for number in self.owner.tolist()]

    def span(self, query: int) -> slice:
        """The variants of a query."""
        return slice(int(self.offsets[query]), int(self.offsets[query + 1]))

    def is_visible(self, variant: Ints, row: Ints, hidden: Sequence[frozenset[int]]) -> Mask:
        """Whether each row is not hidden from its variant's query; hidden: the hidden rows of each query."""
        pairs = [(query, hidden_row) for query, rows in enumerate(hidden) for hidden_row in rows]
        if not pairs or not len(row):
            return np.ones(len(row), bool)
        base = max(int(row.max()), max(hidden_row for _, hidden_row in pairs)) + 1
        keys = [query * base + hidden_row for query, hidden_row in pairs]
        return ~np.isin(self.owner[variant] * base + row, keys)
