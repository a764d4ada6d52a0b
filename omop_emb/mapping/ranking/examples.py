"""Candidates of many terms with what is right among them: what rankers learn from and are measured on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Floats, Ints, Mask
from omop_emb.mapping.features.names import NAMES


@dataclass(frozen=True, eq=False)
class Examples:
    """Candidates of many terms with what is right among them.

    Attributes:
        features: (p, features) float16 or float32, term by term.
        domains: (p,) domain of each candidate.
        first: (n + 1,) where each term's candidates begin.
        right: (p,) whether a candidate is a target.
        source: (n,) which file, set or hospital each term is from.
        dense: (p,) best cosine.
        lexical: (p,) best 3-gram cosine.
        alike: (p,) 1 where a text reads like the term.
        remembered: (p,) whether nothing but the memory found a candidate.
        findable: (n,) whether the vocabulary has a target of the term, found or not.
        shipped: (p,) scores of a ranker that learned from none of these terms.
        concept_id: (p,) of each candidate; empty where nobody asks.
    """

    features: npt.NDArray[np.floating]
    domains: npt.NDArray[np.str_]
    first: Ints
    right: Mask
    source: npt.NDArray[np.str_]
    dense: Floats
    lexical: Floats
    alike: Floats
    remembered: Mask
    findable: Mask
    shipped: Floats
    concept_id: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.first) - 1

    def rows(self, terms: Ints) -> Ints:
        """Candidate rows of some terms, in order."""
        sizes = self.first[terms + 1] - self.first[terms]
        begin = np.cumsum(sizes) - sizes
        return np.repeat(self.first[terms] - begin, sizes) + np.arange(int(sizes.sum()))

    def take(self, terms: Ints) -> Examples:
        """Some of the terms."""
        kept = self._candidates(self.rows(terms), self.first[terms + 1] - self.first[terms])
        return replace(kept, source=self.source[terms], findable=self.findable[terms])

    def without_memory(self) -> Examples:
        """The same terms as a site sees them that has approved nothing yet; `shipped` is to be made again."""
        owner = np.repeat(np.arange(len(self)), np.diff(self.first))
        kept = np.flatnonzero(~self.remembered)
        plain = self._candidates(kept, np.bincount(owner[kept], minlength=len(self)))
        plain.features[:, [place for place, name in enumerate(NAMES) if name.startswith("memory")]] = 0
        return plain

    def _candidates(self, rows: Ints, sizes: Ints) -> Examples:
        return replace(
            self,
            features=self.features[rows],
            domains=self.domains[rows],
            first=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            right=self.right[rows],
            dense=self.dense[rows],
            lexical=self.lexical[rows],
            alike=self.alike[rows],
            remembered=self.remembered[rows],
            shipped=self.shipped[rows],
            concept_id=self.concept_id[rows] if len(self.concept_id) else self.concept_id,
        )
