"""Dense retriever: concepts with the vectors nearest to a variant's vector."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Ints
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.queries import QueryBatch


class DenseRetriever:
    """Finds concepts by cosine similarity of embeddings."""

    name, uses_vectors = "dense", True

    def __init__(self, dense: DenseIndex) -> None:
        self._dense = dense

    def find(self, batch: QueryBatch) -> tuple[Ints, Ints]:
        """(variant, concept row) of each variant's nearest concepts, as many as its limit."""
        if batch.vectors is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return self._dense.search(batch.vectors, batch.domains, batch.limits)
