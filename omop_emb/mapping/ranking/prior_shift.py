"""Prior shift: how much surer, or less sure, reviewers are than the probabilities said for their file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Doubles
from omop_emb.records import counted

MIN_REVIEWED_ROWS = 10
"""Fewer reviewed rows change nothing."""

_SPREAD = (
    0.8  # standard deviation of the shift between files, in log-odds: see docs/concepts/mapping-quality.md
)
_MOST = 3.0  # log-odds, either way
_EDGE = 1e-4  # probabilities nearer to 0 or 1 are taken as this
_STEPS = 30  # Newton's method is done after about five


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorShift:
    """What is added to the log-odds of every probability of a file or review.

    Attributes:
        log_odds: negative where reviewers approved fewer first candidates than the probabilities said.
        rows: reviewed rows that it was learned from; 0 changes nothing.
        said: mean probability of their first candidates.
        approved: share of them whose first candidate was approved.
    """

    log_odds: float = 0.0
    rows: int = 0
    said: float = 0.0
    approved: float = 0.0

    def __bool__(self) -> bool:
        return self.rows > 0

    def correct(self, probability: float | None) -> float | None:
        """The corrected probability, 0 to 1; those of exactly 0 and 1, and None, stay."""
        if probability is None or not self or not 0 < probability < 1:
            return probability
        odds = probability / (1 - probability) * np.exp(self.log_odds)
        return float(odds / (1 + odds))

    def undo(self, probability: float | None) -> float | None:
        """The probability that correct() makes this of."""
        reverse = PriorShift(log_odds=-self.log_odds, rows=self.rows)
        return reverse.correct(probability)

    def __str__(self) -> str:
        rows = counted(self.rows, "reviewed row")
        return (
            f"probabilities are corrected by {rows}: the mean probability of their first candidates was "
            f"{self.said:.2f}, and {self.approved:.2f} of these were approved"
        )


NO_SHIFT = PriorShift()
"""Corrects nothing."""


def fit_prior_shift(rows: Iterable[tuple[float, int, int]]) -> PriorShift:
    """The shift of reviewed rows, each (probability, terms, of these approved with their first candidate).

    Maximum a posteriori of one intercept in a logistic regression with the log-odds as offset (Steyerberg et
    al., "Validation and updating of predictive logistic regression models", 2004, method 2), normally
    distributed around 0 between files.
    """
    table: npt.NDArray[np.float64] = np.array([*rows], np.float64).reshape(-1, 3)
    probability, terms, approved = table.T
    total = terms.sum()
    if total < MIN_REVIEWED_ROWS:
        return NO_SHIFT
    said = probability.clip(_EDGE, 1 - _EDGE)
    log_odds = np.log(said / (1 - said))
    return PriorShift(
        log_odds=_most_likely(log_odds, terms, approved.sum()),
        rows=int(total),
        said=float((probability * terms).sum() / total),
        approved=float(approved.sum() / total),
    )


def _most_likely(log_odds: Doubles, terms: Doubles, approved: float) -> float:
    shift = 0.0
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-(log_odds + shift)))
        gradient = approved - (p * terms).sum() - shift / _SPREAD**2
        curvature = (p * (1 - p) * terms).sum() + 1 / _SPREAD**2
        # The prior bounds the curvature from below, and the step keeps the sign of the gradient.
        shift += float(np.clip(gradient / curvature, -1, 1))
    return float(np.clip(shift, -_MOST, _MOST))
