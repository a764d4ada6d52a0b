"""Memory features: how similar a term is to the names for which a site has approved a candidate."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Ints
from omop_emb.mapping.features.encoded_term import Columns, EncodedTerm
from omop_emb.mapping.retrieval.approved_names import MemoryIndex

SIMILARITIES = ("memory lexical", "memory dense", "memory exact")
FEATURES = (*SIMILARITIES, "memory approvals")


class MemoryFeatures:
    """Compares terms with the approved names of candidates."""

    def __init__(self, memory: MemoryIndex) -> None:
        self._memory = memory

    def describe(self, term: EncodedTerm, concepts: Ints) -> tuple[Columns, Ints]:
        """FEATURES of (p,) concept rows, and the most similar approved name of each, -1 for none."""
        memory, count = self._memory, len(concepts)
        best_name = np.full(count, -1, np.int64)
        index, name = memory.names_of(concepts, term.query.hidden_names)
        if not len(index):
            return {}, best_name
        columns = {feature: np.zeros(count, np.float32) for feature in SIMILARITIES}
        lexical = np.asarray((memory.gram_rows[name] @ term.grams.T.toarray()).max(axis=1)).ravel()
        np.maximum.at(columns["memory lexical"], index, lexical)
        if memory.vectors is not None and term.vectors is not None:
            dense = (memory.vectors[name] @ term.vectors.T).max(axis=1)
            np.maximum.at(columns["memory dense"], index, dense)
        # By the original alone: a variant of it may be another term.
        equal = (memory.hash[name] == term.key_hash).astype(np.float32)
        np.maximum.at(columns["memory exact"], index, equal)
        order = np.argsort(lexical, kind="stable")  # the last one written is the most similar
        best_name[index[order]] = name[order]
        return {**columns, "memory approvals": np.log1p(np.bincount(index, minlength=count))}, best_name
