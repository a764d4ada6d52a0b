"""Memory features: how similar a term is to the names for which a site has approved a candidate.

Similarity, other than equality, counts as far as the site gives several names one concept; see name_sharing.
"""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.features.encoded_term import Columns, EncodedTerm
from omop_emb.mapping.features.name_sharing import sharing_rates
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.lexicon import Lexicon

SIMILARITIES = ("memory lexical", "memory dense", "memory exact")
FEATURES = (*SIMILARITIES, "memory approvals")


class MemoryFeatures:
    """Compares terms with the approved names of candidates."""

    def __init__(self, memory: MemoryIndex, lexicon: Lexicon) -> None:
        self._memory, self._domain = memory, lexicon.domain
        self._sharing = sharing_rates(memory, lexicon)

    def describe(self, term: EncodedTerm, concepts: Ints) -> tuple[Columns, Ints, Floats]:
        """FEATURES of (p,) concept rows, the most similar approved name of each, and how similar it is.

        Without an approved name these are -1 and 0.
        """
        memory, count = self._memory, len(concepts)
        best_name = np.full(count, -1, np.int64)
        index, name = memory.names_of(concepts, term.query.hidden_names)
        if not len(index):
            return {}, best_name, np.zeros(count, np.float32)
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
        similarity = np.max(list(columns.values()), axis=0)
        sharing = self._sharing[self._domain[concepts]]
        columns["memory lexical"] *= sharing
        columns["memory dense"] *= sharing
        approvals = np.log1p(np.bincount(index, minlength=count)) * sharing
        return {**columns, "memory approvals": approvals}, best_name, similarity
