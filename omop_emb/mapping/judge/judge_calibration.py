"""Judge calibration: what a judge's answer does to the first candidate's probability."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from omop_emb.arrays import Doubles, Ints, Mask
from omop_emb.mapping.records import MappedTerm
from omop_emb.records import counted

ANSWERS = ("agrees", "chooses another", "says none")
"""What a judge can say about the first candidate. No answer is none of these, and changes nothing."""

MIN_ANSWERS = 100
"""Nothing is learned from fewer approved terms with an answer."""

MIN_ANSWERS_OF_KIND = 20
"""A kind of answer with fewer examples gets no shift."""

_FOLDS = 3
_RIDGE_PENALTY = 1.0
_MIN_PROBABILITY = 1e-4  # probabilities of 0 and 1 have no finite log odds
_ANSWER = re.compile(r"\s*(\d+|none)\b")


def is_answer(judge: str) -> bool:
    """Whether a `judge` column holds a judge's choice, not the reason why there is none."""
    return _ANSWER.match(judge) is not None


def classify_answer(judge: str, concept_id: int) -> str | None:
    """What a `judge` column says about a concept: one of ANSWERS, or None if it holds no answer."""
    match = _ANSWER.match(judge)
    if match is None:
        return None
    if match[1] == "none":
        return "says none"
    return "agrees" if int(match[1]) == concept_id else "chooses another"


def shift_probability(probability: float, shift: float) -> float:
    """The probability with its log odds shifted; it never moves against the sign of the shift."""
    clipped = min(max(probability, _MIN_PROBABILITY), 1 - _MIN_PROBABILITY)
    odds = clipped / (1 - clipped) * np.exp(shift)
    shifted = float(odds / (1 + odds))
    return max(shifted, probability) if shift > 0 else min(shifted, probability)


def apply_answer(mapped: MappedTerm, shifts: Mapping[str, float]) -> MappedTerm:
    """The term with probability and priority changed by its judge's answer; its decision stays."""
    if mapped.probability is None or mapped.best is None or mapped.by_code:
        return mapped
    answer = classify_answer(mapped.judge, mapped.best.concept_id)
    if answer is None or answer not in shifts:
        return mapped
    probability = shift_probability(mapped.probability, shifts[answer])
    first = replace(mapped.best, probability=probability)
    return replace(
        mapped,
        candidates=(first, *mapped.candidates[1:]),
        probability=probability,
        priority=(mapped.term.frequency if mapped.term.frequency is not None else 1) * (1 - probability),
    )


def learn_shifts(
    probability: Doubles, answers: Sequence[str | None], correct: Mask
) -> tuple[dict[str, float], str]:
    """How much each answer shifts the log odds, and a message for the user ("" without any answer).

    There are no shifts, and the message says why, if there are too few answers, or if cross-validation
    finds no lower logarithmic loss with the shifts than without. The (n,) probabilities and whether they were
    correct are of first candidates, by a ranker and a calibration that did not see the term.
    """
    answered = np.array([answer is not None for answer in answers], bool)
    if not answered.any():
        return {}, ""
    if answered.sum() < MIN_ANSWERS:
        return {}, (
            f"only {counted(int(answered.sum()), 'approved term has', 'approved terms have')} a "
            "judge's answer; "
            f"before answers change probabilities, at least {MIN_ANSWERS} are needed"
        )
    kind = np.array([ANSWERS.index(answer) for answer in answers if answer is not None], np.int64)
    log_odds, target = _log_odds(probability[answered]), correct[answered].astype(np.float64)
    fold = np.arange(len(log_odds)) % _FOLDS
    shifted = log_odds.copy()
    for number in range(_FOLDS):
        inside, outside = fold == number, fold != number
        shifted[inside] += _fit_shifts(log_odds[outside], kind[outside], target[outside])[kind[inside]]
    before, after = _log_loss(log_odds, target), _log_loss(shifted, target)
    if after >= before:
        return {}, (
            f"the judge's answers on {counted(len(log_odds), 'approved term')} do not improve probabilities "
            f"(loss {before:.3f} without, {after:.3f} with them) and are not used"
        )
    fitted = _fit_shifts(log_odds, kind, target)
    shifts = {answer: float(shift) for answer, shift in zip(ANSWERS, fitted, strict=True) if shift}
    factors = ", ".join(f"{answer} {np.exp(shift):.2g}" for answer, shift in shifts.items())
    return shifts, (
        f"the judge's answers change probabilities from now on: learned from "
        f"{counted(len(log_odds), 'approved term')} (loss {before:.3f} without, {after:.3f} with "
        f"them; factors on the odds: {factors})"
    )


def _fit_shifts(log_odds: Doubles, kind: Ints, target: Doubles) -> Doubles:
    """(ANSWERS,) ridge logistic regression by Newton's method; a rare answer gets 0."""
    shifts = np.zeros(len(ANSWERS))
    for number in range(len(ANSWERS)):
        rows = kind == number
        if rows.sum() < MIN_ANSWERS_OF_KIND:
            continue
        for _ in range(50):
            p = 1 / (1 + np.exp(-(log_odds[rows] + shifts[number])))
            gradient = (target[rows] - p).sum() - _RIDGE_PENALTY * shifts[number]
            step = gradient / ((p * (1 - p)).sum() + _RIDGE_PENALTY)
            shifts[number] += np.clip(step, -1.0, 1.0)
    return shifts


def _log_odds(probability: Doubles) -> Doubles:
    clipped = np.clip(probability, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _log_loss(log_odds: Doubles, target: Doubles) -> float:
    return float(np.mean(np.logaddexp(0, log_odds) - target * log_odds))
