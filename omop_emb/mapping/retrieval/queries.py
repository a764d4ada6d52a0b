"""Queries: source terms by their variants, encoded in batches, and the protocol of what searches them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from omop_emb.arrays import Ints, Mask, Vectors
from omop_emb.mapping.records import Variant
from omop_emb.mapping.retrieval.file_queries import Embed as Embed, embed_with_files
from omop_emb.mapping.retrieval.lexical_index import Domains, LexicalIndex, hash_texts
from omop_emb.mapping.retrieval.lexicon import Lexicon
from omop_emb.mapping.terms.text_key import text_key
from omop_emb.mapping.terms.words import normalise


@dataclass(frozen=True, eq=False)
class Query:
    """A term to search by its variants."""

    variants: tuple[Variant, ...]  # the original first
    normal: tuple[str, ...]  # each variant's normal text
    domains: Domains  # that its concept may be in
    # text rows that must not match: the term's own source, when mapping is measured
    hidden_texts: frozenset[int] = frozenset()
    suggestions: tuple[int, ...] = ()  # rows of the concepts that the source suggests
    hidden_names: frozenset[int] = frozenset()  # approved names that must not match: those of the term itself
    files: tuple[str, ...] = ()  # with which the last variant is embedded

    @classmethod
    def of(cls, variants: tuple[Variant, ...], domain: str | None) -> Query:
        """From variants and a domain, or several of them separated by "|"."""
        domains = tuple(dict.fromkeys(domain.split("|"))) if domain else None
        return cls(variants, tuple(normalise(variant.text) for variant in variants), domains)


@dataclass(frozen=True, eq=False)
class QueryBatch:
    """Queries, encoded; v variants in all."""

    queries: Sequence[Query]
    offsets: Ints  # (n + 1,) where each query's variants begin in the arrays below
    owner: Ints  # (v,) the query of each variant
    limits: Ints  # (v,) how many concepts lexical and dense retrieval find for each variant
    grams: sparse.csr_matrix  # (v, grams) TF-IDF rows
    hashes: npt.NDArray[np.uint64]  # (v,) hashes of the normal texts
    key_hashes: npt.NDArray[np.uint64]  # (v,) hashes of the text keys
    embed: Embed | None  # None without a dense index
    allowed: Mask | None = None  # (c,) the concepts that a filter lets through; None: all
    further: Sequence[Embed] = ()  # of each further space
    # files without which queries were embedded, and why
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def encode(
        cls,
        queries: Sequence[Query],
        lexical: LexicalIndex,
        embed: Embed | None,
        *,
        k: int = 100,
        k_other: int = 40,
        allowed: Mask | None = None,
        further: Sequence[Embed] = (),
    ) -> QueryBatch:
        """Encode queries; k concepts are found for each original, k_other for each other variant."""
        texts = [text for query in queries for text in query.normal]
        sizes = np.array([len(query.variants) for query in queries], np.int64)
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        limits = np.full(len(texts), k_other)
        limits[offsets[:-1]] = k
        owner = np.repeat(np.arange(len(queries)), sizes)
        keys = hash_texts([text_key(variant.text) for query in queries for variant in query.variants])
        grams, hashes = lexical.encode(texts), hash_texts(texts)
        return cls(queries, offsets, owner, limits, grams, hashes, keys, embed, allowed, further)

    @cached_property
    def vectors(self) -> Vectors | None:
        """(v, dimensions) unit rows; embedded when they are first read. None without a dense index."""
        if self.embed is None:
            return None
        rows = self.embed(self._texts)
        with_files = {
            int(last) - 1: (query.variants[-1].text, query.files)
            for query, last in zip(self.queries, self.offsets[1:], strict=True)
            if query.files
        }
        for number, row in embed_with_files(with_files, self.embed, self.left_out):
            rows[number] = row
        return rows

    @cached_property
    def further_vectors(self) -> Sequence[Vectors]:
        """The same of the texts alone for each further space, with its own model and prefix."""
        return [embed(self._texts) for embed in self.further]

    @property
    def _texts(self) -> list[str]:
        return [variant.text for query in self.queries for variant in query.variants]

    @cached_property
    def domains(self) -> list[Domains]:
        """(v,) the domains of each variant's query."""
        return [self.queries[number].domains for number in self.owner.tolist()]

    def span(self, query: int) -> slice:
        """The variants of a query."""
        return slice(int(self.offsets[query]), int(self.offsets[query + 1]))

    def visible(self, variant: Ints, row: Ints, hidden: Sequence[frozenset[int]]) -> tuple[Ints, Ints]:
        """(variant, row) without the rows that are hidden from the variant's query; hidden: by query."""
        pairs = [(query, hidden_row) for query, rows in enumerate(hidden) for hidden_row in rows]
        if not pairs or not len(row):
            return variant, row
        base = max(int(row.max()), max(hidden_row for _, hidden_row in pairs)) + 1
        keys = [query * base + hidden_row for query, hidden_row in pairs]
        chosen = ~np.isin(self.owner[variant] * base + row, keys)
        return variant[chosen], row[chosen]

    def permitted(self, lexicon: Lexicon, variant: Ints, concept: Ints) -> tuple[Ints, Ints]:
        """(variant, concept) without concepts that the filter, or the domains of the query, exclude."""
        if self.allowed is not None:
            passes = self.allowed[concept]
            variant, concept = variant[passes], concept[passes]
        labels = [lexicon.domains[code] for code in lexicon.domain[concept]]
        domains = [self.domains[number] for number in variant.tolist()]
        chosen = np.array(
            [allowed is None or label in allowed for label, allowed in zip(labels, domains, strict=True)],
            bool,
        )
        return variant[chosen], concept[chosen]


def common_domains(requested: Domains, of_filter: Domains) -> Domains:
    """The domains that a term and a filter both allow; () if they contradict each other."""
    if requested is None or of_filter is None:
        return of_filter if requested is None else requested
    return tuple(domain for domain in requested if domain in of_filter)


class Retriever(Protocol):
    """Finds candidates for a batch of queries.

    Attributes:
        uses_vectors: whether it reads the batch's vectors, and so waits until they are embedded.
    """

    uses_vectors: bool

    def find(self, batch: QueryBatch) -> tuple[Ints, Ints]:
        """(variant, concept row) of what it finds, in any order, with duplicates."""
        ...
