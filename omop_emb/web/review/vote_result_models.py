"""Vote result models: the JSON of agreement, audited precision and the size of an audit."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field

from omop_emb.service.review.agreement import Agreement, Interval, kappa_in_words
from omop_emb.service.review.precision_audit import LEAST_WIDTH, AuditResult
from omop_emb.service.review.vote_results import SampleResult
from omop_emb.web.review.second_vote_models import SampleModel


class IntervalModel(BaseModel):
    """A confidence interval of 95 %."""

    low: float
    high: float

    @classmethod
    def of(cls, interval: Interval | None) -> Self | None:
        """The model of an interval."""
        return None if interval is None else cls(low=interval.low, high=interval.high)


class AgreementModel(BaseModel):
    """How far two people agree."""

    n: int = Field(description="Terms that both have decided.")
    agreed: int
    share: float | None = Field(description="Of the terms on which both say the same.")
    interval: IntervalModel | None = Field(description="Of the share, by Wilson.")
    kappa: float | None = Field(description="Cohen's; null where it is not defined.")
    kappa_interval: IntervalModel | None
    words: str = Field(description="What the kappa means, by Landis and Koch.")

    @classmethod
    def of(cls, one: Agreement) -> Self:
        """The model of an agreement."""
        return cls(
            n=one.n,
            agreed=one.agreed,
            share=one.share,
            interval=IntervalModel.of(one.interval),
            kappa=one.kappa,
            kappa_interval=IntervalModel.of(one.kappa_interval),
            words=kappa_in_words(one.kappa) if one.n else "no vote yet",
        )


class AuditModel(BaseModel):
    """The precision that an audit shows."""

    population: int
    drawn: int
    right: int
    wrong: int
    unsettled: int
    unanswered: int
    settled_by_one_of_two: int
    precision: float | None
    interval: IntervalModel | None = Field(
        description="Exact, for a draw from a finite number of rows: Clopper and Pearson's, hypergeometric."
    )
    is_final: bool
    words: str

    @classmethod
    def of(cls, audit: AuditResult) -> Self:
        """The model of an audit's result."""
        values = {name: getattr(audit, name) for name in cls.model_fields if name != "interval"}
        return cls(**values, interval=IntervalModel.of(audit.interval))


class ResultAnswer(BaseModel):
    """What the votes of a sample say."""

    sample: SampleModel
    overall: AgreementModel
    by_domain: dict[str, AgreementModel]
    flagged: int = Field(description="Votes of a person who could not tell; left out of the agreement.")
    open_differences: int = Field(description="That wait for a third decision.")
    audit: AuditModel | None = Field(description="Null for second votes.")

    @classmethod
    def of(cls, result: SampleResult) -> Self:
        """The answer of a result."""
        return cls(
            sample=SampleModel.of(result.sample),
            overall=AgreementModel.of(result.overall),
            by_domain={name: AgreementModel.of(one) for name, one in result.by_domain.items()},
            flagged=result.flagged,
            open_differences=result.open_differences,
            audit=None if result.audit is None else AuditModel.of(result.audit),
        )


class SizeAnswer(BaseModel):
    """How many rows an audit should draw."""

    population: int = Field(description="Approved rows.")
    size: int
    precision: float = Field(description="That is expected.", ge=0.5, le=1)
    width: float = Field(description="From the lower to the upper bound.", ge=LEAST_WIDTH, le=1)
