"""What the approved names most like a term were mapped to: the habits of a site, as votes on candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.candidates import Found, Query
from omop_emb.mapping.retrieval.concept_attributes import Facts
from omop_emb.mapping.retrieval.lexicon import Lexicon

COUNT = 20
"""How many approved names have a vote."""

# A vote counts e to the power of this times how much less than 1 its name is like the term.
_STEEPNESS = 8.0
_BLOCK = 64  # terms at a time: their similarities take a number for each approved name


@dataclass(frozen=True, eq=False)
class Votes:
    """Of a block of terms: the approved names that are most like each, and how much their votes count.

    Attributes:
        name: (n, COUNT) places in the memory.
        weight: (n, COUNT) 0 to 1, 0 for a name that has no vote.
    """

    name: Ints
    weight: Floats


class Neighbours:
    """Finds the approved names most like a term and asks what their targets are.

    The votes on a concept are added up as they are; those on its vocabulary, domain, the axes of its LOINC
    name and its kind of drug are shares of all votes, so that names that are little alike speak too.
    """

    def __init__(self, memory: MemoryIndex, lexicon: Lexicon, facts: Facts) -> None:
        self._memory, self._lexicon = memory, lexicon
        kind = facts.level.astype(np.int32) + 1
        for stated in (facts.brand, facts.box, facts.supplier, facts.quantity):
            kind = 2 * kind + stated
        # in the order of HABITS; -1 is what no two concepts share
        self._kinds = np.column_stack(
            [
                np.arange(len(lexicon.concept_id)),
                lexicon.vocabulary,
                lexicon.domain,
                facts.axes,
                np.where(facts.level >= 0, kind, -1),
            ]
        ).astype(np.int32)

    def nearest(self, queries: Sequence[Query], found: Found) -> Votes:
        """The approved names most like each term as it stands, among those of its domains."""
        memory, size = self._memory, min(COUNT, len(self._memory))
        names = np.zeros((len(queries), size), np.int64)
        weights = np.zeros((len(queries), size), np.float32)
        originals = found.form_first[:-1]
        domain, elsewhere = self._lexicon.domain[memory.concept], {}
        for at in range(0, len(queries), _BLOCK):
            rows = originals[at : at + _BLOCK]
            grams = found.form_grams[rows]  # type: ignore[index]  # a csr_matrix, which scipy does not type
            alike = (grams @ memory.columns).toarray()
            if memory.vectors is not None and found.form_vectors is not None:
                alike = (alike + found.form_vectors[rows] @ memory.vectors.T) / 2
            for place, query in enumerate(queries[at : at + _BLOCK]):
                if query.domains is not None:
                    if query.domains not in elsewhere:
                        elsewhere[query.domains] = ~np.isin(domain, self._codes(query.domains))
                    alike[place, elsewhere[query.domains]] = 0
                alike[place, list(query.hidden_memory)] = 0
            top = np.argpartition(-alike, size - 1, axis=1)[:, :size]
            near = np.take_along_axis(alike, top, axis=1)
            names[at : at + _BLOCK] = top
            weights[at : at + _BLOCK] = np.where(near > 0, np.exp(_STEEPNESS * (near - 1)), 0)
        return Votes(names, weights)

    def _codes(self, wanted: Sequence[str]) -> list[int]:
        return [code for code, name in enumerate(self._lexicon.domains) if name in wanted]

    def describe(self, votes: Votes, place: int, concepts: Ints, out: Floats) -> None:
        """Write "memory nearness" and the features of HABITS of a term's (p,) candidates into (p, 8) out."""
        weight = votes.weight[place]
        total = float(weight.sum())
        if not total:
            return
        theirs, ours = self._kinds[self._memory.concept[votes.name[place]]], self._kinds[concepts]
        out[:, 0] = total
        for column in range(theirs.shape[1]):
            shared = (ours[:, column, None] == theirs[None, :, column]) & (ours[:, column, None] >= 0)
            out[:, 1 + column] = shared @ weight
        out[:, 2:] /= total
