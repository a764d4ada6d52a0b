"""Conflict models: the JSON of decisions that do not fit each other, or the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from omop_emb.records import Concept
from omop_emb.service.review.conflict_records import Conflict, ConflictKind, ConflictTerm
from omop_emb.service.review.decision_records import ReviewState, Target
from omop_emb.web.review.review_models import MAX_POSITION, TargetModel


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")  # a misspelt name would be ignored silently


class NamedTargetModel(BaseModel):
    """A target with its name; the name is "" if the loaded vocabulary lacks the concept."""

    concept_id: int
    mapping_type: str
    concept_name: str
    domain_id: str


class ConflictTermModel(BaseModel):
    """A term of a conflict, and what was decided."""

    position: int
    code: str
    name: str
    says: str = Field(description='What it says in the point in question, such as "left".')
    state: ReviewState
    targets: list[NamedTargetModel]
    reviewer: str | None = Field(description="Who decided; null for a decision that is not made yet.")

    @classmethod
    def of(cls, one: ConflictTerm, concepts: Mapping[int, Concept]) -> Self:
        """The model of a conflict's term."""
        return cls(
            position=one.term.position,
            code=one.term.source_code,
            name=one.term.source_name,
            says=one.says,
            state=one.term.state,
            targets=[named_target(target, concepts) for target in one.term.targets],
            reviewer=one.term.reviewer,
        )


class ConflictConceptModel(BaseModel):
    """A concept that a conflict is about."""

    concept_id: int
    concept_name: str
    domain_id: str
    standard_concept: str | None
    invalid_reason: str | None

    @classmethod
    def of(cls, concept: Concept | None) -> Self | None:
        """The model of a concept."""
        if concept is None:
            return None
        return cls(
            concept_id=concept.concept_id,
            concept_name=concept.concept_name,
            domain_id=concept.domain_id or "",
            standard_concept=concept.standard_concept,
            invalid_reason=concept.invalid_reason,
        )


class DismissalModel(BaseModel):
    """Who called a conflict right."""

    reviewer: str
    reason: str
    decided_at: datetime


class ConflictModel(BaseModel):
    """Decisions that do not fit each other, or the vocabulary."""

    key: str = Field(description="The same for a conflict that says the same.")
    kind: ConflictKind
    aspect: str = Field(description='In what its terms differ, or what its target is; "" for neither.')
    summary: str = Field(description="What is wrong, for people.")
    is_certain: bool = Field(description="Whether some decision must be wrong.")
    count: int = Field(description="Terms in all; some of them are listed.")
    terms: list[ConflictTermModel]
    concept: ConflictConceptModel | None = Field(description="The target in question.")
    better: ConflictConceptModel | None = Field(description="The concept with the term's name.")
    dismissal: DismissalModel | None = Field(description="Null while nobody has called it right.")

    @classmethod
    def of(cls, conflict: Conflict, concepts: Mapping[int, Concept]) -> Self:
        """The model of a conflict; `concepts` are those of its terms."""
        right = conflict.dismissal
        return cls(
            key=conflict.key,
            kind=conflict.kind,
            aspect=conflict.aspect,
            summary=conflict.summary,
            is_certain=conflict.is_certain,
            count=conflict.count,
            terms=[ConflictTermModel.of(one, concepts) for one in conflict.terms],
            concept=ConflictConceptModel.of(conflict.concept),
            better=ConflictConceptModel.of(conflict.better),
            dismissal=None
            if right is None
            else DismissalModel(reviewer=right.reviewer, reason=right.reason, decided_at=right.decided_at),
        )


class ConflictsAnswer(BaseModel):
    """A page of a review's conflicts."""

    counts: dict[ConflictKind, int] = Field(description="Of all kinds, without those called right.")
    called_right: int
    total: int = Field(description="That pass the filter.")
    conflicts: list[ConflictModel]
    offset: int
    next: str | None = Field(description="Path of the next page.")


class TermConflictsAnswer(BaseModel):
    """The conflicts of one term that nobody has called right."""

    conflicts: list[ConflictModel]


class CheckRequest(_Strict):
    """Asks what would conflict if a term were decided so."""

    position: int = Field(ge=1, le=MAX_POSITION)
    targets: list[TargetModel] = Field(max_length=100, description="No target is no match.")


class CallRightRequest(_Strict):
    """Says that a conflict is right as it is, or takes that back."""

    key: str = Field(min_length=32, max_length=32)
    kind: ConflictKind
    request_id: UUID = Field(description="Made where the person decides; sent again, it stores nothing more.")
    reason: str = Field(default="", max_length=1_000)
    is_right: bool = True


def named_target(target: Target, concepts: Mapping[int, Concept]) -> NamedTargetModel:
    """The model of a target with the name of its concept."""
    concept = concepts.get(target.concept_id)
    return NamedTargetModel(
        concept_id=target.concept_id,
        mapping_type=target.mapping_type,
        concept_name=concept.concept_name if concept else "",
        domain_id=(concept.domain_id if concept else None) or "",
    )
