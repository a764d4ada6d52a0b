"""Judged order: the odds of candidates before and after a judge chose one, and where its choice belongs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omop_emb.arrays import Doubles, Floats

_MIN_PROBABILITY = 1e-4  # probabilities of 0 and 1 have no finite log odds


def shift_probability(probability: float, shift: float) -> float:
    """The probability with its log odds shifted; it never moves against the sign of the shift."""
    odds = np.exp(_log_odds(probability) + shift)
    shifted = float(odds / (1 + odds))
    return max(shifted, probability) if shift > 0 else min(shifted, probability)


def other_probabilities(probability: float, scores: Floats | Sequence[float]) -> Doubles:
    """(c - 1,) that each candidate after the first is right, from the first's probability and all scores.

    What the first leaves is shared among the others by the softmax of their scores, as if one of them were
    right wherever it is not; where it is not, the calibration of a choice lowers the sum.
    """
    others = np.asarray(scores, np.float64)[1:]
    weights = np.exp(others - others.max(initial=-np.inf))
    return np.asarray((1 - probability) * weights / weights.sum())


def choice_log_odds(probability: float, scores: Floats | Sequence[float], chosen: int) -> float:
    """The log odds that candidate number `chosen` (from 1) is right, before the judge chose it."""
    return _log_odds(float(other_probabilities(probability, scores)[chosen - 1]))


def choice_probability(
    choice: tuple[float, float], probability: float, scores: Floats | Sequence[float], chosen: int
) -> float:
    """The probability that candidate number `chosen` (from 1) is right, given that the judge chose it.

    Args:
        choice: offset and slope, see JudgeCalibration.
        probability: of the first candidate, before the judge's answer.
        scores: the ranker's, of the candidates that the judge saw, best first.
        chosen: the number of its choice; not 0.
    """
    offset, slope = choice
    return float(1 / (1 + np.exp(-(offset + slope * choice_log_odds(probability, scores, chosen)))))


def is_put_first(
    first: float,
    choice: tuple[float, float],
    probability: float,
    scores: Floats | Sequence[float],
    chosen: int,
) -> bool:
    """Whether the judge's choice is more probable than the first candidate, whose odds are `first` now."""
    return judged_rank(first, choice, probability, scores, chosen)[0] == 0


def judged_rank(
    first: float,
    choice: tuple[float, float],
    probability: float,
    scores: Floats | Sequence[float],
    chosen: int,
) -> tuple[int, float]:
    """Where the judge's choice belongs, as a number from 0 on, and the probability that it is right.

    It comes before the candidates that are less probable; these keep their order, as the answer says the same
    of all that were not chosen. It never falls.

    Args:
        first: the probability that the first candidate is right, after the answer.
        choice: see choice_probability(), as the others.
        probability: of the first candidate, before the answer.
        scores: the ranker's.
        chosen: the number of the judge's choice.
    """
    # One concept is right at most: what the first keeps is not left for another.
    own = min(choice_probability(choice, probability, scores, chosen), 1 - first)
    if own > first:
        return 0, own
    lowered = first / max(probability, _MIN_PROBABILITY)
    others = other_probabilities(probability, scores)[: chosen - 1] * lowered
    return 1 + int((others >= own).sum()), own


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, _MIN_PROBABILITY), 1 - _MIN_PROBABILITY)
    return float(np.log(clipped / (1 - clipped)))
