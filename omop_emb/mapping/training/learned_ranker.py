"""Learned ranker: the better one of a site's own trees and the shipped ranker, calibrated for the site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from omop_emb.arrays import Floats
from omop_emb.mapping.evaluation.gold import ResolvedTerm
from omop_emb.mapping.ranking import trees
from omop_emb.mapping.ranking.calibration import Calibration
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import LinearRanker
from omop_emb.mapping.ranking.ranker import TrainedSpace, add_approved_bonus
from omop_emb.mapping.training.cross_validation import (
    CrossValidation,
    Scorer,
    calibrate_out_of_sample,
    term_folds,
    validate_sources,
    validate_terms,
)
from omop_emb.mapping.training.judge_answers import learn_judges
from omop_emb.mapping.training.site_examples import with_shipped_scores

OnMessage = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class LearnedRanker:
    """A ranker that was learned, and what cross-validation measured."""

    ranker: LinearRanker | trees.TreeRanker
    validations: Sequence[CrossValidation]
    notes: Sequence[str]  # what the user should know
    uses_own_trees: bool


def learn_ranker(
    examples: Examples,
    shipped: LinearRanker,
    terms: Sequence[ResolvedTerm],
    spaces: Sequence[TrainedSpace],
    *,
    rounds: int | None,
    on_message: OnMessage,
) -> LearnedRanker:
    """Train, cross-validate and calibrate on the examples of terms.

    spaces: the one that answers, and the further ones in the order of their features.
    """
    fingerprint, further = spaces[0].fingerprint, tuple(spaces[1:])
    is_calibrated = fingerprint == shipped.fingerprint and not further
    validations, scores, uses_own_trees = _cross_validate(
        examples, shipped, rounds, on_message, calibrated=is_calibrated
    )
    notes = [
        "your own trees rank no better than the shipped ranker, which stays, with your site's probabilities"
    ]
    calibration, judge_notes = _calibrate(examples, scores, terms)
    ranker: LinearRanker | trees.TreeRanker = replace(
        shipped,
        fingerprint=fingerprint,
        is_site_trained=True,
        calibration=calibration,
        further_spaces=further,
    )
    if uses_own_trees:
        notes = []
        on_message("training on all terms")
        model = trees.train_trees(examples, rounds=rounds)
        ranker = trees.TreeRanker("", fingerprint, calibration, model, shipped, further)
    return LearnedRanker(
        ranker=ranker,
        validations=validations,
        notes=[*notes, *judge_notes],
        uses_own_trees=uses_own_trees,
    )


def _cross_validate(
    examples: Examples,
    shipped: LinearRanker,
    rounds: int | None,
    on_message: OnMessage,
    *,
    calibrated: bool,
) -> tuple[list[CrossValidation], Floats, bool]:
    """Shipped and own ranker measured, the better one's scores, and whether that is the own one.

    `calibrated` says whether the shipped ranker's probabilities are valid for the space.
    """

    def fit_trees(part: Examples) -> Scorer:
        return trees.train_trees(part, rounds=rounds).score_examples

    def fit_shipped(_: Examples) -> Scorer:
        return lambda part: add_approved_bonus(part.shipped_scores, part.features)

    plain = with_shipped_scores(examples.without_memory(), shipped)
    calibration = shipped.calibration if calibrated else None
    before, _ = validate_terms("shipped ranker", plain, fit_shipped, calibration)
    with_memory, shipped_scores = validate_terms("shipped ranker with memory", examples, fit_shipped, None)
    on_message("training: three folds by term")
    own, own_scores = validate_terms("own ranker with memory", examples, fit_trees, None)
    validations = [before, with_memory, own]
    if len(np.unique(examples.sources)) > 1:
        on_message("training: each source left out")
        validations.append(validate_sources("own ranker at an unseen source", plain, fit_trees))
    is_better = own.metrics["MRR"] >= with_memory.metrics["MRR"]
    return validations, own_scores if is_better else shipped_scores, is_better


def _calibrate(
    examples: Examples, scores: Floats, terms: Sequence[ResolvedTerm]
) -> tuple[Calibration, list[str]]:
    """The calibration of out-of-sample scores, and notes about judges' answers if there are any."""
    first = examples.first_candidates(scores)
    calibration, probability = calibrate_out_of_sample(first, term_folds(len(examples)), isotonic=True)
    judges, notes = learn_judges(terms, examples, scores, probability)
    return replace(calibration, judges=judges), notes
