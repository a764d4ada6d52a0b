"""Decision routes: what people decide is stored, and taken back."""

from __future__ import annotations

from typing import Any

import psycopg
from fastapi import APIRouter, Depends

from omop_emb.service.review.decision_records import DecisionResult
from omop_emb.service.review.decision_store import decide, undo
from omop_emb.service.review.project_records import Project
from omop_emb.web.rest.parameters import State, require_json
from omop_emb.web.review.review_models import (
    DecisionResultModel,
    DecisionsAnswer,
    DecisionsRequest,
    UndoRequest,
)
from omop_emb.web.review.review_parameters import REVIEW_PROBLEMS, ProjectId, ask_review
from omop_emb.web.review.reviewer_identity import Reviewer

router = APIRouter(
    prefix="/api/v1/reviews/{project_id}",
    tags=["review"],
    responses=REVIEW_PROBLEMS,
    dependencies=[Depends(require_json)],
)


@router.post("/decisions", summary="Store decisions")
async def store_decisions(
    state: State, project_id: ProjectId, reviewer: Reviewer, request: DecisionsRequest
) -> DecisionsAnswer:
    """Store each decision, unless somebody else has decided its term since it was shown.

    The answer to a conflict is no error: it has no `stored`, and `current` is the other's decision.
    """

    def store(connection: psycopg.Connection[Any], project: Project) -> list[DecisionResult]:
        decisions = [one.to_decision() for one in request.decisions]
        return decide(connection, project.project_id, reviewer, decisions)

    return _answer(await ask_review(state, project_id, store))


@router.post("/undo", summary="Take back the last decision")
async def undo_decision(
    state: State, project_id: ProjectId, reviewer: Reviewer, request: UndoRequest
) -> DecisionsAnswer:
    """Take back what the reviewer decided last, or did at once; no results if there is nothing."""

    def take_back(connection: psycopg.Connection[Any], project: Project) -> list[DecisionResult]:
        return undo(connection, project.project_id, reviewer, request_id=request.request_id)

    return _answer(await ask_review(state, project_id, take_back))


def _answer(results: list[DecisionResult]) -> DecisionsAnswer:
    return DecisionsAnswer(results=[DecisionResultModel.of(one) for one in results])
