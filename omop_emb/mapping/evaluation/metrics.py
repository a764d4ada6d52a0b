"""Figures of a measured mapping, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omop_emb.arrays import Doubles, Ints, Mask
from omop_emb.errors import InputError
from omop_emb.mapping.evaluation.outcomes import RANKINGS, Outcome
from omop_emb.mapping.ranking.calibration import calibration_error

CUTS = (1, 5, 10, 50)
PRECISIONS = (0.95, 0.98)
RESAMPLES = 1000
SEED = 1


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number.

    Attributes:
        group: what it was measured on: "all", "trivial", "hard", or a value of `by`.
        by: "" for all terms, else what the group is a value of: "difficulty", "domain" or "source".
        ranking: one of evaluation.RANKINGS; "" for what concerns the probability.
        metric: "recall@1" …, "MRR", "accuracy", "coverage at .95", "calibration error".
        value: 0 to 1.
        low, high: its 95 % interval by bootstrap over terms.
        terms: how many it was measured on.
    """

    group: str
    by: str
    ranking: str
    metric: str
    value: float
    low: float
    high: float
    terms: int

    def to_row(self) -> dict[str, Any]:
        """By name, rounded."""
        rounded = {name: round(getattr(self, name), 4) for name in ("value", "low", "high")}
        return {
            "by": self.by or "all",
            "group": self.group,
            "ranking": self.ranking,
            "metric": self.metric,
            **rounded,
            "terms": self.terms,
        }


def figures(
    outcomes: Sequence[Outcome], *, by: Iterable[str] = (), no_match_below: float = 0.0
) -> list[Figure]:
    """All figures, for all terms, trivial and hard ones apart, and each value of what is asked for.

    Recall and MRR are of the terms that have a match; accuracy, coverage and calibration error of all.

    Args:
        outcomes: as evaluate gives them.
        by: "domain" and "source".
        no_match_below: a first candidate less probable is taken for the answer "no match".

    Raises:
        InputError: there is nothing to measure, or `by` has an unknown value.
    """
    if not outcomes:
        raise InputError("none of the terms can be measured: their concepts are not in this vocabulary")
    result = _group(outcomes, "", "all", no_match_below)
    findable = [outcome for outcome in outcomes if outcome.findable]
    for name, chosen in (
        ("trivial", [outcome for outcome in findable if outcome.trivial]),
        ("hard", [outcome for outcome in findable if not outcome.trivial]),
    ):
        result += _group(chosen, "difficulty", name, no_match_below) if chosen else []
    keys: dict[str, Callable[[Outcome], str]] = {
        "domain": lambda outcome: outcome.domain,
        "source": lambda outcome: outcome.gold.source,
    }
    for kind in by:
        if kind not in keys:
            raise InputError(f"figures are given by {' or '.join(keys)}; found {kind!r}")
        groups: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
            groups.setdefault(keys[kind](outcome), []).append(outcome)
        for name in sorted(groups):
            result += _group(groups[name], kind, name or "(none)", no_match_below)
        if len(groups) > 1:
            result += _macro(list(groups.values()), kind)
    return result


