"""What a judge's answer says of the first candidate's probability, learned from what a site approved."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from omop_emb.mapping.records import MappedTerm

ANSWERS = ("agrees", "chooses another", "says none")
"""What a judge can say of the first candidate; no answer is none of them and changes nothing."""

LEAST_ANSWERS = 100
"""Approved terms with an answer that it takes; a kind of answer needs LEAST_OF_KIND of them."""
LEAST_OF_KIND = 20

_FOLDS, _PENALTY, _SURE = 3, 1.0, 1e-4
_ANSWER = re.compile(r"\s*(\d+|none)\b")
Doubles = npt.NDArray[np.float64]


def answer_of(judge: str, concept_id: int) -> str | None:
    """What a column `judge` says of a concept: one of ANSWERS, or None where it holds no answer."""
    found = _ANSWER.match(judge)
    if found is None:
        return None
    if found[1] == "none":
        return "says none"
    return "agrees" if int(found[1]) == concept_id else "chooses another"


def shifted(probability: float, shift: float) -> float:
    """A probability whose logarithm of the odds is moved; one of 0 or 1 is taken for nearly so."""
    kept = min(max(probability, _SURE), 1 - _SURE)
    odds = kept / (1 - kept) * np.exp(shift)
    moved = float(odds / (1 + odds))
    return max(moved, probability) if shift > 0 else min(moved, probability)


def with_answer(mapped: MappedTerm, shifts: Mapping[str, float]) -> MappedTerm:
    """A term whose probability takes its judge's answer in; its decision stays as it is."""
    if mapped.probability is None or mapped.best is None or mapped.by_code:
        return mapped
    answer = answer_of(mapped.judge, mapped.best.concept_id)
    if answer is None or answer not in shifts:
        return mapped
    probability = shifted(mapped.probability, shifts[answer])
    first = replace(mapped.best, probability=probability)
    return replace(
        mapped,
        candidates=(first, *mapped.candidates[1:]),
        probability=probability,
        priority=(mapped.term.frequency if mapped.term.frequency is not None else 1) * (1 - probability),
    )


def learn(
    probability: Doubles, answers: Sequence[str | None], right: npt.NDArray[np.bool_]
) -> tuple[dict[str, float], str]:
    """How much each answer moves the logarithm of the odds, and a line for a person.

    Nothing is moved, and the line says why, where answers are too few, or where probabilities of terms that
    a shift was not learned from are told no better with it than without (by their logarithmic loss).

    Args:
        probability: (n,) of the first candidate, from a ranker and a calibration that did not see the term.
        answers: (n,) of ANSWERS, or None.
        right: (n,) whether the first candidate was right.
    """
    asked = np.array([answer is not None for answer in answers], bool)
    kind = np.array([ANSWERS.index(answer) if answer is not None else -1 for answer in answers], np.int64)
    if asked.sum() < LEAST_ANSWERS:
        if not asked.any():
            return {}, ""
        return {}, (
            f"the judge answered about {asked.sum():,} approved terms: {LEAST_ANSWERS} is the least that its "
            "answers can change probabilities from"
        )
    logit, kind, target = _logit(probability[asked]), kind[asked], right[asked].astype(np.float64)
    fold = np.arange(len(logit)) % _FOLDS
    moved = np.zeros(len(logit))
    for number in range(_FOLDS):
        inside, outside = fold == number, fold != number
        moved[inside] = _fitted(logit[outside], kind[outside], target[outside])[kind[inside]]
    before, after = _loss(logit, target), _loss(logit + moved, target)
    if after >= before:
        return {}, (
            f"the judge's answers on {len(logit):,} approved terms tell nothing new "
            f"(loss {before:.3f} without, {after:.3f} with them): they change none"
        )
    shifts = _fitted(logit, kind, target)
    learned = {name: float(shifts[place]) for place, name in enumerate(ANSWERS) if shifts[place]}
    told = ", ".join(f"{name} {np.exp(shift):.2g}" for name, shift in learned.items())
    return learned, (
        f"the judge's answers change probabilities from now on: learned from {len(logit):,} approved terms "
        f"(loss {before:.3f} without, {after:.3f} with them; odds times: {told})"
    )


def _fitted(logit: Doubles, kind: npt.NDArray[np.int64], target: Doubles) -> Doubles:
    """(ANSWERS,) the likeliest shift of each answer, drawn to 0; 0 for a rare one. Newton's method."""
    shifts = np.zeros(len(ANSWERS))
    for place in range(len(ANSWERS)):
        rows = kind == place
        if rows.sum() < LEAST_OF_KIND:
            continue
        for _ in range(50):
            p = 1 / (1 + np.exp(-(logit[rows] + shifts[place])))
            gradient = (target[rows] - p).sum() - _PENALTY * shifts[place]
            step = gradient / ((p * (1 - p)).sum() + _PENALTY)
            shifts[place] += np.clip(step, -1.0, 1.0)
    return shifts


def _logit(probability: Doubles) -> Doubles:
    kept = np.clip(probability, _SURE, 1 - _SURE)
    return np.asarray(np.log(kept / (1 - kept)))


def _loss(logit: Doubles, target: Doubles) -> float:
    return float(np.mean(np.logaddexp(0, logit) - target * logit))
