"""Memory retriever: concepts that a site has approved for names like a variant."""

from __future__ import annotations

from omop_emb.arrays import Ints
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.lexicon import Lexicon
from omop_emb.mapping.retrieval.queries import QueryBatch
from omop_emb.mapping.retrieval.retrievers import in_domains


class MemoryRetriever:
    """Finds the concepts of approved names."""

    name, uses_vectors = "memory", True

    def __init__(self, lexicon: Lexicon, memory: MemoryIndex) -> None:
        self._lexicon, self._memory = lexicon, memory

    def find(self, batch: QueryBatch) -> tuple[Ints, Ints]:
        """(variant, concept row) of each variant's most similar approved names."""
        variant, name = self._memory.search(batch.grams, batch.hashes, batch.vectors)
        visible = batch.is_visible(variant, name, [query.hidden_names for query in batch.queries])
        variant, concept = variant[visible], self._memory.concept[name[visible]]
        allowed = in_domains(self._lexicon, batch, variant, concept)
        return variant[allowed], concept[allowed]
