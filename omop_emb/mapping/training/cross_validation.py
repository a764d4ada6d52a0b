"""Tests of a ranker on what it did not learn from: terms of the same sources, and unseen sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Floats, Ints, Mask
from omop_emb.mapping.evaluation.metrics import PRECISIONS, coverage_at, rank_values
from omop_emb.mapping.ranking import calibration
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.training.linear_training import Score, calibrate, folds, out_of_sample, ranks

_LEAVES = 5


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a ranker reached.

    Attributes:
        name: what was tested, and how.
        figures: recall@k and MRR of terms with a match, mean over terms; calibration error and coverage of
            all; "accepted at .95" and "precision at .95": the share of all terms that thresholds learned from
            the other folds accept, and how many of these were right (0 where none was).
    """

    name: str
    figures: dict[str, float]


def same_sources(
    name: str, examples: Examples, fit: Callable[[Examples], Score], known: calibration.Calibration | None
) -> tuple[Protocol, Floats]:
    """Three folds by term, and the scores that each term got from a ranker that did not see it.

    Args:
        name: what is tested.
        examples: the terms.
        fit: trains a ranker.
        known: a calibration that saw none of these terms; None: one is fitted, out of sample too.
    """
    fold = folds(examples.source, by_source=False)
    scores = out_of_sample(examples, fold, fit)
    return Protocol(name=name, figures=measured(examples, scores, fold, known, isotonic=True)), scores


def unseen_sources(name: str, examples: Examples, fit: Callable[[Examples], Score]) -> Protocol:
    """Each source by a ranker that saw none of its terms; many sources are left out by groups."""
    fold = folds(examples.source, by_source=True) % _LEAVES
    scores = out_of_sample(examples, fold, fit)
    return Protocol(name=name, figures=measured(examples, scores, fold, None, isotonic=False))


def measured(
    examples: Examples, scores: Floats, fold: Ints, known: calibration.Calibration | None, *, isotonic: bool
) -> dict[str, float]:
    """The figures of out-of-sample scores; see Protocol."""
    values = rank_values(ranks(examples, scores)[examples.findable])
    result = {metric: float(value.mean()) for metric, value in values.items()}
    if known is not None:
        signals, best = calibration.signals(
            scores, examples.first, examples.dense, examples.lexical, examples.alike
        )
        right = np.array([place >= 0 and bool(examples.right[place]) for place in best])
        domains = [str(examples.domains[place]) if place >= 0 else "" for place in best]
        probability = known.probability(signals, domains)
        probability[best < 0] = 0
    else:
        calibrated = calibrate(examples, scores, fold, isotonic=isotonic)
        probability, right = calibrated.probability, calibrated.right
    result["calibration error"] = calibration.calibration_error(probability, right)
    for precision in PRECISIONS:
        result[f"coverage at {precision:g}"] = coverage_at(precision, probability, right)
    if known is None:
        for precision, (taken, correct, _) in accepted(examples, scores, fold, isotonic=isotonic).items():
            result[f"accepted at {precision:g}"] = float(taken.mean())
            result[f"precision at {precision:g}"] = float(correct[taken].mean()) if taken.any() else 0.0
    return {metric: round(value, 4) for metric, value in result.items()}


Accepted = tuple[Mask, Mask, npt.NDArray[np.str_]]


def accepted(examples: Examples, scores: Floats, fold: Ints, *, isotonic: bool) -> dict[float, Accepted]:
    """Precision -> (n,) accepted, right, domain of each term, by thresholds learned without its fold."""
    values, best = calibration.signals(
        scores, examples.first, examples.dense, examples.lexical, examples.alike
    )
    right = np.array([place >= 0 and bool(examples.right[place]) for place in best])
    domains = np.array([str(examples.domains[place]) if place >= 0 else "" for place in best])
    taken = {precision: np.zeros(len(examples), bool) for precision in PRECISIONS}
    for number in np.unique(fold):
        outside, inside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        inner = fold[outside]
        if len(np.unique(inner)) == 1:
            inner = folds(examples.source[outside], by_source=False)
        part = examples.take(outside)
        learned = calibrate(part, scores[examples.rows(outside)], inner, isotonic=isotonic).calibration
        probability = learned.probability(values[inside], list(domains[inside]))
        for precision, chosen in taken.items():
            limits = {domain: learned.threshold(precision, domain) for domain in np.unique(domains[inside])}
            chosen[inside] = [
                (limit := limits[domain]) is not None and p >= limit
                for p, domain in zip(probability, domains[inside], strict=True)
            ]
    return {precision: (chosen, right, domains) for precision, chosen in taken.items()}
