"""Training, calibration and thresholds on terms made by hand, whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from omop_emb.mapping.features.names import NAMES
from omop_emb.mapping.ranking.calibration import Curve, calibration_error, lower_bound, signals
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import approved_first, default_ranker
from omop_emb.mapping.training.cross_validation import accepted
from omop_emb.mapping.training.linear_training import calibrate, fit_linear, fit_memory, folds, ranks

DENSE, MEMORY = NAMES.index("dense original"), NAMES.index("memory lexical")


def examples(terms: int, seed: int, *, memory: bool = False, no_match: float = 0.1) -> Examples:
    """Terms with ten candidates; the right one is a little nearer, more so for half of the terms."""
    rng = np.random.default_rng(seed)
    per = 10
    features = np.zeros((terms * per, len(NAMES)), np.float32)
    features[:, DENSE] = rng.uniform(0.2, 0.7, terms * per)
    findable = rng.random(terms) >= no_match
    right = np.zeros(terms * per, bool)
    place = np.arange(terms) * per + rng.integers(0, per, terms)
    right[place[findable]] = True
    features[place[findable], DENSE] += rng.choice([0.05, 0.6], findable.sum())
    if memory:
        remembered = place[findable & (rng.random(terms) < 0.5)]
        features[remembered, MEMORY] = 0.8
    zeros = np.zeros(terms * per, np.float32)
    return Examples(
        features,
        np.array(["Condition"] * (terms * per)),
        np.arange(terms + 1) * per,
        right,
        rng.choice(["north", "south"], terms),
        features[:, DENSE],
        zeros,
        zeros,
        zeros > 0,
        findable,
        features[:, DENSE] * 10,
    )


def test_a_linear_ranker_learns_what_speaks_for_a_candidate() -> None:
    there, other = examples(400, 1), examples(400, 2)
    fitted = fit_linear(there, penalty=1.0, penalty_domain=10.0)
    assert fitted.weights[DENSE] > 1
    found = ranks(other, fitted.score(other.features, other.domains))
    by_hand = ranks(other, other.dense)
    assert (found == by_hand).all()


def test_memory_is_learned_behind_all_else_so_that_a_site_without_any_is_ranked_as_before() -> None:
    plain = fit_linear(examples(400, 1), penalty=1.0)
    remembering = examples(400, 3, memory=True)
    fitted = fit_memory(remembering, plain)
    assert fitted.weights[MEMORY] > 1
    other = examples(200, 4)
    assert (fitted.score(other.features, other.domains) == plain.score(other.features, other.domains)).all()
    unseen = examples(400, 5, memory=True)
    before = ranks(unseen, plain.score(unseen.features, unseen.domains))
    after = ranks(unseen, fitted.score(unseen.features, unseen.domains))
    assert (after == 1).sum() > (before == 1).sum()


def test_what_was_approved_for_the_very_name_comes_first_whatever_speaks_against_it() -> None:
    features = np.zeros((2, len(NAMES)), np.float32)
    features[1, NAMES.index("memory exact")] = 1
    assert approved_first(np.array([30.0, -30.0], np.float32), features, NAMES).argmax() == 1
    features[0, : NAMES.index("memory lexical")] = 1
    assert default_ranker(NAMES).score(features, ["Condition", "Drug"]).argmax() == 1


def test_probabilities_hold_on_unseen_terms_no_match_terms_among_them() -> None:
    learned_from, unseen = examples(3000, 6), examples(3000, 7)
    fold = folds(learned_from.source, by_source=False)
    calibrated = calibrate(learned_from, learned_from.dense * 10, fold, isotonic=True)
    assert calibration_error(calibrated.probability, calibrated.right) <= 0.03
    again = calibrate(unseen, unseen.dense * 10, fold, isotonic=True)
    values, best = signals(unseen.dense * 10, unseen.first, unseen.dense, unseen.lexical, unseen.alike)
    said = calibrated.calibration.probability(values, list(unseen.domains[best]))
    assert calibration_error(said, again.right) <= 0.03


@pytest.mark.parametrize("precision", [0.95, 0.98])
def test_what_thresholds_accept_holds_the_precision_in_every_domain_that_accepts(precision: float) -> None:
    there = examples(4000, 8)
    fold = folds(there.source, by_source=False)
    taken, right, domains = accepted(there, there.dense * 10, fold, isotonic=True)[precision]
    assert taken.sum() > 200
    for domain in np.unique(domains[taken]):
        own = taken & (domains == domain)
        share = right[own].mean()
        assert share >= precision - 2 * (precision * (1 - precision) / own.sum()) ** 0.5


def test_a_threshold_is_a_bound_and_not_a_point() -> None:
    probability = np.linspace(1, 0, 200)
    right = np.arange(200) < 100
    curve = Curve.of(probability, right)
    limit = curve.threshold(0.95)
    assert limit is not None
    taken = probability >= limit
    assert lower_bound(int(right[taken].sum()), int(taken.sum())) >= 0.95
    # twenty right answers in a row are .95 by a point, and not by a bound
    assert Curve.of(probability[:20], right[:20]).threshold(0.95) is None


def test_domains_with_few_terms_accept_nothing() -> None:
    there = examples(60, 9, no_match=0)
    calibrated = calibrate(there, there.dense * 10, folds(there.source, by_source=False), isotonic=False)
    assert calibrated.calibration.threshold(0.98, "Condition") is None
    assert calibrated.calibration.threshold(0.95, "Drug") is None
