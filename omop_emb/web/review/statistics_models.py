"""Statistics models: what REST answers about a review's statistics, with a meaning for every field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from pydantic import BaseModel, Field

from omop_emb.service.review.statistics_records import ReviewStatistics, Share, StateCount


class ShareModel(BaseModel):
    """How many of some terms."""

    count: int = Field(description="Those that it is about.", ge=0)
    of: int = Field(description="All of them.", ge=0)
    share: float | None = Field(description="count / of, null of nothing.", ge=0, le=1)
    low: float = Field(description="Lower end of the 95 % interval (Wilson).", ge=0, le=1)
    high: float = Field(description="Upper end of the 95 % interval (Wilson).", ge=0, le=1)


class StateCountModel(BaseModel):
    """Terms in a state."""

    terms: int = Field(description="How many.", ge=0)
    frequency: int = Field(description="How often they occur in the source; 0 where it is not known.", ge=0)


class DomainStatesModel(BaseModel):
    """The terms of a domain."""

    domain: str = Field(description='Of the first candidate; "" for none.')
    states: dict[str, StateCountModel] = Field(description="By state.")


class ReviewerWorkModel(BaseModel):
    """What a reviewer did."""

    reviewer: str = Field(description="The name.")
    decisions: int = Field(description="Made, undoing included; a batch counts as one.", ge=0)
    terms: int = Field(description="Decided by these.", ge=0)
    states: dict[str, int] = Field(description="Of the terms whose latest decision is theirs.")
    ways: dict[str, int] = Field(description="How those terms were decided.")
    seconds: float | None = Field(description="Median from a decision to the next, without breaks.")
    last_at: datetime | None = Field(description="When they decided last; null where all came with a file.")


class HourOfWorkModel(BaseModel):
    """What was done in an hour of the clock."""

    hour: datetime = Field(description="Its beginning, UTC.")
    decisions: int = Field(description="Made; a batch counts as one.", ge=0)
    terms: int = Field(description="Decided by these.", ge=0)
    reviewers: int = Field(description="Who decided anything.", ge=0)
    seconds: float | None = Field(description="Median from a decision to the next, without breaks.")


class ReliabilityBinModel(BaseModel):
    """Terms of about the same probability."""

    low: float = Field(description="Lowest probability.", ge=0, le=1)
    high: float = Field(description="Highest probability.", ge=0, le=1)
    mean: float = Field(description="Mean probability.", ge=0, le=1)
    first: ShareModel = Field(description="Those that a person decided with the first candidate.")


class CoveragePointModel(BaseModel):
    """What comes of accepting all first candidates from a probability on."""

    threshold: float = Field(description="The probability.", ge=0, le=1)
    coverage: float = Field(description="Share of the terms that are accepted.", ge=0, le=1)
    first: ShareModel = Field(description="Those that a person decided with the first candidate.")


class CorrectionModel(BaseModel):
    """How the decisions so far correct the probabilities that a review shows."""

    rows: int = Field(description="Terms that somebody looked at and decided.", ge=0)
    said: float = Field(description="Mean probability of their first candidates.", ge=0, le=1)
    approved: float = Field(description="Share of these that people approved.", ge=0, le=1)
    log_odds: float = Field(description="Added to the log-odds of every probability.")


class StatisticsAnswer(BaseModel):
    """What a review has come to so far."""

    terms: int = Field(description="Of the review.", ge=0)
    states: dict[str, StateCountModel] = Field(description="All terms by state.")
    domains: list[DomainStatesModel] = Field(description="Terms by domain, the largest first.")
    reviewers: list[ReviewerWorkModel] = Field(description="Work by reviewer.")
    hours: list[HourOfWorkModel] = Field(
        description="Work by hour, in order; hours without any are left out."
    )
    ways: dict[str, int] = Field(
        description='How terms were decided: "first suggestion", "other candidate", "searched", "no match", '
        '"bulk", "import" (decided in the file), "flagged", "ignored".'
    )
    reliability: list[ReliabilityBinModel] = Field(
        description="Probability against what was decided, of terms that somebody looked at."
    )
    coverage: list[CoveragePointModel] = Field(
        description="Precision against coverage of the same terms, the highest threshold first."
    )
    quarters: list[ShareModel] = Field(
        description="Decided with the first suggestion, by quarter of the decisions."
    )
    correction: CorrectionModel | None = Field(
        description="Of the probabilities that the review shows; null while too few terms are decided."
    )


def statistics_answer(statistics: ReviewStatistics) -> StatisticsAnswer:
    """The model of a review's statistics."""
    return StatisticsAnswer(
        terms=statistics.terms,
        states=_states(statistics.states),
        domains=[
            DomainStatesModel(domain=one.domain, states=_states(one.states)) for one in statistics.domains
        ],
        reviewers=[ReviewerWorkModel.model_validate(vars(one)) for one in statistics.reviewers],
        hours=[HourOfWorkModel.model_validate(vars(one)) for one in statistics.hours],
        ways=dict(statistics.ways),
        reliability=[
            ReliabilityBinModel(low=one.low, high=one.high, mean=one.mean, first=_share(one.first))
            for one in statistics.reliability
        ],
        coverage=[
            CoveragePointModel(threshold=one.threshold, coverage=one.coverage, first=_share(one.first))
            for one in statistics.coverage
        ],
        quarters=[_share(one) for one in statistics.quarters],
        correction=CorrectionModel.model_validate(asdict(statistics.shift)) if statistics.shift else None,
    )


def _states(states: Mapping[str, StateCount]) -> dict[str, StateCountModel]:
    return {name: StateCountModel(terms=one.terms, frequency=one.frequency) for name, one in states.items()}


def _share(share: Share) -> ShareModel:
    low, high = share.interval
    return ShareModel(count=share.count, of=share.of, share=share.value, low=low, high=high)
