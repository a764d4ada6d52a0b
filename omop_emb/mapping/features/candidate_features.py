"""Candidate features: all features of many candidates at once, against one vocabulary, space and memory."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.features import further_features, retriever_features
from omop_emb.mapping.features.concept_features import ConceptFeatures
from omop_emb.mapping.features.contrast_features import ContrastFeatures
from omop_emb.mapping.features.drug_features import DrugFeatures
from omop_emb.mapping.features.encoded_term import Columns, EncodedTerm
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.features.laboratory_features import LaboratoryFeatures
from omop_emb.mapping.features.memory_features import MemoryFeatures
from omop_emb.mapping.features.neighbour_features import NeighbourFeatures
from omop_emb.mapping.features.number_features import NumberFeatures
from omop_emb.mapping.features.sign_features import SignFeatures
from omop_emb.mapping.features.similarity_features import SimilarityFeatures
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.candidates import Candidates
from omop_emb.mapping.retrieval.concept_attributes import ConceptAttributes
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.further_spaces import FurtherSpace
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex, hash_texts

_COLUMN = {name: column for column, name in enumerate(NAMES)}


@dataclass(frozen=True, eq=False)
class ScoredCandidates:
    """Features of a batch's p candidates and what matched best."""

    features: Floats  # (p, len(NAMES) and those of each further space)
    text: Ints  # (p,) text row that fits best
    variant: Ints  # (p,) number of the variant, within its query, that fits best
    dense: Floats  # (p,) best cosine over variants and texts
    lexical: Floats  # (p,) the same
    approved_name: Ints  # (p,) number of the most similar approved name in the memory, -1 for none
    approved_similarity: Floats  # (p,) how similar that name is, 0 for none


class Features:
    """Computes features against one vocabulary, one memory, and the vectors of one or more spaces."""

    def __init__(
        self,
        lexical: LexicalIndex,
        attributes: ConceptAttributes,
        dense: DenseIndex | None,
        memory: MemoryIndex | None = None,
        further: Sequence[FurtherSpace] = (),
    ) -> None:
        lexicon, self._lexical, self._further = lexical.lexicon, lexical, further
        self._similarity = SimilarityFeatures(lexical, dense)
        self._memory: MemoryFeatures | None = None
        self._neighbours: NeighbourFeatures | None = None
        if memory is not None and len(memory):
            self._memory = MemoryFeatures(memory, lexicon)
            self._neighbours = NeighbourFeatures(memory, lexicon, attributes)
        self._contrasts = ContrastFeatures(attributes)
        self._others = (
            NumberFeatures(lexical, attributes),
            DrugFeatures(lexical, attributes.drugs),
            LaboratoryFeatures(lexical, attributes.loinc),
            SignFeatures(lexicon, attributes),
            ConceptFeatures(lexicon, attributes),
        )

    def without_memory(self) -> Features:
        """The same for a site that has approved nothing."""
        result = copy(self)
        result._memory = result._neighbours = None
        return result

    def compute(self, candidates: Candidates) -> ScoredCandidates:
        """Features of every candidate."""
        batch, count = candidates.batch, len(candidates.concept)
        result = ScoredCandidates(
            np.zeros((count, len(NAMES) + len(further_features.names(len(self._further)))), np.float32),
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            np.zeros(count, np.float32),
            np.zeros(count, np.float32),
            np.full(count, -1, np.int64),
            np.zeros(count, np.float32),
        )
        words, word_total = self._lexical.words.encode(
            [text for query in batch.queries for text in query.normal]
        )
        exact_hashes = hash_texts([query.variants[0].text for query in batch.queries])
        votes = self._neighbours.votes(candidates) if self._neighbours is not None else None
        for number, query in enumerate(batch.queries):
            span, variants = candidates.span(number), batch.span(number)
            if span.start == span.stop:
                continue
            term = EncodedTerm(
                query,
                batch.grams[variants],
                words[variants].T.toarray(),
                word_total[variants],
                batch.hashes[variants],
                None if batch.vectors is None else batch.vectors[variants],
                batch.key_hashes[variants.start],
                exact_hashes[number],
                {name: mask[span] for name, mask in candidates.found_by.items()},
            )
            concepts, table = candidates.concept[span], result.features[span]
            columns, best = self._similarity.describe(term, concepts)
            _write(columns, table)
            result.text[span], result.variant[span] = best.text, best.variant
            result.dense[span], result.lexical[span] = best.dense, best.lexical
            if self._memory is not None:
                columns, name, similarity = self._memory.describe(term, concepts)
                result.approved_name[span], result.approved_similarity[span] = name, similarity
                _write(columns, table)
            if votes is not None and self._neighbours is not None:
                _write(self._neighbours.describe(votes, number, concepts), table)
            if self._further:
                vectors = [rows[variants] for rows in batch.further_vectors]
                table[:, len(NAMES) :] = further_features.describe(self._further, vectors, concepts)
            _write(retriever_features.describe(term), table)
            _write(self._contrasts.describe(term, concepts, best.variant), table)
            for group in self._others:
                _write(group.describe(term, concepts), table)
        return result


def _write(columns: Columns, table: Floats) -> None:
    for name, values in columns.items():
        table[:, _COLUMN[name]] = values
