"""Retriever: the protocol behind which each way of finding candidates is one small file."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from omop_emb.arrays import Ints, Mask
from omop_emb.mapping.retrieval.lexicon import Lexicon
from omop_emb.mapping.retrieval.queries import QueryBatch


class Retriever(Protocol):
    """Finds candidates for a batch of queries.

    Attributes:
        name: by which candidates tell who found them.
        uses_vectors: whether it reads the batch's vectors, and so waits until they are embedded.
    """

    name: str
    uses_vectors: bool

    def find(self, batch: QueryBatch) -> tuple[Ints, Ints]:
        """(variant, concept row) of what it finds, in any order, with duplicates."""
        ...


def in_domains(lexicon: Lexicon, batch: QueryBatch, variant: Ints, concept: Ints) -> Mask:
    """Whether each concept is in the domains of its variant's query."""
    labels = [lexicon.domains[code] for code in lexicon.domain[concept]]
    allowed = [batch.domains[number] for number in variant.tolist()]
    return np.array(
        [domains is None or label in domains for label, domains in zip(labels, allowed, strict=True)], bool
    )
