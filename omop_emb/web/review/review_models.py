"""Review models: what the JSON of reviews says, with a meaning for every field."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from omop_emb.mapping.files.usagi_file import MAPS_TO
from omop_emb.records import MAX_CONCEPT_ID
from omop_emb.service.review.decision_records import (
    Action,
    DecisionResult,
    Equivalence,
    NewDecision,
    ReviewState,
    StoredDecision,
    Target,
    Verdict,
)
from omop_emb.service.review.project_records import CurrentTerm
from omop_emb.service.review.review_queue import ReviewProgress

MOST_DECISIONS = 1_000
MAX_POSITION = 2**31 - 1
_Position = Annotated[int, Field(ge=1, le=MAX_POSITION, description="Of the term in the file, from 1.")]
_Version = Annotated[int, Field(ge=0, lt=MAX_POSITION)]
_Comment = Annotated[str, StringConstraints(max_length=10_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")  # a misspelt name would be ignored silently


class TargetModel(_Strict):
    """A concept that a term maps to, or what belongs beside it."""

    concept_id: int = Field(ge=1, le=MAX_CONCEPT_ID, description="OMOP concept id.")
    mapping_type: str = Field(default=MAPS_TO, description="Usagi's, such as MAPS_TO or MAPS_TO_VALUE.")


class DecisionRequest(_Strict):
    """A decision on one term."""

    position: _Position
    version: _Version = Field(description="Of the term when it was shown, 0 if nobody had decided it.")
    request_id: UUID = Field(description="Made where the person decides; sent again, it stores nothing more.")
    state: ReviewState
    targets: list[TargetModel] = Field(default=[], max_length=100)
    equivalence: Equivalence = Field(
        default=Equivalence.UNREVIEWED,
        description="Usagi's: WIDER is a concept that says more than the term.",
    )
    comment: _Comment = ""
    revision: int | None = Field(
        default=None, ge=0, le=MAX_POSITION, description="Of the suggestion that was shown."
    )
    rank: int | None = Field(default=None, ge=1, le=1_000, description="Of the candidate that was chosen.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.verdict()  # its InputError would name no place in the request
        return self

    def verdict(self) -> Verdict:
        """What the person says.

        Raises:
            ValueError: it says nothing sensible.
        """
        try:
            return Verdict(
                state=self.state,
                targets=tuple(Target(one.concept_id, one.mapping_type) for one in self.targets),
                equivalence=self.equivalence,
                comment=self.comment,
            )
        except Exception as error:
            raise ValueError(str(error)) from error

    def to_decision(self) -> NewDecision:
        """The decision as the library takes it."""
        return NewDecision(
            position=self.position,
            version=self.version,
            verdict=self.verdict(),
            request_id=self.request_id,
            revision=self.revision,
            rank=self.rank,
        )


class DecisionsRequest(_Strict):
    """Decisions to store, each on its own."""

    decisions: list[DecisionRequest] = Field(min_length=1, max_length=MOST_DECISIONS)


class UndoRequest(_Strict):
    """Takes back what the reviewer decided last."""

    request_id: UUID = Field(
        description="Made where the person asks; sent again, it takes back nothing more."
    )


class DecisionModel(BaseModel):
    """A decision as it was stored."""

    decision_id: int
    position: int
    version: int = Field(description="Of the term, 1 for its first decision.")
    request_id: UUID
    reviewer: str
    decided_at: datetime
    action: Action
    state: ReviewState
    targets: list[TargetModel]
    equivalence: Equivalence
    comment: str
    revision: int | None
    rank: int | None
    probability: float | None = Field(description="Said for the first candidate then.")
    batch_id: UUID | None = Field(description="Of decisions made at once.")
    undoes: int | None = Field(description="The decision that it takes back.")

    @classmethod
    def of(cls, stored: StoredDecision) -> Self:
        """The model of a stored decision."""
        return cls(
            decision_id=stored.decision_id,
            position=stored.position,
            version=stored.version,
            request_id=stored.request_id,
            reviewer=stored.reviewer,
            decided_at=stored.decided_at,
            action=stored.action,
            state=stored.verdict.state,
            targets=target_models(stored.verdict.targets),
            equivalence=stored.verdict.equivalence,
            comment=stored.verdict.comment,
            revision=stored.revision,
            rank=stored.rank,
            probability=stored.probability,
            batch_id=stored.batch_id,
            undoes=stored.undoes,
        )


class DecisionResultModel(BaseModel):
    """What became of a decision."""

    position: int
    request_id: UUID
    stored: DecisionModel | None = Field(
        description="Null if the term had changed since it was shown: nothing was stored, show both verdicts."
    )
    current: DecisionModel | None = Field(description="The latest decision on the term.")

    @classmethod
    def of(cls, result: DecisionResult) -> Self:
        """The model of a result."""
        return cls(
            position=result.new.position,
            request_id=result.new.request_id,
            stored=DecisionModel.of(result.stored) if result.stored is not None else None,
            current=DecisionModel.of(result.current) if result.current is not None else None,
        )


class DecisionsAnswer(BaseModel):
    """One result for each decision, in the same order."""

    results: list[DecisionResultModel]


class ProgressModel(BaseModel):
    """How far a review has come."""

    counts: dict[ReviewState, int] = Field(description="Terms by state.")
    total: int
    decided: int = Field(description="Approved, without match, or ignored.")

    @classmethod
    def of(cls, progress: ReviewProgress) -> Self:
        """The model of a review's progress."""
        return cls(counts=dict(progress.counts), total=progress.total, decided=progress.decided)


