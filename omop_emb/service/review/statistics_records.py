"""Statistics records: what a review has come to so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import sqrt

from omop_emb.mapping.ranking.prior_shift import PriorShift

_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Share:
    """How many of some terms.

    Attributes:
        count: those that it is about.
        of: all of them.
    """

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """From 0 to 1; None of nothing."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval; 0 to 1 of nothing."""
        if not self.of:
            return 0.0, 1.0
        share, spread = self.count / self.of, _Z**2 / self.of
        half = _Z * sqrt(share * (1 - share) / self.of + spread / self.of / 4)
        low, high = ((share + spread / 2 + sign * half) / (1 + spread) for sign in (-1, 1))
        return max(0.0, low), min(1.0, high)


@dataclass(frozen=True)
class StateCount:
    """Terms in a state, and how often they occur in the source."""

    terms: int
    frequency: int


@dataclass(frozen=True, kw_only=True)
class DomainStates:
    """The terms of a domain by state.

    Attributes:
        domain: of the first candidate, or else the one that the term's concept must be in; "" for neither.
    """

    domain: str
    states: Mapping[str, StateCount]

    @property
    def terms(self) -> int:
        """All of them."""
        return sum(one.terms for one in self.states.values())


@dataclass(frozen=True, kw_only=True)
class ReviewerWork:
    """What a reviewer did.

    Attributes:
        decisions: made by them, undoing included; a batch counts as one.
        terms: decided by these.
        states, ways: of the terms whose latest decision is theirs.
        seconds: median from one decision to the next, without breaks; None before there are two.
        last_at: when they decided last; None where all came with a file.
    """

    reviewer: str
    decisions: int
    terms: int
    states: Mapping[str, int]
    ways: Mapping[str, int]
    seconds: float | None
    last_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class HourOfWork:
    """What was done in an hour of the clock, UTC; as in ReviewerWork."""

    hour: datetime
    decisions: int
    terms: int
    reviewers: int
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Terms whose first candidate was said to be right with about the same probability.

    Attributes:
        low, high: of the probabilities.
        mean: of the probabilities.
        first: how many of them were decided with the first candidate.
    """

    low: float
    high: float
    mean: float
    first: Share


@dataclass(frozen=True, kw_only=True)
class CoveragePoint:
    """What comes of accepting every first candidate whose probability reaches a threshold.

    Attributes:
        coverage: share of the terms that are accepted, 0 to 1.
        first: how many of those a person decided with the first candidate.
    """

    threshold: float
    coverage: float
    first: Share


@dataclass(frozen=True, kw_only=True)
class ReviewStatistics:
    """What a review has come to so far.

    Attributes:
        states: of all terms; every state has an entry.
        domains: the largest first.
        reviewers: by name.
        hours: in which somebody decided, in order.
        ways: how terms were decided; every way has an entry.
        reliability: of the terms that somebody looked at and that had a probability.
        coverage: of the same, the highest threshold first.
        quarters: of the decisions that somebody looked at, in order: how many took the first suggestion.
        shift: how these decisions correct the probabilities that people see.
    """

    states: Mapping[str, StateCount]
    domains: tuple[DomainStates, ...]
    reviewers: tuple[ReviewerWork, ...]
    hours: tuple[HourOfWork, ...]
    ways: Mapping[str, int]
    reliability: tuple[ReliabilityBin, ...]
    coverage: tuple[CoveragePoint, ...]
    quarters: tuple[Share, ...]
    shift: PriorShift

    @property
    def terms(self) -> int:
        """All of the review."""
        return sum(one.terms for one in self.states.values())

    @property
    def looked_at(self) -> int:
        """Terms that somebody settled by looking at them, and that had a probability."""
        return sum(one.first.of for one in self.reliability)
