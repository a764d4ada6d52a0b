"""Group models: what the JSON of groups says, with a meaning for every field."""

from __future__ import annotations

from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from omop_emb.errors import InputError
from omop_emb.service.review.decision_records import Equivalence, ReviewState, Target, Verdict
from omop_emb.service.review.near_groups import Likeness, NearGroup
from omop_emb.service.review.term_groups import MAX_MEMBERS, GroupSummary, TermGroup
from omop_emb.web.review.review_models import MAX_POSITION, RowModel, TargetModel


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class VerdictModel(_Strict):
    """What a person says about each of several terms."""

    state: ReviewState
    targets: list[TargetModel] = Field(default=[], max_length=100)
    equivalence: Equivalence = Equivalence.UNREVIEWED
    comment: Annotated[str, StringConstraints(max_length=10_000)] = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.verdict()
        return self

    def verdict(self) -> Verdict:
        """The same for the library; ValueError if it says nothing sensible."""
        try:
            return Verdict(
                state=self.state,
                targets=tuple(Target(one.concept_id, one.mapping_type) for one in self.targets),
                equivalence=self.equivalence,
                comment=self.comment,
            )
        except InputError as error:
            raise ValueError(str(error)) from error


class MemberModel(_Strict):
    """A term that is decided with others."""

    position: int = Field(ge=1, le=MAX_POSITION, description="Of the term in the file, from 1.")
    version: int = Field(ge=0, lt=MAX_POSITION, description="Of the term when it was shown.")


class GroupRequest(_Strict):
    """One verdict on several terms, which one undoing takes back."""

    request_id: UUID = Field(description="Made where the person decides; sent again, it stores nothing more.")
    members: list[MemberModel] = Field(min_length=1, max_length=MAX_MEMBERS)
    verdict: VerdictModel


class GroupSummaryModel(BaseModel):
    """A group with at least two open terms."""

    position: int = Field(description="Of its first open term: ask for that term's group.")
    name: str = Field(description="Of that term.")
    open_terms: int = Field(description="Terms that nobody has settled.")
    terms: int
    frequency: int = Field(description="Of the open terms together.")
    concept_id: int = Field(description="First candidate of that term, 0 for none.")
    concept_name: str
    probability: float | None

    @classmethod
    def of(cls, summary: GroupSummary) -> Self:
        """The model of a summary."""
        return cls(**{name: getattr(summary, name) for name in cls.model_fields})


class GroupsAnswer(BaseModel):
    """Groups, those with the most open terms first."""

    groups: list[GroupSummaryModel]
    has_more: bool


class GroupAnswer(BaseModel):
    """The terms that may be decided with one; those that are decided are there too."""

    members: list[RowModel] = Field(description="In the order of the file.")

    @classmethod
    def of(cls, group: TermGroup) -> Self:
        """The model of a group."""
        return cls(members=[RowModel.of(member) for member in group.members])


class NearGroupModel(BaseModel):
    """Open terms that are nearly the same; each may mean something else."""

    likeness: Likeness = Field(description="What makes them nearly the same.")
    label: str = Field(description="What they share.")
    positions: list[int]

    @classmethod
    def of(cls, group: NearGroup) -> Self:
        """The model of a near group."""
        return cls(likeness=group.likeness, label=group.label, positions=list(group.positions))


class NearGroupsAnswer(BaseModel):
    """Groups of nearly the same terms, the largest first."""

    groups: list[NearGroupModel]