class QueueAnswer(BaseModel):
    """A queue: positions in the order in which they are to be reviewed."""

    positions: list[int]
    progress: ProgressModel = Field(description="Of the whole project, whatever the filter.")
    last_decision: int = Field(description="Id of a decision: ask for changes after it.")
    since: datetime = Field(description="A time: ask for suggestions since it.")


class ChoicesAnswer(BaseModel):
    """What a queue's filter may name."""

    domains: list[str] = Field(description="Of first candidates.")
    flags: list[str] = Field(description="Kinds of differences that first candidates have.")
    reviewers: list[str] = Field(description="Who has decided.")
    assigned: list[str] = Field(description="Who is to review.")


class RowModel(BaseModel):
    """A term as a row of the queue."""

    position: int
    code: str
    name: str
    frequency: int | None
    version: int
    state: ReviewState
    targets: list[TargetModel]
    equivalence: Equivalence
    comment: str
    reviewer: str | None = Field(description="Who decided it last.")
    decided_at: datetime | None
    assigned_to: str
    source_state: str = Field(description="As the file says, such as AUTO_MAPPED_TO_1.")
    revision: int = Field(description="Of the suggestion; 0 if there is none yet.")
    concept_id: int = Field(description="The first candidate, 0 for none.")
    concept_name: str
    domain: str = Field(description="Of the first candidate.")
    flags: list[str] = Field(description="In what kinds the first candidate differs from the term.")
    probability: float | None
    is_changed: bool = Field(description="Whether another candidate has become the first.")

    @classmethod
    def of(cls, row: CurrentTerm) -> Self:
        """The model of a term's row."""
        return cls(
            position=row.position,
            code=row.source_code,
            name=row.source_name,
            frequency=row.frequency,
            version=row.version,
            state=row.verdict.state,
            targets=target_models(row.verdict.targets),
            equivalence=row.verdict.equivalence,
            comment=row.verdict.comment,
            reviewer=row.reviewer,
            decided_at=row.decided_at,
            assigned_to=row.assigned_to,
            source_state=row.source_state,
            revision=row.revision,
            concept_id=row.concept_id,
            concept_name=row.concept_name,
            domain=row.concept_domain,
            flags=list(row.flags),
            probability=row.probability,
            is_changed=row.is_changed,
        )


class RowsAnswer(BaseModel):
    """Rows of a queue."""

    rows: list[RowModel] = Field(
        description="In the order of the file; positions without a term are left out."
    )


class RevisedModel(BaseModel):
    """A term for which another candidate has become the first."""

    position: int
    revision: int


class ChangesAnswer(BaseModel):
    """What has happened in a project since somebody last asked."""

    decisions: list[DecisionModel] = Field(
        description="Oldest first; those of the last seconds come again the next time."
    )
    revised: list[RevisedModel]
    after: int = Field(description="Ask with it the next time.")
    since: datetime = Field(description="Ask with it the next time.")
    has_more: bool = Field(description="Whether to ask again at once.")
    progress: ProgressModel | None = Field(description="Null if nothing was decided.")


def target_models(targets: tuple[Target, ...]) -> list[TargetModel]:
    """The models of targets."""
    return [TargetModel(concept_id=one.concept_id, mapping_type=one.mapping_type) for one in targets]
