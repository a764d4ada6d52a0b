"""Ranker: what orders a term's candidates and explains the order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from omop_emb.arrays import Doubles, Floats, Ints
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking.calibration import APPROVED_BONUS, Calibration
from omop_emb.mapping.records import Contribution

APPROVED_COLUMN = NAMES.index("memory exact")
"""The column of features that is 1 for a concept that was approved for precisely this name."""

_MIN_CONTRIBUTION = 1e-4


class Ranker(Protocol):
    """Orders candidates.

    Attributes:
        name: such as "default-2" or "site-3".
        fingerprint: digest of the space that it was trained in; its probabilities are valid for no other.
        is_site_trained: whether it was trained on approvals of the site itself.
        calibration: from scores to a probability.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def fingerprint(self) -> str: ...  # noqa: D102 - described above
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

    def explain(self, columns: Floats, domain: str) -> list[Contribution]:
        """What each column of one candidate added to its score, strongest first."""
        ...


def add_approved_bonus(scores: Floats, columns: Floats) -> Floats:
    """Scores with which a concept that was approved for precisely this name comes first."""
    return np.asarray(scores + APPROVED_BONUS * columns[:, APPROVED_COLUMN], np.float32)


def strongest_contributions(
    names: Sequence[str], values: Sequence[float] | Floats, parts: Floats | Doubles
) -> list[Contribution]:
    """Contributions by decreasing size; negligible ones are left out."""
    order = np.argsort(-np.abs(parts), kind="stable")
    return [
        Contribution(names[n], float(values[n]), float(parts[n]))
        for n in order
        if abs(parts[n]) > _MIN_CONTRIBUTION
    ]
