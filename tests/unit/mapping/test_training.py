"""Training: calibration and thresholds on terms made by hand, whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking.calibration import PrecisionCurve, calibration_error, min_terms_for
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.ranker import add_approved_bonus
from omop_emb.mapping.training.cross_validation import (
    accept_out_of_sample,
    calibrate_out_of_sample,
    term_folds,
)

DENSE, MEMORY = NAMES.index("dense original"), NAMES.index("memory lexical")


def make_examples(terms: int, seed: int, *, memory: bool = False, no_match: float = 0.1) -> Examples:
    """Terms with ten candidates; the target is a little nearer, much nearer for half of the terms."""
    rng = np.random.default_rng(seed)
    per_term = 10
    count = terms * per_term
    features = np.zeros((count, len(NAMES)), np.float32)
    features[:, DENSE] = rng.uniform(0.2, 0.7, count)
    findable = rng.random(terms) >= no_match
    targets = np.arange(terms) * per_term + rng.integers(0, per_term, terms)
    is_target = np.zeros(count, bool)
    is_target[targets[findable]] = True
    features[targets[findable], DENSE] += rng.choice([0.05, 0.6], findable.sum())
    if memory:
        remembered = targets[findable & (rng.random(terms) < 0.5)]
        features[remembered, MEMORY] = 0.8
    zeros = np.zeros(count, np.float32)
    return Examples(
        features=features,
        domains=np.array(["Condition"] * count),
        offsets=np.arange(terms + 1) * per_term,
        is_target=is_target,
        sources=rng.choice(["north", "south"], terms),
        dense=features[:, DENSE],
        lexical=zeros,
        equal_text=zeros,
        memory_only=zeros > 0,
        findable=findable,
        shipped_scores=features[:, DENSE] * 10,
        concept_ids=np.arange(count),
    )


def test_an_approved_name_puts_its_concept_first_whatever_the_other_features_say() -> None:
    features = np.zeros((2, len(NAMES)), np.float32)
    features[1, NAMES.index("memory exact")] = 1
    assert add_approved_bonus(np.array([30.0, -30.0], np.float32), features).argmax() == 1
    features[0, : NAMES.index("memory lexical")] = 1
    assert default_ranker().score(features, ["Condition", "Drug"]).argmax() == 1


def test_probabilities_hold_for_unseen_terms_including_those_without_a_match() -> None:
    seen, unseen = (make_examples(3000, seed) for seed in (6, 7))
    first, unseen_first = (part.first_candidates(part.dense * 10) for part in (seen, unseen))
    fold = term_folds(len(seen))
    calibration, probability = calibrate_out_of_sample(first, fold, isotonic=True)
    assert calibration_error(probability, first.correct) <= 0.03
    assert calibration_error(unseen_first.probability(calibration), unseen_first.correct) <= 0.03


@pytest.mark.parametrize("precision", [0.95, 0.98])
def test_accepted_terms_have_the_precision_in_every_domain(precision: float) -> None:
    examples = make_examples(4000, 8)
    first = examples.first_candidates(examples.dense * 10)
    accepted = accept_out_of_sample(first, term_folds(len(examples)), isotonic=True)[precision]
    assert accepted.sum() > 200
    for domain in np.unique(first.domains[accepted]):
        own = accepted & (first.domains == domain)
        share = first.correct[own].mean()
        assert share >= precision - 2 * (precision * (1 - precision) / own.sum()) ** 0.5


def test_a_threshold_is_a_bound_and_not_a_point() -> None:
    probability = np.linspace(1, 0, 200)
    correct = np.arange(200) < 100
    threshold = PrecisionCurve.from_predictions(probability, correct).threshold(0.95)
    assert threshold is not None
    accepted = probability >= threshold
    assert 95 <= accepted.sum() <= 102
    # Fewer correct answers in a row are a precision of 1 as a point, but show none of .95
    few = min_terms_for(0.95) - 1
    assert PrecisionCurve.from_predictions(probability[:few], correct[:few]).threshold(0.95) is None


@pytest.mark.parametrize("precision", [0.9, 0.95, 0.98])
@pytest.mark.parametrize("terms", [150, 600, 2400])
def test_a_threshold_promises_too_much_at_most_one_time_in_twenty(precision: float, terms: int) -> None:
    # The hardest case: every threshold is just too low, so any that is found promises too much.
    rng = np.random.default_rng(terms)
    true_precision = precision - 1e-6
    probability = np.linspace(1, 0, terms)
    found = [
        PrecisionCurve.from_predictions(probability, rng.random(terms) < true_precision).threshold(precision)
        for _ in range(400)
    ]
    # 5 % and two standard errors of 400 draws
    assert sum(threshold is not None for threshold in found) <= 400 * 0.05 + 2 * (400 * 0.05 * 0.95) ** 0.5


@pytest.mark.parametrize("fall", [0.1, 0.3, 0.9])
def test_what_is_above_a_threshold_has_the_precision_where_it_falls_with_the_probability(fall: float) -> None:
    rng, terms = np.random.default_rng(3), 1500
    probability = np.linspace(0.995, 0.995 - fall, terms)
    broken = []
    for _ in range(300):
        curve = PrecisionCurve.from_predictions(probability, rng.random(terms) < probability)
        threshold = curve.threshold(0.95)
        broken.append(threshold is not None and probability[probability >= threshold].mean() < 0.95)
    assert np.mean(broken) <= 0.05 + 2 * (0.05 * 0.95 / 300) ** 0.5


def test_the_first_threshold_that_fails_ends_the_search() -> None:
    def curve(*steps: tuple[int, int]) -> PrecisionCurve:
        probability = tuple(0.9 - 0.1 * number for number in range(len(steps)))
        return PrecisionCurve(
            probability=probability,
            count=tuple(count for count, _ in steps),
            right=tuple(right for _, right in steps),
        )

    fewest = min_terms_for(0.95)
    assert curve((fewest, fewest), (300, 298)).threshold(0.95) == 0.8
    # 120 fail from the first start; the later starts (twice, four times as many terms) begin below them.
    assert curve((fewest, fewest), (120, 100), (150, 149)).threshold(0.95) == 0.9
    assert (
        curve((fewest, fewest - 9), (2 * fewest, 2 * fewest), (4 * fewest, 4 * fewest - 99)).threshold(0.95)
        == 0.8
    )
    assert (
        curve((fewest, fewest - 9), (2 * fewest, 2 * fewest - 9), (4 * fewest - 1, 4 * fewest - 1)).threshold(
            0.95
        )
        is None
    )


def test_terms_of_equal_probability_are_on_the_same_side_of_a_threshold() -> None:
    curve = PrecisionCurve.from_predictions(np.array([0.9] * 70 + [0.5] * 70), np.arange(140) < 70)
    assert (curve.probability, curve.count, curve.right) == ((0.9, 0.5), (70, 140), (70, 70))


def test_domains_with_few_terms_accept_nothing() -> None:
    examples = make_examples(60, 9, no_match=0)
    first = examples.first_candidates(examples.dense * 10)
    calibration, _ = calibrate_out_of_sample(first, term_folds(len(examples)), isotonic=False)
    assert calibration.threshold(0.98, "Condition") is None
    assert calibration.threshold(0.95, "Drug") is None


def test_a_term_without_candidates_has_probability_zero_and_is_never_accepted() -> None:
    examples = make_examples(400, 10, no_match=0)
    empty = np.concatenate([examples.offsets, [examples.offsets[-1]]])
    first = replace(examples, offsets=empty).first_candidates(examples.dense * 10)
    assert (first.rows[-1], first.domains[-1], first.correct[-1]) == (-1, "", False)
    calibration, _ = calibrate_out_of_sample(first, term_folds(401), isotonic=False)
    assert first.probability(calibration)[-1] == 0
    assert not accept_out_of_sample(first, term_folds(401), isotonic=False)[0.95][-1]
