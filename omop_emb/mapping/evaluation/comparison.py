"""Two evaluations of the same terms compared: paired differences, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from omop_emb.errors import InputError
from omop_emb.mapping.evaluation.metrics import SEED, rank_values, resampled_means
from omop_emb.mapping.evaluation.outcomes import Outcome

Key = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much a metric of the ranker is larger in one evaluation than in another, on the same terms.

    Attributes:
        metric: its name.
        value: this one's mean less the other's.
        low, high: 95 % interval by paired bootstrap.
        better, worse: on how many terms it is larger, smaller.
        terms: how many both measured.
    """

    metric: str
    value: float
    low: float
    high: float
    better: int
    worse: int
    terms: int

    def to_row(self, group: str) -> dict[str, Any]:
        """As a row among those of Figure.to_row."""
        rounded = {name: round(getattr(self, name), 4) for name in ("value", "low", "high")}
        return {
            "by": "difference",
            "group": group,
            "ranking": "ranker",
            "metric": self.metric,
            **rounded,
            "terms": self.terms,
        }

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def compare(this: Mapping[Key, int], other: Mapping[Key, int]) -> list[Difference]:
    """Paired differences of two evaluations: ranks of the first chosen concept by (source, code, name).

    Raises:
        InputError: they have no term in common.
    """
    shared = [key for key in this if key in other]
    if not shared:
        raise InputError("the two evaluations have no term in common: they must be of the same gold file")
    ours = rank_values(np.array([this[key] for key in shared]))
    theirs = rank_values(np.array([other[key] for key in shared]))
    gaps = {name: ours[name] - theirs[name] for name in ours}
    table = np.column_stack(list(gaps.values()))
    low, high = np.percentile(resampled_means(table, np.random.default_rng(SEED)), [2.5, 97.5], axis=0)
    return [
        Difference(
            metric=name,
            value=float(gap.mean()),
            low=float(low[column]),
            high=float(high[column]),
            better=int((gap > 0).sum()),
            worse=int((gap < 0).sum()),
            terms=len(shared),
        )
        for column, (name, gap) in enumerate(gaps.items())
    ]


def ranks_by_key(outcomes: Iterable[Outcome]) -> dict[Key, int]:
    """Rank by the ranker of each term that has a match, for compare()."""
    return {
        (outcome.gold.source, *outcome.gold.term.key): outcome.ranks["ranker"]
        for outcome in outcomes
        if outcome.findable
    }
