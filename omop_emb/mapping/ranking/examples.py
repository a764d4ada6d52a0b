"""Examples: candidates of many terms and which of them are targets, to train rankers and to measure them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Doubles, Floats, Ints, Mask
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking.calibration import Calibration, compute_signals
from omop_emb.mapping.ranking.policy import is_acceptable

_CANDIDATE_COLUMNS = (
    *("features", "domains", "is_target", "dense", "lexical", "equal_text", "memory_only"),
    *("shipped_scores", "concept_ids"),
)


@dataclass(frozen=True, eq=False)
class FirstCandidates:
    """Each term's first candidate under a ranker's scores."""

    rows: Ints  # (n,) its row; -1 for a term without candidates
    signals: Doubles  # (n, SIGNALS) what its probability is computed from
    correct: Mask  # (n,) whether it is a target
    domains: npt.NDArray[np.str_]  # (n,) its domain, "" without a candidate
    acceptable: Mask  # (n,) whether it may be accepted at all, see is_acceptable()

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, terms: Ints) -> FirstCandidates:
        """Those of some of the terms."""
        return FirstCandidates(
            self.rows[terms],
            self.signals[terms],
            self.correct[terms],
            self.domains[terms],
            self.acceptable[terms],
        )

    def probability(self, calibration: Calibration) -> Doubles:
        """(n,) the calibrated probability that each is correct; 0 without a candidate."""
        probability = calibration.probability(self.signals, self.domains.tolist())
        return np.where(self.rows < 0, 0.0, probability)


@dataclass(frozen=True, eq=False, kw_only=True)
class Examples:
    """Candidates of n terms, p in all."""

    features: npt.NDArray[np.floating]  # (p, features) float16 or float32, term by term
    domains: npt.NDArray[np.str_]  # (p,) domain of each candidate
    offsets: Ints  # (n + 1,) where each term's candidates begin
    is_target: Mask  # (p,) whether a candidate is a target
    sources: npt.NDArray[np.str_]  # (n,) the file, set or hospital of each term
    dense: Floats  # (p,) best cosine
    lexical: Floats  # (p,) best 3-gram cosine
    equal_text: Floats  # (p,) 1 where a text equals the term
    memory_only: Mask  # (p,) whether only the memory found a candidate
    findable: Mask  # (n,) whether the vocabulary has a target of the term, found or not
    shipped_scores: Floats  # (p,) scores of a ranker that learned from none of these terms
    concept_ids: Ints  # (p,)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def rows(self, terms: Ints) -> Ints:
        """Candidate rows of some terms, in order."""
        sizes = self.offsets[terms + 1] - self.offsets[terms]
        begin = np.cumsum(sizes) - sizes
        return np.repeat(self.offsets[terms] - begin, sizes) + np.arange(int(sizes.sum()))

    def take(self, terms: Ints) -> Examples:
        """Some of the terms."""
        part = self._take_candidates(self.rows(terms), self.offsets[terms + 1] - self.offsets[terms])
        return replace(part, sources=self.sources[terms], findable=self.findable[terms])

    def without_memory(self) -> Examples:
        """The same terms as a site without approvals sees them; their shipped scores have to be renewed."""
        owner = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        rows = np.flatnonzero(~self.memory_only)
        part = self._take_candidates(rows, np.bincount(owner[rows], minlength=len(self)))
        part.features[:, [column for column, name in enumerate(NAMES) if name.startswith("memory")]] = 0
        return part

    def first_candidates(self, scores: Floats) -> FirstCandidates:
        """Each term's first candidate under (p,) scores."""
        signals, rows = compute_signals(scores, self.offsets, self.dense, self.lexical, self.equal_text)
        return FirstCandidates(
            rows,
            signals,
            np.array([row >= 0 and bool(self.is_target[row]) for row in rows]),
            np.array([str(self.domains[row]) if row >= 0 else "" for row in rows]),
            (rows >= 0) & is_acceptable(self.features[rows]) if len(self.features) else rows >= 0,
        )

    def target_ranks(self, scores: Floats) -> Ints:
        """(n,) rank of each term's first target under (p,) scores, see target_rank()."""
        spans = pairwise(self.offsets.tolist())
        ranks = [target_rank(scores[start:stop], self.is_target[start:stop]) for start, stop in spans]
        return np.array(ranks, np.int64)

    def _take_candidates(self, rows: Ints, sizes: Ints) -> Examples:
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        columns = {name: getattr(self, name)[rows] for name in _CANDIDATE_COLUMNS}
        return replace(self, offsets=offsets, **columns)


def target_rank(scores: Floats, is_target: Mask) -> int:
    """Rank of a term's best target, from 1, ties in order of rows; 0 without a target."""
    targets = np.flatnonzero(is_target)
    if not len(targets):
        return 0
    best = targets[scores[targets].argmax()]
    return 1 + int((scores > scores[best]).sum()) + int((scores[:best] == scores[best]).sum())
