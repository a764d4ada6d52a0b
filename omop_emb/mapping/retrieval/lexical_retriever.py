"""Lexical retriever: concepts with the texts most similar to a variant by character 3-grams."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Ints
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.queries import QueryBatch


class LexicalRetriever:
    """Finds texts by TF-IDF of 3-grams."""

    uses_vectors = False

    def __init__(self, index: LexicalIndex) -> None:
        self._index = index

    def find(self, batch: QueryBatch) -> tuple[Ints, Ints]:
        """(variant, concept row) of each variant's best texts, as many as its limit."""
        # Several texts of a concept take the places of others: a tenth more are found.
        limits = batch.limits + batch.limits // 10
        variant, text = self._index.search(batch.grams, batch.domains, limits, batch.allowed)
        variant, text = batch.visible(variant, text, [query.hidden_texts for query in batch.queries])
        return variant, self._index.lexicon.text_concept[text].astype(np.int64)
