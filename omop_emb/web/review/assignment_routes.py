"""Assignment routes: who is to decide which terms of a review."""

from __future__ import annotations

from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from omop_emb.service.review.decision_records import ReviewState
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.review_assignment import (
    MOST_REVIEWERS,
    AssignmentFilter,
    assign,
    assigned_counts,
    unassign,
)
from omop_emb.web.rest.parameters import State, require_json
from omop_emb.web.review.review_models import MAX_POSITION
from omop_emb.web.review.review_parameters import REVIEW_PROBLEMS, ProjectId, ask_review
from omop_emb.web.review.reviewer_identity import Reviewer

router = APIRouter(prefix="/api/v1/reviews/{project_id}", tags=["review"], responses=REVIEW_PROBLEMS)
_MOST_POSITIONS = 100_000


class AssignmentRequest(BaseModel):
    """Assigns terms to people in equal parts, or takes assignments back."""

    model_config = ConfigDict(extra="forbid")  # a misspelt name would be ignored silently

    reviewers: list[str] = Field(
        max_length=MOST_REVIEWERS,
        description="Names, each alone or several with commas between them; none makes terms anybody's.",
    )
    positions: list[Annotated[int, Field(ge=1, le=MAX_POSITION)]] | None = Field(
        default=None, max_length=_MOST_POSITIONS, description="Only these terms; null for all."
    )
    states: list[ReviewState] = Field(
        default=[ReviewState.UNREVIEWED], max_length=5, description="Only these states; none for all."
    )
    domain: str = Field(default="", max_length=200, description="Only terms of this domain.")
    text: str = Field(default="", max_length=200, description="Only terms that contain it.")
    unassigned: bool = Field(default=True, description="Only terms that nobody is to decide.")


class AssignedModel(BaseModel):
    """A person's part of a review."""

    reviewer: str
    assigned: int
    open: int = Field(description="Unreviewed or flagged.")


class AssignmentsAnswer(BaseModel):
    """Who is to decide how many terms."""

    changed: dict[str, int] = Field(description='Terms that each person got; "" for those taken back.')
    reviewers: list[AssignedModel]


@router.get("/assignments", summary="Show who is to decide what")
async def get_assignments(state: State, project_id: ProjectId) -> AssignmentsAnswer:
    """How many terms are assigned to whom, and how many of them wait."""

    def read(connection: psycopg.Connection[Any], project: Project) -> AssignmentsAnswer:
        return _answer(connection, project, {})

    return await ask_review(state, project_id, read)


@router.post("/assignments", summary="Assign terms to people", dependencies=[Depends(require_json)])
async def store_assignments(
    state: State, project_id: ProjectId, reviewer: Reviewer, request: AssignmentRequest
) -> AssignmentsAnswer:
    """Divide terms equally among people, in the order of the file."""
    which = AssignmentFilter(
        positions=None if request.positions is None else tuple(request.positions),
        states=tuple(request.states),
        domain=request.domain,
        text=request.text,
        unassigned=request.unassigned and bool(request.reviewers),
    )

    def store(connection: psycopg.Connection[Any], project: Project) -> AssignmentsAnswer:
        if request.reviewers:
            changed = assign(connection, project.project_id, reviewer, request.reviewers, which)
        else:
            changed = {"": unassign(connection, project.project_id, reviewer, which)}
        return _answer(connection, project, changed)

    return await ask_review(state, project_id, store)


def _answer(
    connection: psycopg.Connection[Any], project: Project, changed: dict[str, int]
) -> AssignmentsAnswer:
    counts = assigned_counts(connection, project.project_id)
    return AssignmentsAnswer(
        changed=changed,
        reviewers=[
            AssignedModel(reviewer=name, assigned=assigned, open=open_)
            for name, (assigned, open_) in counts.items()
        ],
    )
