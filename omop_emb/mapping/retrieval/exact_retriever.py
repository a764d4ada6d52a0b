"""Exact retriever: concepts with a text of the same words and signs as a variant."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Ints
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.queries import QueryBatch


class ExactRetriever:
    """Finds texts that are equal when normalised; punctuation may differ, signs may not."""

    uses_vectors = False

    def __init__(self, index: LexicalIndex) -> None:
        self._index = index

    def find(self, batch: QueryBatch) -> tuple[Ints, Ints]:
        """(variant, concept row) of every equal text."""
        variant, text = self._index.find_equal(batch.hashes)
        variant, text = batch.visible(variant, text, [query.hidden_texts for query in batch.queries])
        concept = self._index.lexicon.text_concept[text].astype(np.int64)
        return batch.permitted(self._index.lexicon, variant, concept)
