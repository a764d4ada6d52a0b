"""Metrics: recall, MRR, accuracy, calibration and coverage of evaluated terms, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from omop_emb.arrays import Doubles, Ints, Mask
from omop_emb.errors import InputError
from omop_emb.mapping.evaluation.outcomes import RANKINGS, TermOutcome
from omop_emb.mapping.ranking.calibration import calibration_error

CUTOFFS = (1, 5, 10, 50)
PRECISIONS = (0.95, 0.98)
RESAMPLES = 1000
SEED = 1
_OPTIONAL = ("memory", "further spaces")  # rankings that not every evaluation has


@dataclass(frozen=True)
class MetricValue:
    """One measured value."""

    group: str  # the terms it was measured on: "all", "trivial", "hard", or a value of `by`
    by: str  # "" for all terms, else the kind of the group: "difficulty", "domain" or "source"
    ranking: str  # one of RANKINGS; "" for a metric of the probability
    metric: str  # "recall@1" …, "MRR", "accuracy", "coverage at 0.95", "calibration error"
    value: float  # 0 to 1
    low: float  # its 95 % interval by bootstrap over terms
    high: float
    terms: int

    def to_row(self) -> dict[str, Any]:
        """The value as a row, rounded to four decimals."""
        return {
            "by": self.by or "all",
            "group": self.group,
            "ranking": self.ranking,
            "metric": self.metric,
            **{name: round(getattr(self, name), 4) for name in ("value", "low", "high")},
            "terms": self.terms,
        }


def compute_metrics(
    outcomes: Sequence[TermOutcome], *, by: Iterable[str] = (), no_match_below: float = 0.0
) -> list[MetricValue]:
    """All metrics of all terms, of trivial and of hard ones, and of each group that `by` asks for.

    Recall and MRR are over the terms that have a match; accuracy, coverage and calibration error over all. A
    first candidate less probable than `no_match_below` counts as the answer "no match".
    """
    if not outcomes:
        raise InputError("none of the terms can be measured: their concepts are not in this vocabulary")
    result = _group_metrics(outcomes, "", "all", no_match_below)
    for name, is_trivial in (("trivial", True), ("hard", False)):
        chosen = [outcome for outcome in outcomes if outcome.findable and outcome.trivial is is_trivial]
        result += _group_metrics(chosen, "difficulty", name, no_match_below) if chosen else []
    group_of: dict[str, Callable[[TermOutcome], str]] = {
        "domain": lambda outcome: outcome.domain,
        "source": lambda outcome: outcome.gold.source,
    }
    for kind in by:
        if kind not in group_of:
            raise InputError(f"metrics are given by {' or '.join(group_of)}; found {kind!r}")
        groups: dict[str, list[TermOutcome]] = {}
        for outcome in outcomes:
            groups.setdefault(group_of[kind](outcome), []).append(outcome)
        for name in sorted(groups):
            result += _group_metrics(groups[name], kind, name or "(none)", no_match_below)
        if len(groups) > 1:
            result += _macro_averages(list(groups.values()), kind)
    return result


def _group_metrics(
    outcomes: Sequence[TermOutcome], by: str, group: str, no_match_below: float
) -> list[MetricValue]:
    rng = np.random.default_rng(SEED)
    findable = [outcome for outcome in outcomes if outcome.findable]
    tables: list[tuple[str, dict[str, Doubles]]] = []
    for ranking in RANKINGS if findable else ():
        ranks = np.array([outcome.ranks[ranking] for outcome in findable])
        if ranking not in _OPTIONAL or ranks.any():
            tables.append((ranking, rank_metrics(ranks)))
    correct = np.array([_is_correct(outcome, no_match_below) for outcome in outcomes])
    tables.append(("ranker", {"accuracy": correct.astype(np.float64)}))
    result = []
    for ranking, columns in tables:
        table = np.column_stack(list(columns.values()))
        means, low, high = bootstrap_means(table, rng)
        result += _metric_values(group, by, ranking, list(columns), means, low, high, len(table))
    if all(outcome.probability is not None for outcome in outcomes):
        probability = np.array([outcome.probability for outcome in outcomes], np.float64)
        correct = np.array([outcome.correct for outcome in outcomes])
        for name, measure in _PROBABILITY_METRICS.items():
            # These cost more than means: a fifth of the resamples.
            draws = [rng.integers(0, len(correct), len(correct)) for _ in range(RESAMPLES // 5)]
            low, high = np.percentile([measure(probability[d], correct[d]) for d in draws], [2.5, 97.5])
            value = measure(probability, correct)
            result += _metric_values(group, by, "", [name], [value], [low], [high], len(correct))
    return result


def _macro_averages(groups: Sequence[Sequence[TermOutcome]], kind: str) -> list[MetricValue]:
    """The mean over groups, each with the same weight; resampled within each group."""
    rng = np.random.default_rng(SEED)
    result = []
    for ranking in RANKINGS:
        means, draws, terms, names = [], [], 0, []
        for group in groups:
            ranks = np.array([outcome.ranks[ranking] for outcome in group if outcome.findable])
            if len(ranks):
                columns = rank_metrics(ranks)
                table, names = np.column_stack(list(columns.values())), list(columns)
                means.append(table.mean(axis=0))
                draws.append(_resampled_means(table, rng))
                terms += len(ranks)
        if means and np.any(means):
            low, high = np.percentile(np.mean(draws, axis=0), [2.5, 97.5], axis=0)
            group_name, mean = f"mean over {kind}s", np.mean(means, axis=0)
            result += _metric_values(group_name, kind, ranking, names, mean, low, high, terms)
    return result


def _metric_values(
    group: str,
    by: str,
    ranking: str,
    names: Sequence[str],
    values: Sequence[float] | Doubles,
    low: Sequence[float] | Doubles,
    high: Sequence[float] | Doubles,
    terms: int,
) -> list[MetricValue]:
    columns = zip(names, map(float, values), map(float, low), map(float, high), strict=True)
    return [MetricValue(group, by, ranking, *column, terms) for column in columns]


def rank_metrics(ranks: Ints) -> dict[str, Doubles]:
    """(n,) values per term by metric; their means are recall at each cutoff and MRR."""
    values = {f"recall@{k}": ((ranks > 0) & (ranks <= k)).astype(np.float64) for k in CUTOFFS}
    return {**values, "MRR": np.where(ranks > 0, 1 / np.maximum(ranks, 1), 0.0)}


def _is_correct(outcome: TermOutcome, no_match_below: float) -> bool:
    """Whether the answer is correct: a chosen concept first, or "no match" for a term without one."""
    is_no_match = outcome.first is None or (
        outcome.probability is not None and outcome.probability < no_match_below
    )
    return not outcome.findable if is_no_match else outcome.correct


def coverage_at(precision: float, probability: Doubles, correct: Mask) -> float:
    """The largest share of terms, most probable first, with this precision (a point, not a bound)."""
    order = np.argsort(-probability, kind="stable")
    share = np.cumsum(correct[order]) / np.arange(1, len(correct) + 1)
    reached = np.flatnonzero(share >= precision)
    return float(reached[-1] + 1) / len(correct) if len(reached) else 0.0


_PROBABILITY_METRICS: dict[str, Callable[[Doubles, Mask], float]] = {
    "calibration error": calibration_error,
    **{f"coverage at {precision:g}": partial(coverage_at, precision) for precision in PRECISIONS},
}


def bootstrap_means(table: Doubles, rng: np.random.Generator) -> tuple[Doubles, Doubles, Doubles]:
    """(columns,) means of a table's columns, and the low and high ends of their 95 % intervals."""
    low, high = np.percentile(_resampled_means(table, rng), [2.5, 97.5], axis=0)
    return np.array([column.mean() for column in table.T]), low, high


def _resampled_means(table: Doubles, rng: np.random.Generator) -> Doubles:
    """(RESAMPLES, columns) means of rows drawn with replacement."""
    count = len(table)
    means = np.empty((RESAMPLES, table.shape[1]))
    for start in range(0, RESAMPLES, 100):
        weights = rng.multinomial(count, np.full(count, 1 / count), size=min(100, RESAMPLES - start))
        means[start : start + 100] = weights @ table / count
    return means
