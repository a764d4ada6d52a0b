"""Cross-validation: rankers measured on terms, and on sources, that they did not learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Doubles, Floats, Ints, Mask
from omop_emb.mapping.evaluation.metrics import PRECISIONS, coverage_at, rank_metrics
from omop_emb.mapping.ranking.calibration import (
    Calibration,
    PrecisionCurve,
    calibration_error,
    fit_calibration,
)
from omop_emb.mapping.ranking.examples import Examples, FirstCandidates

Scorer = Callable[[Examples], Floats]
"""Computes (p,) scores of all candidates."""

_MAX_SOURCE_FOLDS = 5
_MIN_TERMS_PER_CURVE = 50


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """What cross-validation measured."""

    ranker: str  # the ranker, and the terms it was measured on
    # Recall@k and MRR are over terms with a match, the others over all terms. "accepted at 0.95" is the share
    # that thresholds learned from other folds accept, "precision at 0.95" the share of these that is correct.
    metrics: dict[str, float]


def validate_terms(
    ranker: str, examples: Examples, fit: Callable[[Examples], Scorer], calibration: Calibration | None
) -> tuple[CrossValidation, Floats]:
    """Three folds of terms; also the scores of each term by a ranker that did not see it.

    The calibration must not have seen any of these terms; None fits one, out of sample too.
    """
    fold = term_folds(len(examples))
    scores = score_out_of_sample(examples, fold, fit)
    metrics = _metrics(examples, scores, fold, calibration, isotonic=True)
    return CrossValidation(ranker=ranker, metrics=metrics), scores


def validate_sources(ranker: str, examples: Examples, fit: Callable[[Examples], Scorer]) -> CrossValidation:
    """Each source by a ranker that saw none of its terms; many sources are left out in groups."""
    fold = source_folds(examples.sources) % _MAX_SOURCE_FOLDS
    scores = score_out_of_sample(examples, fold, fit)
    return CrossValidation(ranker=ranker, metrics=_metrics(examples, scores, fold, None, isotonic=False))


def term_folds(terms: int, folds: int = 3) -> Ints:
    """(terms,) the fold of each term, drawn at random with a fixed seed."""
    return np.asarray(np.random.default_rng(1).permutation(np.arange(terms) % folds), np.int64)


def source_folds(sources: npt.NDArray[np.str_]) -> Ints:
    """(n,) the fold of each term, one per source."""
    return np.unique(sources, return_inverse=True)[1].astype(np.int64)


def score_out_of_sample(examples: Examples, fold: Ints, fit: Callable[[Examples], Scorer]) -> Floats:
    """(p,) scores of each term by a ranker that was trained without its fold."""
    scores = np.zeros(len(examples.features), np.float32)
    for number in np.unique(fold):
        inside = np.flatnonzero(fold == number)
        score = fit(examples.take(np.flatnonzero(fold != number)))
        scores[examples.rows(inside)] = score(examples.take(inside))
    return scores


def calibrate_out_of_sample(
    first: FirstCandidates, fold: Ints, *, isotonic: bool
) -> tuple[Calibration, Doubles]:
    """A calibration for out-of-sample scores, and (n,) probabilities by calibrations that did not see a term.

    The curves of the calibration are made of these probabilities, without terms that are never accepted.
    """
    probability = np.zeros(len(first))
    for number in np.unique(fold):
        inside, outside = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        probability[inside] = first.take(inside).probability(_fit(first.take(outside), isotonic=isotonic))
    curves = {
        str(name): PrecisionCurve.from_predictions(probability[members], first.correct[members])
        for name in np.unique(first.domains)
        if name and (members := first.acceptable & (first.domains == name)).sum() >= _MIN_TERMS_PER_CURVE
    }
    return replace(_fit(first, isotonic=isotonic), curves=curves), probability


def _fit(first: FirstCandidates, *, isotonic: bool) -> Calibration:
    return fit_calibration(first.signals, first.domains.tolist(), first.correct, isotonic=isotonic)


def accept_out_of_sample(first: FirstCandidates, fold: Ints, *, isotonic: bool) -> dict[float, Mask]:
    """(n,) by precision: whether a term is accepted by thresholds that were learned without its fold."""
    accepted = {precision: np.zeros(len(first), bool) for precision in PRECISIONS}
    for number in np.unique(fold):
        outside, inside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        inner = fold[outside]
        if len(np.unique(inner)) == 1:
            inner = term_folds(len(outside))
        learned, _ = calibrate_out_of_sample(first.take(outside), inner, isotonic=isotonic)
        part = first.take(inside)
        probability = part.probability(learned)
        for precision, mask in accepted.items():
            thresholds = {domain: learned.threshold(precision, domain) for domain in np.unique(part.domains)}
            limits = [thresholds[domain] for domain in part.domains]
            mask[inside] = probability >= [np.inf if limit is None else limit for limit in limits]
            mask[inside] &= part.acceptable
    return accepted


def _metrics(
    examples: Examples, scores: Floats, fold: Ints, calibration: Calibration | None, *, isotonic: bool
) -> dict[str, float]:
    """The metrics of out-of-sample scores, see CrossValidation."""
    values = rank_metrics(examples.target_ranks(scores)[examples.findable])
    metrics = {name: float(value.mean()) for name, value in values.items()}
    first = examples.first_candidates(scores)
    if calibration is not None:
        probability = first.probability(calibration)
    else:
        _, probability = calibrate_out_of_sample(first, fold, isotonic=isotonic)
    metrics["calibration error"] = calibration_error(probability, first.correct)
    for precision in PRECISIONS:
        metrics[f"coverage at {precision:g}"] = coverage_at(precision, probability, first.correct)
    if calibration is None:
        for precision, accepted in accept_out_of_sample(first, fold, isotonic=isotonic).items():
            correct = first.correct[accepted]
            metrics[f"accepted at {precision:g}"] = float(accepted.mean())
            metrics[f"precision at {precision:g}"] = float(correct.mean()) if len(correct) else 0.0
    return {name: round(value, 4) for name, value in metrics.items()}
