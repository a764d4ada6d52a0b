"""Group routes: terms that are decided together, and those that are nearly the same."""

from __future__ import annotations

from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Depends, HTTPException, Query

from omop_emb.errors import InputError
from omop_emb.service.review.corrected_probabilities import corrected_rows
from omop_emb.service.review.decision_records import DecisionResult
from omop_emb.service.review.near_groups import Likeness, NearGroup, near_groups
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.term_groups import (
    GroupSummary,
    TermGroup,
    decide_group,
    group_of,
    largest_groups,
)
from omop_emb.web.rest.parameters import Limit, State, require_json
from omop_emb.web.review.group_models import (
    GroupAnswer,
    GroupRequest,
    GroupsAnswer,
    GroupSummaryModel,
    NearGroupModel,
    NearGroupsAnswer,
)
from omop_emb.web.review.review_models import MAX_POSITION, DecisionResultModel, DecisionsAnswer
from omop_emb.web.review.review_parameters import REVIEW_PROBLEMS, Position, ProjectId, ask_review
from omop_emb.web.review.reviewer_identity import Reviewer

router = APIRouter(prefix="/api/v1/reviews/{project_id}", tags=["review"], responses=REVIEW_PROBLEMS)
_Offset = Annotated[int, Query(ge=0, le=MAX_POSITION, description="How many groups to skip.")]
_Likenesses = Annotated[list[Likeness], Query(max_length=len(Likeness), description="What the terms share.")]


@router.get("/groups", summary="List groups of the same terms")
async def get_groups(
    state: State, project_id: ProjectId, limit: Limit = 50, offset: _Offset = 0
) -> GroupsAnswer:
    """Terms that are the same but for case, punctuation and plural, in the same domain and context."""

    def read(connection: psycopg.Connection[Any], project: Project) -> list[GroupSummary]:
        found = largest_groups(connection, project.project_id, limit=limit + 1, offset=offset)
        return corrected_rows(connection, project.project_id, found)

    found = await ask_review(state, project_id, read)
    return GroupsAnswer(
        groups=[GroupSummaryModel.of(one) for one in found[:limit]], has_more=len(found) > limit
    )


@router.get("/near-groups", summary="List groups of nearly the same terms")
async def get_near_groups(
    state: State,
    project_id: ProjectId,
    limit: Limit = 50,
    likeness: _Likenesses = list(Likeness),  # noqa: B006 - FastAPI copies it
    position: Annotated[
        int | None, Query(ge=1, le=MAX_POSITION, description="Only groups of this term.")
    ] = None,
) -> NearGroupsAnswer:
    """Open terms that share a first concept, a parent code, or all words but one."""

    def read(connection: psycopg.Connection[Any], project: Project) -> list[NearGroup]:
        return near_groups(
            connection, project.project_id, position=position, likenesses=likeness, limit=limit
        )

    found = await ask_review(state, project_id, read)
    return NearGroupsAnswer(groups=[NearGroupModel.of(one) for one in found])


@router.get("/terms/{position}/group", summary="Show the terms that may be decided with one")
async def get_group(state: State, project_id: ProjectId, position: Position) -> GroupAnswer:
    """The term's group, which may be the term alone."""

    def read(connection: psycopg.Connection[Any], project: Project) -> TermGroup:
        try:
            return group_of(connection, project.project_id, position)
        except InputError as error:
            raise HTTPException(404, str(error)) from None

    return GroupAnswer.of(await ask_review(state, project_id, read))


@router.post("/groups", summary="Decide terms together", dependencies=[Depends(require_json)])
async def store_group(
    state: State, project_id: ProjectId, reviewer: Reviewer, request: GroupRequest
) -> DecisionsAnswer:
    """Store one verdict on each term, unless somebody has decided it since it was shown.

    All are taken back by one undoing. The answer to a conflict is no error, as for single decisions.
    """

    def store(connection: psycopg.Connection[Any], project: Project) -> list[DecisionResult]:
        members = [(one.position, one.version) for one in request.members]
        verdict = request.verdict.verdict()
        return decide_group(connection, project.project_id, reviewer, members, verdict, request.request_id)

    results = await ask_review(state, project_id, store)
    return DecisionsAnswer(results=[DecisionResultModel.of(one) for one in results])
