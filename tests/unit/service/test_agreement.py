"""Agreement and audited precision: the figures of other packages, exact bounds, and what words say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import beta, hypergeom

from omop_emb.errors import InputError
from omop_emb.service.review.agreement import (
    agreement_by,
    choice,
    cohens_kappa,
    kappa_in_words,
    measure_agreement,
    wilson_interval,
)
from omop_emb.service.review.decision_records import Equivalence, ReviewState, Target, Verdict
from omop_emb.service.review.precision_audit import AuditResult, finite_interval, suggested_size


def counts(table: Sequence[Sequence[int]]) -> dict[tuple[object, object], int]:
    return {(i, j): n for i, row in enumerate(table) for j, n in enumerate(row) if n}


# statsmodels 0.15, stats.inter_rater.cohens_kappa; cohen_kappa_score of sklearn 1.9 gives the same kappas.
@pytest.mark.parametrize(
    ("table", "kappa", "low", "high"),
    [
        ([[20, 5], [10, 15]], 0.3999999999999999, 0.151092290476661, 0.6489077095233389),
        ([[44, 5, 1], [7, 20, 3], [9, 5, 6]], 0.49152542372881347, 0.35015820121748686, 0.6328926462401401),
        ([[10, 0], [0, 10]], 1.0, 1.0, 1.0),
    ],
)
def test_kappa_and_its_interval_are_those_of_statsmodels(
    table: list[list[int]], kappa: float, low: float, high: float
) -> None:
    found, interval = cohens_kappa(counts(table))
    assert interval is not None
    assert (found, interval.low, interval.high) == pytest.approx((kappa, low, high))


def test_kappa_can_be_negative_and_its_interval_ends_at_minus_one() -> None:
    kappa, interval = cohens_kappa(counts([[0, 6], [4, 0]]))
    assert interval is not None
    assert (kappa, interval.low, interval.high) == pytest.approx(
        (-0.923076923076923, -1, -0.4739107768467473)
    )


def test_kappa_is_not_defined_where_all_say_the_same_one_thing() -> None:
    assert cohens_kappa({("a", "a"): 5}) == (None, None)
    assert cohens_kappa({}) == (None, None)
    assert measure_agreement([]).share is None
    assert measure_agreement([("a", "a")] * 5).share == 1


def test_wilsons_interval_is_that_of_statsmodels() -> None:
    # statsmodels.stats.proportion.proportion_confint(70, 100, method="wilson"), and of 0 of 10
    interval = wilson_interval(70, 100)
    assert (interval.low, interval.high) == pytest.approx((0.6041514536665332, 0.7810511470506724))
    none = wilson_interval(0, 10)
    assert (none.low, none.high) == pytest.approx((0, 0.27753279986288926))


def test_agreement_is_measured_in_all_and_by_domain() -> None:
    triples = [("Drug", "a", "a"), ("Drug", "b", "c"), ("Condition", "d", "d"), ("Condition", "e", "e")]
    overall, parts = agreement_by(triples)
    assert (overall.n, overall.agreed) == (4, 3)
    assert list(parts) == ["Condition", "Drug"]
    assert [(part.n, part.agreed) for part in parts.values()] == [(2, 2), (2, 1)]


def test_targets_and_state_make_a_choice_and_comment_and_order_do_not() -> None:
    one = Verdict(state=ReviewState.APPROVED, targets=(Target(1), Target(2, "MAPS_TO_VALUE")))
    same = Verdict(
        state=ReviewState.APPROVED,
        targets=(Target(2, "MAPS_TO_VALUE"), Target(1)),
        equivalence=Equivalence.EQUAL,
        comment="sure",
    )
    other = Verdict(state=ReviewState.APPROVED, targets=(Target(1), Target(2)))
    assert choice(one) == choice(same) != choice(other)


@pytest.mark.parametrize(
    ("kappa", "word"), [(-0.2, "chance"), (0.55, "moderate"), (0.81, "almost perfect"), (None, "undefined")]
)
def test_kappa_is_told_in_words(kappa: float | None, word: str) -> None:
    assert word in kappa_in_words(kappa)


@pytest.mark.parametrize(
    ("right", "n", "population"), [(95, 100, 1_000), (3, 7, 12), (50, 50, 400), (0, 5, 30)]
)
def test_the_bounds_are_the_outermost_that_the_sample_leaves_possible(
    right: int, n: int, population: int
) -> None:
    possible = [
        number
        for number in range(right, population - (n - right) + 1)
        if hypergeom.sf(right - 1, population, number, n) > 0.025
        and hypergeom.cdf(right, population, number, n) > 0.025
    ]
    interval = finite_interval(right, n, population)
    assert (interval.low, interval.high) == (possible[0] / population, possible[-1] / population)


def test_the_interval_is_clopper_and_pearsons_in_a_large_population_and_a_point_if_all_was_drawn() -> None:
    interval = finite_interval(95, 100, 5_000_000)
    expected = (beta.ppf(0.025, 95, 6), beta.ppf(0.975, 96, 5))
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-4)
    whole = finite_interval(8, 10, 10)
    assert (whole.low, whole.high) == (0.8, 0.8)
    with pytest.raises(InputError, match="found 11, 10 and 20"):
        finite_interval(11, 10, 20)


@settings(deadline=None, max_examples=20)
@given(st.integers(20, 300), st.floats(0.5, 1), st.integers(0, 2**16))
def test_nine_of_ten_intervals_and_more_hold_the_truth(population: int, share: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    right = round(population * share)
    drawn = random.hypergeometric(right, population - right, population // 4, size=200)
    intervals = [finite_interval(int(seen), population // 4, population) for seen in drawn]
    truth = right / population
    held = sum(one.low - 1e-12 <= truth <= one.high + 1e-12 for one in intervals)
    assert held >= 180  # 95 % are promised; 180 of 200 is four standard errors below


def test_the_suggested_size_gives_the_wanted_width_and_not_much_less_would() -> None:
    for population, precision, width in [(10_000, 0.95, 0.05), (500, 0.9, 0.08), (100_000, 0.99, 0.02)]:
        size = suggested_size(population, precision=precision, width=width)
        right = int(precision * size)
        assert finite_interval(right, size, population).width <= width
        less = int(size * 0.8)
        assert finite_interval(round(precision * less), less, population).width > width
    assert suggested_size(5) == 5
    with pytest.raises(InputError, match="at least one approved row"):
        suggested_size(0)


def test_an_audit_says_what_it_means_and_what_is_missing() -> None:
    result = AuditResult(
        population=1_000,
        drawn=100,
        right=95,
        wrong=5,
        unsettled=0,
        unanswered=0,
        settled_by_one_of_two=0,
        interval=finite_interval(95, 100, 1_000),
    )
    assert result.is_final
    assert "95 of them are right (95.0 %)" in result.words
    assert "89.1 % to 98.2 % of all these rows are right: 18 to 109 of them are wrong." in result.words
    partly = AuditResult(
        population=1_000,
        drawn=100,
        right=0,
        wrong=0,
        unsettled=2,
        unanswered=98,
        settled_by_one_of_two=0,
        interval=None,
    )
    assert partly.precision is None
    assert "no row" in partly.words.lower()
