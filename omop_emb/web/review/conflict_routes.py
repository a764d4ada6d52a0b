"""Conflict routes: a review's conflicts, those of one term, and the word that one is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Depends, HTTPException, Query, Request

from omop_emb.errors import InputError
from omop_emb.service.review.conflict_dismissals import call_right
from omop_emb.service.review.conflict_records import Conflict, ConflictKind, Dismissal
from omop_emb.service.review.decision_records import Target
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.review_conflicts import concepts_of, conflicts_of_term, find_conflicts
from omop_emb.web.rest.parameters import Limit, State, next_page, require_json
from omop_emb.web.review.conflict_models import (
    CallRightRequest,
    CheckRequest,
    ConflictModel,
    ConflictsAnswer,
    DismissalModel,
    TermConflictsAnswer,
)
from omop_emb.web.review.review_parameters import REVIEW_PROBLEMS, Position, ProjectId, ask_review
from omop_emb.web.review.reviewer_identity import Reviewer

router = APIRouter(prefix="/api/v1/reviews/{project_id}", tags=["review"], responses=REVIEW_PROBLEMS)
_JSON = [Depends(require_json)]


@router.get("/conflicts", summary="List decisions that do not fit each other")
async def list_conflicts(
    request: Request,
    state: State,
    project_id: ProjectId,
    kind: Annotated[ConflictKind | None, Query(description="Only these.")] = None,
    called_right: Annotated[
        bool, Query(description="Those that somebody called right, instead of the others.")
    ] = False,
    limit: Limit = 50,
    offset: Annotated[int, Query(ge=0, le=10_000_000, description="How many to leave out before.")] = 0,
) -> ConflictsAnswer:
    """The conflicts of all decisions, computed anew: what was resolved is gone."""

    def read(connection: psycopg.Connection[Any], project: Project) -> ConflictsAnswer:
        found = find_conflicts(connection, project.project_id)
        open_ = [one for one in found if one.dismissal is None]
        wanted = [
            one
            for one in found
            if (one.dismissal is not None) == called_right and (kind is None or one.kind is kind)
        ]
        counts = Counter(one.kind for one in open_)
        more = len(wanted) > offset + limit
        return ConflictsAnswer(
            counts={one: counts[one] for one in ConflictKind},
            called_right=len(found) - len(open_),
            total=len(wanted),
            conflicts=_models(connection, wanted[offset : offset + limit]),
            offset=offset,
            next=next_page(request, offset + limit) if more else None,
        )

    return await ask_review(state, project_id, read)


@router.get("/terms/{position}/conflicts", summary="List the conflicts of a term")
async def list_term_conflicts(state: State, project_id: ProjectId, position: Position) -> TermConflictsAnswer:
    """What in a term's decision does not fit other decisions or the vocabulary."""

    def read(connection: psycopg.Connection[Any], project: Project) -> TermConflictsAnswer:
        found = conflicts_of_term(connection, project.project_id, position)
        return TermConflictsAnswer(conflicts=_models(connection, found))

    return await ask_review(state, project_id, read)


@router.post("/conflicts/check", summary="Check a decision before it is made", dependencies=_JSON)
async def check_decision(state: State, project_id: ProjectId, request: CheckRequest) -> TermConflictsAnswer:
    """What would not fit other decisions or the vocabulary if a term had these targets; nothing is stored."""

    def read(connection: psycopg.Connection[Any], project: Project) -> TermConflictsAnswer:
        targets = [Target(one.concept_id, one.mapping_type) for one in request.targets]
        try:
            found = conflicts_of_term(connection, project.project_id, request.position, targets)
        except InputError as error:
            raise HTTPException(404, str(error)) from None
        return TermConflictsAnswer(conflicts=_models(connection, found))

    return await ask_review(state, project_id, read)


@router.post("/conflicts/right", summary="Call a conflict right", dependencies=_JSON)
async def call_conflict_right(
    state: State, project_id: ProjectId, reviewer: Reviewer, request: CallRightRequest
) -> DismissalModel:
    """Record who called a conflict right and why, or took that back."""

    def store(connection: psycopg.Connection[Any], project: Project) -> Dismissal:
        return call_right(
            connection,
            project.project_id,
            reviewer,
            key=request.key,
            kind=request.kind,
            request_id=request.request_id,
            reason=request.reason,
            is_right=request.is_right,
        )

    stored = await ask_review(state, project_id, store)
    return DismissalModel(reviewer=stored.reviewer, reason=stored.reason, decided_at=stored.decided_at)


def _models(connection: psycopg.Connection[Any], conflicts: Sequence[Conflict]) -> list[ConflictModel]:
    concepts = concepts_of(connection, conflicts)
    return [ConflictModel.of(one, concepts) for one in conflicts]
