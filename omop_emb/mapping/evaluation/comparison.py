"""Comparison of two evaluations of the same terms: paired differences with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from omop_emb.errors import InputError
from omop_emb.mapping.evaluation.metrics import SEED, MetricValue, bootstrap_means, rank_metrics
from omop_emb.mapping.evaluation.outcomes import TermOutcome

GoldKey = tuple[str, str, str]
"""Source, code and name of a gold term."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much better a metric of the ranker is in one evaluation than in another."""

    metric: str
    value: float  # the mean over terms here minus the mean there
    low: float  # 95 % interval by paired bootstrap
    high: float
    better: int  # number of terms with a larger value here
    worse: int
    terms: int  # in both evaluations

    def to_row(self, group: str) -> dict[str, Any]:
        """The difference as a row among those of MetricValue.to_row()."""
        interval = (self.value, self.low, self.high)
        return MetricValue(group, "difference", "ranker", self.metric, *interval, self.terms).to_row()

    @property
    def is_certain(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def compare_ranks(ranks: Mapping[GoldKey, int], earlier: Mapping[GoldKey, int]) -> list[Difference]:
    """Paired differences of two evaluations, from the ranks of their findable terms."""
    shared = [key for key in ranks if key in earlier]
    if not shared:
        raise InputError("the two evaluations have no term in common: they must use the same gold file")
    here = rank_metrics(np.array([ranks[key] for key in shared]))
    there = rank_metrics(np.array([earlier[key] for key in shared]))
    table = np.column_stack([here[name] - there[name] for name in here])
    means, low, high = bootstrap_means(table, np.random.default_rng(SEED))
    return [
        Difference(
            metric=name,
            value=float(means[column]),
            low=float(low[column]),
            high=float(high[column]),
            better=int((table[:, column] > 0).sum()),
            worse=int((table[:, column] < 0).sum()),
            terms=len(shared),
        )
        for column, name in enumerate(here)
    ]


def ranks_by_key(outcomes: Iterable[TermOutcome]) -> dict[GoldKey, int]:
    """The ranker's ranks of findable terms, for compare_ranks()."""
    return {
        (outcome.gold.source, *outcome.gold.term.key): outcome.ranks["ranker"]
        for outcome in outcomes
        if outcome.findable
    }
