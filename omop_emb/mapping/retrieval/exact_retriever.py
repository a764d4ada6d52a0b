"""Exact retriever: concepts with a text that equals a variant when both are normalised."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Ints
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.queries import QueryBatch
from omop_emb.mapping.retrieval.retrievers import in_domains


class ExactRetriever:
    """Finds normalised equal texts."""

    name, uses_vectors = "exact", False

    def __init__(self, lexical: LexicalIndex) -> None:
        self._lexical = lexical

    def find(self, batch: QueryBatch) -> tuple[Ints, Ints]:
        """(variant, concept row) of every equal text."""
        variant, text = self._lexical.find_equal(batch.hashes)
        visible = batch.is_visible(variant, text, [query.hidden_texts for query in batch.queries])
        variant, lexicon = variant[visible], self._lexical.lexicon
        concept = lexicon.text_concept[text[visible]].astype(np.int64)
        allowed = in_domains(lexicon, batch, variant, concept)
        return variant[allowed], concept[allowed]
