"""Figures of an evaluation, against what one can count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.evaluation.comparison import compare, ranks_by_key
from omop_emb.mapping.evaluation.gold import GoldTerm
from omop_emb.mapping.evaluation.metrics import Figure, coverage_at, figures
from omop_emb.mapping.evaluation.outcomes import RANKINGS, Outcome, rank_of
from omop_emb.mapping.records import SourceTerm


def outcome(
    name: str, rank: int, probability: float | None, *, findable: bool = True, source: str = "a"
) -> Outcome:
    targets = frozenset({1}) if findable else frozenset[int]()
    return Outcome(
        gold=GoldTerm(term=SourceTerm(name=name), targets=targets, source=source),
        findable=findable,
        trivial=name.startswith("easy"),
        domain="Drug" if name.endswith("drug") else "Condition",
        ranks={ranking: rank if ranking == "ranker" else 0 for ranking in RANKINGS},
        probability=probability,
        first=(1, "first", "Condition"),
        expected=("expected",) if findable else (),
    )


TERMS = [
    outcome("easy", 1, 0.9),
    outcome("hard", 3, 0.6, source="b"),
    outcome("hard drug", 0, 0.2),
    outcome("nothing", 0, 0.1, findable=False),
]


def found(listed: list[Figure], metric: str, group: str = "all", ranking: str = "ranker") -> Figure:
    (one,) = [f for f in listed if (f.metric, f.group, f.ranking) == (metric, group, ranking)]
    return one


def test_recall_and_mrr_are_of_the_terms_that_have_a_match() -> None:
    listed = figures(TERMS)
    assert found(listed, "recall@1").value == pytest.approx(1 / 3)
    assert found(listed, "recall@5").value == pytest.approx(2 / 3)
    assert found(listed, "MRR").value == pytest.approx((1 + 1 / 3) / 3)
    assert found(listed, "recall@1").terms == 3


def test_a_term_without_a_match_is_right_only_where_no_match_is_the_answer() -> None:
    assert found(figures(TERMS), "accuracy").value == pytest.approx(1 / 4)
    assert found(figures(TERMS, no_match_below=0.15), "accuracy").value == pytest.approx(2 / 4)
    # the right answer refused, the missing one given
    assert found(figures(TERMS, no_match_below=0.95), "accuracy").value == pytest.approx(1 / 4)


def test_trivial_and_hard_terms_domains_and_sources_stand_apart() -> None:
    listed = figures(TERMS, by=("domain", "source"))
    assert found(listed, "recall@1", "trivial").value == 1
    assert found(listed, "recall@1", "hard").value == 0
    assert found(listed, "recall@1", "Drug").terms == 1
    assert found(listed, "recall@5", "b").value == 1
    # each source counts the same: (1/2 + 0) / 2
    assert found(listed, "recall@1", "mean over sources").value == pytest.approx(0.25)


def test_intervals_hold_the_value_and_narrow_with_more_terms() -> None:
    few, many = figures(TERMS), figures(TERMS * 40)
    for listed in (few, many):
        for figure in listed:
            assert figure.low - 1e-9 <= figure.value <= figure.high + 1e-9
    assert found(many, "recall@1").high - found(many, "recall@1").low < 0.25
    assert found(few, "recall@1").high - found(few, "recall@1").low > 0.5


def test_coverage_is_the_largest_share_of_which_enough_is_right() -> None:
    probability = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    right = np.array([True, True, False, True, False])
    assert coverage_at(0.95, probability, right) == pytest.approx(2 / 5)
    assert coverage_at(0.75, probability, right) == pytest.approx(4 / 5)
    assert coverage_at(0.95, probability, ~right) == 0


def test_without_probabilities_nothing_is_said_about_them() -> None:
    listed = figures([outcome("easy", 1, None), outcome("hard", 2, None)])
    assert {figure.ranking for figure in listed} >= {"ranker"}
    assert not [figure for figure in listed if figure.metric == "calibration error"]


def test_two_evaluations_are_compared_term_by_term() -> None:
    this = {("a", "", str(n)): 1 if n < 60 else 2 for n in range(100)}
    other = {("a", "", str(n)): 1 if n < 40 else 2 for n in range(100)}
    first = compare(this, other)[0]
    assert (first.metric, first.better, first.worse, first.terms) == ("recall@1", 20, 0, 100)
    assert first.value == pytest.approx(0.2)
    assert first.is_certain
    assert not compare(this, this)[0].is_certain


def test_evaluations_of_different_terms_are_not_compared() -> None:
    with pytest.raises(InputError, match="no term in common"):
        compare(ranks_by_key(TERMS), {("elsewhere", "", "easy"): 1})


def test_rank_counts_ties_in_their_order_and_only_what_was_found() -> None:
    scores = np.array([0.5, 0.9, 0.5, 0.7], np.float32)
    right = np.array([False, False, True, False])
    everything = np.ones(4, bool)
    assert rank_of(scores, right, everything) == 4
    assert rank_of(scores, right, np.array([False, False, True, True])) == 2
    assert rank_of(scores, right, np.array([True, True, False, True])) == 0
