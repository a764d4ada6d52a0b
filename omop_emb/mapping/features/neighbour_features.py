"""Neighbour features: the targets of the approved names most similar to a term, as votes on candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.features.encoded_term import Columns
from omop_emb.mapping.features.name_sharing import sharing_rates
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.candidates import Candidates
from omop_emb.mapping.retrieval.concept_attributes import ConceptAttributes
from omop_emb.mapping.retrieval.lexicon import Lexicon

_SHARED = ("concept", "vocabulary", "domain", "property", "system", "method", "kind of drug")
SHARED_FEATURES = tuple(f"memory {kind}" for kind in _SHARED)
"""What a candidate shares with the targets of the approved names most similar to a term."""

FEATURES = ("memory similarity", *SHARED_FEATURES)

MAX_NEIGHBOURS = 20
"""How many approved names vote."""

_STEEPNESS = 8.0  # a vote weighs e to the power of this times (cosine - 1)
_BLOCK_QUERIES = 64  # their similarities take a number for each approved name


@dataclass(frozen=True, eq=False)
class Votes:
    """The approved names most similar to each of n terms, and the weights of their votes."""

    name: Ints  # (n, MAX_NEIGHBOURS or fewer) numbers of the names
    weight: Floats  # the same shape, 0 to 1; 0 for a name without a vote


class NeighbourFeatures:
    """Finds the approved names most similar to a term and compares their targets with its candidates.

    The votes for a concept are added up, as far as the site gives several names one concept (see
    name_sharing); those for its vocabulary, domain, the axes of its LOINC name and its
    kind of drug are shares of all votes, so that less similar names count too.
    """

    def __init__(self, memory: MemoryIndex, lexicon: Lexicon, attributes: ConceptAttributes) -> None:
        self._memory, self._lexicon = memory, lexicon
        self._sharing = sharing_rates(memory, lexicon)
        drugs = attributes.drugs
        kind = drugs.level.astype(np.int32) + 1
        for stated in (drugs.brand, drugs.box, drugs.supplier, drugs.quantity):
            kind = 2 * kind + stated
        # In the order of _SHARED; two concepts never share -1.
        self._shared = np.column_stack(
            [
                np.arange(len(lexicon.concept_id)),
                lexicon.vocabulary,
                lexicon.domain,
                attributes.loinc.axes,
                np.where(drugs.level >= 0, kind, -1),
            ]
        ).astype(np.int32)

    def votes(self, candidates: Candidates) -> Votes:
        """The approved names most similar to each term's original, among those of its domains."""
        memory, batch = self._memory, candidates.batch
        size = min(MAX_NEIGHBOURS, len(memory))
        names = np.zeros((len(batch.queries), size), np.int64)
        weights = np.zeros((len(batch.queries), size), np.float32)
        domain = self._lexicon.domain[memory.concept]
        outside: dict[tuple[str, ...], Ints] = {}  # domains -> names whose concepts are in none of them
        for start in range(0, len(batch.queries), _BLOCK_QUERIES):
            block = slice(start, start + _BLOCK_QUERIES)
            originals = batch.offsets[:-1][block]
            cosine = (batch.grams[originals] @ memory.gram_columns).toarray()
            if memory.vectors is not None and batch.vectors is not None:
                cosine = (cosine + batch.vectors[originals] @ memory.vectors.T) / 2
            for row, query in enumerate(batch.queries[block]):
                if query.domains is not None:
                    if query.domains not in outside:
                        outside[query.domains] = np.flatnonzero(~np.isin(domain, self._codes(query.domains)))
                    cosine[row, outside[query.domains]] = 0
                cosine[row, list(query.hidden_names)] = 0
            names[block] = np.argpartition(-cosine, size - 1, axis=1)[:, :size]
            cosine = np.take_along_axis(cosine, names[block], axis=1)
            weights[block] = np.where(cosine > 0, np.exp(_STEEPNESS * (cosine - 1)), 0)
        return Votes(names, weights)

    def _codes(self, domains: Sequence[str]) -> list[int]:
        return [code for code, name in enumerate(self._lexicon.domains) if name in domains]

    def describe(self, votes: Votes, query: int, concepts: Ints) -> Columns:
        """FEATURES of a term's (p,) concept rows."""
        weight = votes.weight[query]
        total = weight.sum()
        if not total:
            return {}
        targets = self._shared[self._memory.concept[votes.name[query]]]
        columns: dict[str, Floats | float] = {"memory similarity": float(total)}
        for number, feature in enumerate(SHARED_FEATURES):
            of_candidates = self._shared[concepts, number, None]
            shares = (of_candidates == targets[None, :, number]) & (of_candidates >= 0)
            columns[feature] = (shares @ weight) / total
            if number == 0:
                columns[feature] = (shares @ weight) * self._sharing[self._lexicon.domain[concepts]]
        return columns
