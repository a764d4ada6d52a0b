"""Candidates: the concepts that any retriever finds for the queries of a batch, each once per query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from omop_emb.arrays import Ints, Mask
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.concept_attributes import ConceptAttributes
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.exact_retriever import ExactRetriever
from omop_emb.mapping.retrieval.further_spaces import FurtherRetriever, FurtherSpace
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexical_retriever import LexicalRetriever
from omop_emb.mapping.retrieval.mention_retriever import MentionRetriever
from omop_emb.mapping.retrieval.queries import QueryBatch, Retriever
from omop_emb.mapping.retrieval.suggestion_retriever import SuggestionRetriever
from omop_emb.mapping.retrieval.unit_retriever import UnitRetriever

RETRIEVERS = ("exact", "dense", "lexical", "unit", "memory", "suggested", "further", "mention")
"""Names of all retrievers."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The candidates of a batch of queries; p in all."""

    batch: QueryBatch
    offsets: Ints  # (n + 1,) where each query's candidates begin
    concept: Ints  # (p,) concept rows, ascending within a query
    found_by: Mapping[str, Mask]  # name of a retriever -> (p,) whether it found each

    def span(self, query: int) -> slice:
        """The candidates of a query."""
        return slice(int(self.offsets[query]), int(self.offsets[query + 1]))

    def found_only_by(self, name: str) -> Mask:
        """(p,) whether no other retriever found a candidate."""
        is_only = self.found_by[name].copy()
        for other, mask in self.found_by.items():
            if other != name:
                is_only &= ~mask
        return is_only


def make_retrievers(
    lexical: LexicalIndex,
    attributes: ConceptAttributes,
    dense: DenseIndex | None,
    memory: MemoryIndex | None = None,
    further: Sequence[FurtherSpace] = (),
) -> dict[str, Retriever]:
    """All retrievers that there is an index for, by name."""
    retrievers: dict[str, Retriever] = {
        "exact": ExactRetriever(lexical),
        "lexical": LexicalRetriever(lexical),
        "unit": UnitRetriever(lexical.lexicon, attributes.unit_rows),
        "suggested": SuggestionRetriever(lexical.lexicon),
        "mention": MentionRetriever(lexical),
    }
    if dense is not None:
        retrievers["dense"] = dense
    if memory is not None and len(memory):
        retrievers["memory"] = memory
    if further:
        retrievers["further"] = FurtherRetriever(further)
    return retrievers


def find_candidates(batch: QueryBatch, retrievers: Mapping[str, Retriever]) -> Candidates:
    """The union of what the retrievers find; those that need vectors run in one thread of their own."""
    with ThreadPoolExecutor(1, "omop-emb-vectors") as background:
        pending = {
            name: background.submit(retriever.find, batch)
            for name, retriever in retrievers.items()
            if retriever.uses_vectors
        }
        matches = {
            name: retriever.find(batch) for name, retriever in retrievers.items() if name not in pending
        }
        matches.update((name, future.result()) for name, future in pending.items())
    variant, concept = (np.concatenate(column) for column in zip(*matches.values(), strict=True))
    retriever = np.repeat(np.arange(len(matches)), [len(found) for found, _ in matches.values()])
    order = np.lexsort((concept, batch.owner[variant]))
    query, concept, retriever = batch.owner[variant][order], concept[order], retriever[order]
    is_first = np.ones(len(query), bool)
    is_first[1:] = (query[1:] != query[:-1]) | (concept[1:] != concept[:-1])
    number = np.cumsum(is_first) - 1
    found_by = {name: np.zeros(int(is_first.sum()), bool) for name in RETRIEVERS}
    for index, name in enumerate(matches):
        found_by[name][number[retriever == index]] = True
    offsets = np.searchsorted(query[is_first], np.arange(len(batch.queries) + 1))
    return Candidates(batch, offsets.astype(np.int64), concept[is_first], found_by)
