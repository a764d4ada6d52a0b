"""Ranker: what orders a term's candidates and explains the order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking.calibration import APPROVED_BONUS, Calibration

APPROVED_COLUMN = NAMES.index("memory exact")
"""The column of features that is 1 for a concept that was approved for precisely this name."""


@dataclass(frozen=True, slots=True)
class TrainedSpace:
    """A further space that a ranker was trained with: its name at that time, and its fingerprint's digest."""

    name: str
    fingerprint: str


class Ranker(Protocol):
    """Orders candidates.

    Attributes:
        name: such as "shipped-3" or "north-3".
        fingerprint: digest of the space that it was trained in; its probabilities are valid for no other.
        further_spaces: those that it was trained with besides, in the order of their features.
        is_site_trained: whether it was trained on approvals of the site itself.
        calibration: from scores to a probability.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def fingerprint(self) -> str: ...  # noqa: D102 - described above
    @property
    def further_spaces(self) -> Sequence[TrainedSpace]: ...  # noqa: D102 - described above
    @property
    def is_site_trained(self) -> bool: ...  # noqa: D102 - described above
    @property
    def calibration(self) -> Calibration | None: ...  # noqa: D102 - described above

    def columns(self, features: Floats, offsets: Ints, domains: Sequence[str]) -> Floats:
        """(p, columns) its input, from (p, features) of terms whose candidates begin at (n + 1,) offsets."""
        ...

    def score(self, columns: Floats, domains: Sequence[str]) -> Floats:
        """(p,) scores, larger is better, of candidates in the given domains."""
        ...

    def contributions(self, columns: Floats, domain: str) -> dict[str, float]:
        """What each feature of one candidate, with these (columns,), added to its score, without bonuses."""
        ...


def add_approved_bonus(scores: Floats, columns: Floats) -> Floats:
    """Scores with which a concept that was approved for precisely this name comes first."""
    return np.asarray(scores + APPROVED_BONUS * columns[:, APPROVED_COLUMN], np.float32)
