"""Further spaces: vectors of other models beside the space that answers, each searched by its own queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omop_emb.arrays import Ints
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.queries import Embed, QueryBatch


@dataclass(frozen=True, eq=False)
class FurtherSpace:
    """One further space: its vectors, and what embeds texts as queries for it, with its model and prefix."""

    dense: DenseIndex
    embed: Embed


class FurtherRetriever:
    """Finds the concepts nearest to each variant in every further space; a Retriever."""

    uses_vectors = True

    def __init__(self, spaces: Sequence[FurtherSpace]) -> None:
        self._spaces = spaces

    def find(self, batch: QueryBatch) -> tuple[Ints, Ints]:
        """(variant, concept row) of the nearest concepts, as many of each space as the variant's limit."""
        matches = [
            space.dense.search(vectors, batch.domains, batch.limits, batch.allowed)
            for space, vectors in zip(self._spaces, batch.further_vectors, strict=True)
        ]
        variants, concepts = zip(*matches, strict=True)
        return np.concatenate(variants), np.concatenate(concepts)