def _group(outcomes: Sequence[Outcome], by: str, group: str, no_match_below: float) -> list[Figure]:
    rng = np.random.default_rng(SEED)
    findable = [outcome for outcome in outcomes if outcome.findable]
    result = []

    def means(ranking: str, values: Mapping[str, Doubles]) -> None:
        table = np.column_stack(list(values.values()))
        low, high = np.percentile(resampled_means(table, rng), [2.5, 97.5], axis=0)
        for column, name in enumerate(values):
            result.append(
                Figure(
                    group=group,
                    by=by,
                    ranking=ranking,
                    metric=name,
                    value=float(table[:, column].mean()),
                    low=float(low[column]),
                    high=float(high[column]),
                    terms=len(table),
                )
            )

    for ranking in RANKINGS if findable else ():
        if ranking == "memory" and not any(outcome.ranks["memory"] for outcome in findable):
            continue
        means(ranking, rank_values(np.array([outcome.ranks[ranking] for outcome in findable])))
    answers = np.array([_is_right(outcome, no_match_below) for outcome in outcomes])
    means("ranker", {"accuracy": answers.astype(np.float64)})
    if all(outcome.probability is not None for outcome in outcomes):
        probability = np.array([outcome.probability for outcome in outcomes], np.float64)
        right = np.array([outcome.right for outcome in outcomes])
        for name, measure in _probability_metrics():
            draws = [rng.integers(0, len(right), len(right)) for _ in range(RESAMPLES // 5)]
            low, high = np.percentile([measure(probability[d], right[d]) for d in draws], [2.5, 97.5])
            value = measure(probability, right)
            result.append(
                Figure(
                    group=group,
                    by=by,
                    ranking="",
                    metric=name,
                    value=value,
                    low=float(low),
                    high=float(high),
                    terms=len(right),
                )
            )
    return result


def _macro(groups: Sequence[Sequence[Outcome]], kind: str) -> list[Figure]:
    """The mean over groups, each counting the same; resampled within each."""
    rng = np.random.default_rng(SEED)
    result = []
    for ranking in RANKINGS:
        points, draws, terms, names = [], [], 0, []
        for group in groups:
            found = np.array([outcome.ranks[ranking] for outcome in group if outcome.findable])
            if len(found):
                values = rank_values(found)
                table, names = np.column_stack(list(values.values())), list(values)
                points.append(table.mean(axis=0))
                draws.append(resampled_means(table, rng))
                terms += len(found)
        if not points or not np.any(points):
            continue
        low, high = np.percentile(np.mean(draws, axis=0), [2.5, 97.5], axis=0)
        mean = np.mean(points, axis=0)
        result += [
            Figure(
                group=f"mean over {kind}s",
                by=kind,
                ranking=ranking,
                metric=name,
                value=float(mean[column]),
                low=float(low[column]),
                high=float(high[column]),
                terms=terms,
            )
            for column, name in enumerate(names)
        ]
    return result


def rank_values(ranks: Ints) -> dict[str, Doubles]:
    """Metric -> (n,) its value for each term, of which the mean is taken."""
    values = {f"recall@{cut}": ((ranks > 0) & (ranks <= cut)).astype(np.float64) for cut in CUTS}
    return {**values, "MRR": np.where(ranks > 0, 1 / np.maximum(ranks, 1), 0.0)}


def _is_right(outcome: Outcome, no_match_below: float) -> bool:
    """Whether the answer is right, "no match" included, where it is given and where it is due."""
    refused = outcome.first is None or (
        outcome.probability is not None and outcome.probability < no_match_below
    )
    return not outcome.findable if refused else outcome.right


def _probability_metrics() -> list[tuple[str, Callable[[Doubles, Mask], float]]]:
    def coverage(precision: float) -> Callable[[Doubles, Mask], float]:
        return lambda probability, right: coverage_at(precision, probability, right)

    return [
        ("calibration error", calibration_error),
        *((f"coverage at {precision:g}", coverage(precision)) for precision in PRECISIONS),
    ]


def coverage_at(precision: float, probability: Doubles, right: Mask) -> float:
    """The largest share of terms, most probable first, of which this share is right (no bound: a point)."""
    order = np.argsort(-probability, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(right) + 1)
    reached = np.flatnonzero(share >= precision)
    return float(reached[-1] + 1) / len(right) if len(reached) else 0.0


def resampled_means(table: Doubles, rng: np.random.Generator) -> Doubles:
    """(RESAMPLES, columns) means of the rows, drawn with replacement."""
    count = len(table)
    result = np.empty((RESAMPLES, table.shape[1]))
    for at in range(0, RESAMPLES, 100):
        weights = rng.multinomial(count, np.full(count, 1 / count), size=min(100, RESAMPLES - at))
        result[at : at + 100] = weights @ table / count
    return result
