"""Suggestion retriever: the concepts that a source suggests for its own term."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Ints
from omop_emb.mapping.retrieval.lexicon import Lexicon
from omop_emb.mapping.retrieval.queries import QueryBatch


class SuggestionRetriever:
    """Finds what the term names itself."""

    uses_vectors = False

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def find(self, batch: QueryBatch) -> tuple[Ints, Ints]:
        """(variant, concept row), where the variant is the original."""
        pairs = [
            (variant, row)
            for query, variant in zip(batch.queries, batch.offsets[:-1].tolist(), strict=True)
            for row in query.suggestions
        ]
        variants, concepts = np.array(pairs, np.int64).reshape(-1, 2).T
        return batch.permitted(self._lexicon, variants, concepts)
