"""Second vote models: the JSON of samples, blind cards, votes, differences and results."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from omop_emb.records import Concept
from omop_emb.service.review.blind_cards import BlindCard
from omop_emb.service.review.decision_records import Action, Equivalence, ReviewState, Target, Verdict
from omop_emb.service.review.second_votes import VoteProgress
from omop_emb.service.review.vote_differences import VotedTerm
from omop_emb.service.review.vote_samples import Sample, SampleKind
from omop_emb.web.review.conflict_models import NamedTargetModel, named_target
from omop_emb.web.review.review_models import MAX_POSITION, DecisionRequest, TargetModel, target_models

_Name = Annotated[str, StringConstraints(max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")  # a misspelt name would be ignored silently


class SampleRequest(_Strict):
    """Draws terms that a second person decides again."""

    kind: SampleKind = SampleKind.SECOND_VOTE
    reviewer: _Name = Field(default="", description='Who is asked; "" for anybody but who decided.')
    size: int | None = Field(default=None, ge=1, le=10_000_000, description="How many terms; null for all.")
    seed: int | None = Field(default=None, ge=0, lt=2**31, description="Null for a new one.")
    domain: _Name | None = Field(default=None, description="Only terms decided for this domain.")


class SampleModel(BaseModel):
    """Terms that are decided a second time."""

    sample_id: int
    kind: SampleKind
    reviewer: str = Field(description='Who is asked; "" for anybody but who decided.')
    population: int = Field(description="Decided terms that could be drawn.")
    seed: int = Field(description="Of the draw, and of the order in which candidates are shown.")
    created_by: str
    created_at: datetime
    terms: int
    voted: int

    @classmethod
    def of(cls, sample: Sample) -> Self:
        """The model of a sample."""
        return cls(**{name: getattr(sample, name) for name in cls.model_fields})


class SamplesAnswer(BaseModel):
    """The samples of a review, the latest first."""

    samples: list[SampleModel]


class BlindCandidateModel(BaseModel):
    """A candidate concept, without its rank, score or probability."""

    concept_id: int
    concept_name: str
    domain_id: str
    vocabulary_id: str
    concept_class_id: str
    concept_code: str
    differences: list[str] = Field(description="Between the term and the concept's name.")
    targets: list[TargetModel] = Field(description="What choosing it stores.")


class OwnVoteModel(BaseModel):
    """What the person who asks has voted."""

    state: ReviewState
    targets: list[TargetModel]


class BlindCardModel(BaseModel):
    """A term as a second person sees it."""

    position: int
    code: str
    name: str
    further_names: list[str]
    frequency: int | None
    allowed_domain: str
    context: dict[str, str]
    candidates: list[BlindCandidateModel] = Field(description="In an order that tells nothing.")
    own: OwnVoteModel | None = Field(description="The asker's own vote.")

    @classmethod
    def of(cls, card: BlindCard) -> Self:
        """The model of a card."""
        own = card.own
        return cls(
            position=card.position,
            code=card.source_code,
            name=card.source_name,
            further_names=list(card.further_names),
            frequency=card.frequency,
            allowed_domain=card.domain,
            context=dict(card.context),
            candidates=[
                BlindCandidateModel(
                    concept_id=one.concept_id,
                    concept_name=one.concept_name,
                    domain_id=one.domain_id,
                    vocabulary_id=one.vocabulary_id,
                    concept_class_id=one.concept_class_id,
                    concept_code=one.concept_code,
                    differences=list(one.differences),
                    targets=target_models(one.targets),
                )
                for one in card.candidates
            ],
            own=None if own is None else OwnVoteModel(state=own.state, targets=target_models(own.targets)),
        )


class CardsAnswer(BaseModel):
    """The next terms for a person to vote on."""

    cards: list[BlindCardModel]
    open: int = Field(description="Terms on which the asker may vote and nobody has.")
    voted: int = Field(description="Terms on which the asker has voted.")
    terms: int = Field(description="Of the sample.")

    @classmethod
    def of(cls, cards: list[BlindCard], progress: VoteProgress) -> Self:
        """The answer of some cards."""
        return cls(
            cards=[BlindCardModel.of(card) for card in cards],
            open=progress.open,
            voted=progress.voted,
            terms=progress.terms,
        )


class VoteRequest(_Strict):
    """A second person's verdict on a term."""

    position: int = Field(ge=1, le=MAX_POSITION)
    request_id: UUID = Field(description="Made where the person decides; sent again, it stores nothing more.")
    state: ReviewState
    targets: list[TargetModel] = Field(default=[], max_length=100)
    equivalence: Equivalence = Equivalence.UNREVIEWED
    comment: str = Field(default="", max_length=10_000)

    def verdict(self) -> Verdict:
        """What the person says.

        Raises:
            InputError: it says nothing sensible.
        """
        return Verdict(
            state=self.state,
            targets=tuple(Target(one.concept_id, one.mapping_type) for one in self.targets),
            equivalence=self.equivalence,
            comment=self.comment,
        )


class VoteModel(BaseModel):
    """A vote as it was stored."""

    vote_id: int
    position: int
    request_id: UUID
    state: ReviewState
    targets: list[TargetModel]
    voted_at: datetime


class SideModel(BaseModel):
    """One of two verdicts on a term."""

    state: ReviewState
    targets: list[NamedTargetModel]
    comment: str
    is_second: bool | None = Field(description="Whether it is the second vote; null while that is hidden.")
    reviewer: str | None = Field(description="Null while names are hidden.")


class DifferenceModel(BaseModel):
    """A term on which two people differ."""

    position: int
    code: str
    name: str
    version: int = Field(description="To be sent with the third decision.")
    sides: list[SideModel] = Field(description="In an order that tells nothing while it is open.")
    is_settled: bool
    decided: SideModel | None = Field(description="The decision that settled it.")
    is_adjudicated: bool

    @classmethod
    def of(cls, one: VotedTerm, concepts: Mapping[int, Concept], *, names: bool) -> Self:
        """The model of a difference; names and sides are shown if they are asked for, or it is settled."""
        shown = names or one.is_settled
        first = _side(one.first if one.is_settled else one.current, concepts)
        second = _side(one.second, concepts)
        if shown:
            first.is_second, second.is_second = False, True
            first.reviewer = one.first_reviewer if one.is_settled else one.decided_by
            second.reviewer = one.second_reviewer
        is_turned = not shown and (one.sample_id + one.position * 7919) % 2 == 1
        decided = None
        if one.is_settled:
            decided = _side(one.current, concepts)
            decided.reviewer = one.decided_by
        return cls(
            position=one.position,
            code=one.source_code,
            name=one.source_name,
            version=one.version,
            sides=[second, first] if is_turned else [first, second],
            is_settled=one.is_settled,
            decided=decided,
            is_adjudicated=one.is_settled and one.action is Action.ADJUDICATE,
        )


def _side(verdict: Verdict, concepts: Mapping[int, Concept]) -> SideModel:
    return SideModel(
        state=verdict.state,
        targets=[named_target(target, concepts) for target in verdict.targets],
        comment=verdict.comment,
        is_second=None,
        reviewer=None,
    )


class DifferencesAnswer(BaseModel):
    """Where the two differ, the open ones first."""

    open: int
    settled: int
    differences: list[DifferenceModel]
    offset: int
    next: str | None = Field(description="Path of the next page.")


class AdjudicationRequest(DecisionRequest):
    """A third decision on a term on which two people differ."""
