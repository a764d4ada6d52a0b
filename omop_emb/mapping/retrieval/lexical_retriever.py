"""Lexical retriever: concepts with the texts most similar to a variant by character 3-grams."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Ints
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.queries import QueryBatch


class LexicalRetriever:
    """Finds texts by TF-IDF of 3-grams."""

    name, uses_vectors = "lexical", False

    def __init__(self, lexical: LexicalIndex) -> None:
        self._lexical = lexical

    def find(self, batch: QueryBatch) -> tuple[Ints, Ints]:
        """(variant, concept row) of each variant's best texts, as many as its limit."""
        variant, text = self._lexical.search(batch.grams, batch.domains, batch.limits)
        visible = batch.is_visible(variant, text, [query.hidden_texts for query in batch.queries])
        return variant[visible], self._lexical.lexicon.text_concept[text[visible]].astype(np.int64)
