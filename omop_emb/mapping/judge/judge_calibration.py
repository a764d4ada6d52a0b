"""Judge calibration: what a judge's answers are worth, learned from terms whose concepts a person chose.

Bayes' rule in odds: an answer multiplies the odds that a candidate is right by a factor, which is how much
more often the answer is given where that is so. The logarithms of the factors are learned by logistic
regression over the log odds from before the answer (offset and slope as in Platt, "Probabilistic outputs for
support vector machines", 1999).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omop_emb.arrays import Doubles, Floats, Ints, Mask
from omop_emb.mapping.judge.judged_order import choice_log_odds, is_put_first, shift_probability
from omop_emb.records import counted

AGREES, CHOOSES_ANOTHER, SAYS_NONE = ANSWERS = ("agrees", "chooses another", "says none")
"""What a judge can say about the first candidate. No answer is none of these, and changes nothing."""

MIN_ANSWERS = 100
"""Nothing is learned from fewer approved terms with an answer of the same judge."""

MIN_ANSWERS_OF_KIND = 20
"""A kind of answer with fewer examples gets no shift, and fewer choices of another candidate order none."""

_FOLDS = 3
_RIDGE_PENALTY = 1.0
_MAX_SLOPE = 3.0
_MIN_PROBABILITY = 1e-4  # probabilities of 0 and 1 have no finite log odds
_ANSWER = re.compile(r"\s*(\d+|none)\b")
_SOURCE = re.compile(r"\(([\w.-]+:[^()]+)\)\s*$")


@dataclass(frozen=True, kw_only=True)
class JudgeCalibration:
    """What the answers of one judge are worth.

    Attributes:
        shifts: by answer, how much it shifts the log odds that the first candidate is right.
        choice: offset and slope from the log odds that another candidate is right, before the judge chose
            it, to those after; None if its choices are not known to order candidates better than the ranker.
        answers: number of approved terms that this was learned from.
    """

    shifts: Mapping[str, float] = field(default_factory=dict)
    choice: tuple[float, float] | None = None
    answers: int = 0

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values, numbers rounded to five decimals."""
        return {
            "shifts": {answer: round(shift, 5) for answer, shift in self.shifts.items()},
            "choice": None if self.choice is None else [round(value, 5) for value in self.choice],
            "answers": self.answers,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> JudgeCalibration:
        """The calibration that to_json() wrote."""
        choice = values["choice"]
        return cls(
            shifts=values["shifts"],
            choice=None if choice is None else (float(choice[0]), float(choice[1])),
            answers=values["answers"],
        )


@dataclass(frozen=True, eq=False)
class JudgedTerm:
    """A term whose concepts are known, with a judge's answer.

    Attributes:
        probability: that the first candidate is right, by a ranker and a calibration that did not see the
            term.
        scores: (c,) the ranker's, of the candidates that the judge was shown, best first.
        is_target: (c,) whether each is right.
        chosen: the number of the judge's choice among them; None for the answer "none", c for a concept that
            is no longer among them.
    """

    probability: float
    scores: Floats
    is_target: Mask
    chosen: int | None

    @property
    def answer(self) -> str:
        """One of ANSWERS."""
        if self.chosen is None:
            return SAYS_NONE
        return CHOOSES_ANOTHER if self.chosen else AGREES

    @property
    def is_choice(self) -> bool:
        """Whether the judge chose a candidate that is not the first."""
        return self.chosen is not None and 0 < self.chosen < len(self.scores)


def is_answer(judge: str) -> bool:
    """Whether a `judge` column holds a judge's choice, not the reason why there is none."""
    return _ANSWER.match(judge) is not None


def chosen_concept(judge: str) -> int | None:
    """The concept id that a `judge` column names; None for "none", and where there is no answer."""
    match = _ANSWER.match(judge)
    return None if match is None or match[1] == "none" else int(match[1])


def judge_source(judge: str) -> str:
    """Which judge wrote a `judge` column, as provider:model; "" if it names none."""
    match = _SOURCE.search(judge)
    return "" if match is None else match[1]


def classify_answer(judge: str, concept_id: int) -> str | None:
    """What a `judge` column says about a concept: one of ANSWERS, or None if it holds no answer."""
    if not is_answer(judge):
        return None
    chosen = chosen_concept(judge)
    return SAYS_NONE if chosen is None else AGREES if chosen == concept_id else CHOOSES_ANOTHER


def find_calibration(calibrations: Mapping[str, JudgeCalibration], source: str) -> JudgeCalibration | None:
    """The calibration of a judge; answers that named no judge count for all that have none of their own."""
    return calibrations.get(source, calibrations.get(""))


def learn_judge(terms: Sequence[JudgedTerm]) -> tuple[JudgeCalibration | None, list[str]]:
    """What one judge's answers are worth, and lines for the user about it; None if nothing can be used.

    Each part is used only if cross-validation finds it better than nothing: shifts if they lower the
    logarithmic loss, choices if they put the right candidate first for more terms than they take it away.
    """
    if len(terms) < MIN_ANSWERS:
        return None, [
            f"only {counted(len(terms), 'approved term has', 'approved terms have')} a judge's answer; "
            f"before answers change probabilities, at least {MIN_ANSWERS} are needed"
        ]
    shifts, message = _learn_shifts(terms)
    if not shifts:
        return None, [message]
    choice, choice_message = _learn_choice(terms)
    return JudgeCalibration(shifts=shifts, choice=choice, answers=len(terms)), [message, choice_message]


def _learn_shifts(terms: Sequence[JudgedTerm]) -> tuple[dict[str, float], str]:
    kind = np.array([ANSWERS.index(term.answer) for term in terms], np.int64)
    log_odds = _log_odds(np.array([term.probability for term in terms]))
    target = np.array([bool(term.is_target[0]) for term in terms], np.float64)
    fold = np.arange(len(terms)) % _FOLDS
    shifted = log_odds.copy()
    for number in range(_FOLDS):
        inside, outside = fold == number, fold != number
        shifted[inside] += _fit_shifts(log_odds[outside], kind[outside], target[outside])[kind[inside]]
    before, after = _log_loss(log_odds, target), _log_loss(shifted, target)
    if after >= before:
        return {}, (
            f"the judge's answers on {counted(len(terms), 'approved term')} do not improve probabilities "
            f"(loss {before:.3f} without, {after:.3f} with them) and are not used"
        )
    fitted = _fit_shifts(log_odds, kind, target)
    shifts = {answer: float(shift) for answer, shift in zip(ANSWERS, fitted, strict=True) if shift}
    factors = ", ".join(f"{answer} {np.exp(shift):.2g}" for answer, shift in shifts.items())
    return shifts, (
        "from now on the judge's answers change probabilities: learned from "
        f"{counted(len(terms), 'approved term')} (loss {before:.3f} without, {after:.3f} with them; "
        f"factors on the odds: {factors})"
    )


def _learn_choice(terms: Sequence[JudgedTerm]) -> tuple[tuple[float, float] | None, str]:
    chosen = [term for term in terms if term.is_choice]
    if len(chosen) < MIN_ANSWERS_OF_KIND:
        return None, (
            "the judge chose a candidate other than the first for "
            f"{counted(len(chosen), 'approved term')}; before its choices order candidates, at least "
            f"{MIN_ANSWERS_OF_KIND} are needed"
        )
    fold = np.arange(len(terms)) % _FOLDS
    better = worse = 0
    for number in range(_FOLDS):
        learning = [term for term, own in zip(terms, fold, strict=True) if own != number]
        shift, choice = _shift_of_another(learning), _fit_choice(learning)
        for term, own in zip(terms, fold, strict=True):
            if own == number and term.is_choice and _puts_first(term, shift, choice):
                better += bool(term.is_target[term.chosen or 0]) and not term.is_target[0]
                worse += bool(term.is_target[0]) and not term.is_target[term.chosen or 0]
    tested = f"tested on unseen terms: right first for {better:,} more and {worse:,} fewer"
    if better <= worse:
        return None, f"the judge's choices do not order candidates better than the ranker ({tested})"
    return _fit_choice(terms), f"the judge's choices can order candidates with --judge-orders ({tested})"


def _puts_first(term: JudgedTerm, shift: float, choice: tuple[float, float]) -> bool:
    return is_put_first(
        shift_probability(term.probability, shift), choice, term.probability, term.scores, term.chosen or 0
    )


def _shift_of_another(terms: Sequence[JudgedTerm]) -> float:
    kind = np.array([ANSWERS.index(term.answer) for term in terms], np.int64)
    target = np.array([bool(term.is_target[0]) for term in terms], np.float64)
    log_odds = _log_odds(np.array([term.probability for term in terms]))
    return float(_fit_shifts(log_odds, kind, target)[ANSWERS.index(CHOOSES_ANOTHER)])


def _fit_choice(terms: Sequence[JudgedTerm]) -> tuple[float, float]:
    """Offset and slope by ridge logistic regression, drawn towards 0 and 1: towards the ranker's own odds."""
    from scipy.special import expit

    chosen = [term for term in terms if term.is_choice]
    x = np.array([choice_log_odds(term.probability, term.scores, term.chosen or 0) for term in chosen])
    target = np.array([bool(term.is_target[term.chosen or 0]) for term in chosen], np.float64)
    columns = np.column_stack([np.ones(len(x)), x]) if len(x) else np.zeros((0, 2))
    weights, drawn_to = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    for _ in range(50):
        p = expit(columns @ weights)
        gradient = columns.T @ (target - p) - _RIDGE_PENALTY * (weights - drawn_to)
        curvature = (columns * (p * (1 - p))[:, None]).T @ columns + _RIDGE_PENALTY * np.eye(2)
        weights = weights + np.clip(np.linalg.solve(curvature, gradient), -1.0, 1.0)
    return float(weights[0]), float(np.clip(weights[1], 0.0, _MAX_SLOPE))


def _fit_shifts(log_odds: Doubles, kind: Ints, target: Doubles) -> Doubles:
    """(ANSWERS,) ridge logistic regression by Newton's method; a rare answer gets 0."""
    from scipy.special import expit

    shifts = np.zeros(len(ANSWERS))
    for number in range(len(ANSWERS)):
        rows = kind == number
        if rows.sum() < MIN_ANSWERS_OF_KIND:
            continue
        for _ in range(50):
            p = expit(log_odds[rows] + shifts[number])
            gradient = (target[rows] - p).sum() - _RIDGE_PENALTY * shifts[number]
            step = gradient / ((p * (1 - p)).sum() + _RIDGE_PENALTY)
            shifts[number] += np.clip(step, -1.0, 1.0)
    return shifts


def _log_odds(probability: Doubles) -> Doubles:
    clipped = np.clip(probability, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _log_loss(log_odds: Doubles, target: Doubles) -> float:
    return float(np.mean(np.logaddexp(0, log_odds) - target * log_odds))
