"""Metrics of an evaluation, against what one can count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.evaluation.comparison import compare_ranks, ranks_by_key
from omop_emb.mapping.evaluation.gold import GoldTerm
from omop_emb.mapping.evaluation.metrics import MetricValue, compute_metrics, coverage_at
from omop_emb.mapping.evaluation.outcomes import RANKINGS, TermOutcome
from omop_emb.mapping.ranking.examples import target_rank
from omop_emb.mapping.records import SourceTerm


def outcome(
    name: str, rank: int, probability: float | None, *, findable: bool = True, source: str = "a"
) -> TermOutcome:
    targets = frozenset({1}) if findable else frozenset[int]()
    return TermOutcome(
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


def value_of(
    metrics: list[MetricValue], metric: str, group: str = "all", ranking: str = "ranker"
) -> MetricValue:
    (value,) = [m for m in metrics if (m.metric, m.group, m.ranking) == (metric, group, ranking)]
    return value


def test_recall_and_mrr_are_of_the_terms_that_have_a_match() -> None:
    metrics = compute_metrics(TERMS)
    assert value_of(metrics, "recall@1").value == pytest.approx(1 / 3)
    assert value_of(metrics, "recall@5").value == pytest.approx(2 / 3)
    assert value_of(metrics, "MRR").value == pytest.approx((1 + 1 / 3) / 3)
    assert value_of(metrics, "recall@1").terms == 3


def test_a_term_without_a_match_is_correct_only_if_no_match_is_the_answer() -> None:
    assert value_of(compute_metrics(TERMS), "accuracy").value == pytest.approx(1 / 4)
    assert value_of(compute_metrics(TERMS, no_match_below=0.15), "accuracy").value == pytest.approx(2 / 4)
    # the correct answer is refused, "no match" given for all
    assert value_of(compute_metrics(TERMS, no_match_below=0.95), "accuracy").value == pytest.approx(1 / 4)


def test_trivial_and_hard_terms_domains_and_sources_have_metrics_of_their_own() -> None:
    metrics = compute_metrics(TERMS, by=("domain", "source"))
    assert value_of(metrics, "recall@1", "trivial").value == 1
    assert value_of(metrics, "recall@1", "hard").value == 0
    assert value_of(metrics, "recall@1", "Drug").terms == 1
    assert value_of(metrics, "recall@5", "b").value == 1
    # each source counts the same: (1/2 + 0) / 2
    assert value_of(metrics, "recall@1", "mean over sources").value == pytest.approx(0.25)


def test_intervals_hold_the_value_and_narrow_with_more_terms() -> None:
    few, many = compute_metrics(TERMS), compute_metrics(TERMS * 40)
    for metrics in (few, many):
        for metric in metrics:
            assert metric.low - 1e-9 <= metric.value <= metric.high + 1e-9
    assert value_of(many, "recall@1").high - value_of(many, "recall@1").low < 0.25
    assert value_of(few, "recall@1").high - value_of(few, "recall@1").low > 0.5


def test_coverage_is_the_largest_share_with_the_precision() -> None:
    probability = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    correct = np.array([True, True, False, True, False])
    assert coverage_at(0.95, probability, correct) == pytest.approx(2 / 5)
    assert coverage_at(0.75, probability, correct) == pytest.approx(4 / 5)
    assert coverage_at(0.95, probability, ~correct) == 0


def test_without_probabilities_there_are_no_metrics_of_them() -> None:
    metrics = compute_metrics([outcome("easy", 1, None), outcome("hard", 2, None)])
    assert {metric.ranking for metric in metrics} >= {"ranker"}
    assert not [metric for metric in metrics if metric.metric == "calibration error"]


def test_two_evaluations_are_compared_term_by_term() -> None:
    this = {("a", "", str(n)): 1 if n < 60 else 2 for n in range(100)}
    other = {("a", "", str(n)): 1 if n < 40 else 2 for n in range(100)}
    first = compare_ranks(this, other)[0]
    assert (first.metric, first.better, first.worse, first.terms) == ("recall@1", 20, 0, 100)
    assert first.value == pytest.approx(0.2)
    assert first.is_certain
    assert not compare_ranks(this, this)[0].is_certain


def test_evaluations_of_different_terms_are_not_compared() -> None:
    with pytest.raises(InputError, match="no term in common"):
        compare_ranks(ranks_by_key(TERMS), {("elsewhere", "", "easy"): 1})


def test_a_rank_counts_ties_in_the_order_of_rows() -> None:
    scores = np.array([0.5, 0.9, 0.5, 0.7], np.float32)
    assert target_rank(scores, np.array([False, False, True, False])) == 4
    assert target_rank(scores, np.array([True, False, True, False])) == 3
    assert target_rank(scores, np.array([False, True, True, False])) == 1
    assert target_rank(scores, np.zeros(4, bool)) == 0
