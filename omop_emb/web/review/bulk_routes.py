"""Bulk routes: what could be approved at once is shown, and what was shown is approved."""

from __future__ import annotations

from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Depends, Query

from omop_emb.service.review.bulk_approval import approve_bulk, preview_bulk
from omop_emb.service.review.bulk_records import BulkPreview, BulkResult, BulkTerms
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.review_queue import QueueFilter, queue_positions
from omop_emb.web.rest.parameters import State, require_json
from omop_emb.web.review.bulk_models import BulkAnswer, BulkPreviewAnswer, BulkRequest
from omop_emb.web.review.queue_routes import Wanted
from omop_emb.web.review.review_parameters import REVIEW_PROBLEMS, ProjectId, ask_review
from omop_emb.web.review.reviewer_identity import Reviewer

router = APIRouter(prefix="/api/v1/reviews/{project_id}", tags=["review"], responses=REVIEW_PROBLEMS)
_Precision = Annotated[float, Query(ge=0.5, lt=1, description="That must hold with 95 % confidence.")]
_Untrained = Annotated[bool, Query(description="Use thresholds that were learned at other hospitals.")]


@router.get("/bulk", summary="Show what could be approved at once")
async def get_bulk(
    state: State,
    project_id: ProjectId,
    wanted: Wanted,
    precision: _Precision = 0.95,
    accept_untrained: _Untrained = False,
) -> BulkPreviewAnswer:
    """Undecided terms that pass a queue's filter, above the calibrated bound of a precision.

    Without those whose suggestion something speaks against: a flag, a code, another decision on the same
    text. Where nothing is calibrated, `refusal` says why.
    """
    terms = BulkTerms(precision=precision, accept_untrained=accept_untrained)

    def read(connection: psycopg.Connection[Any], project: Project) -> BulkPreview:
        positions = None
        if wanted != QueueFilter():
            positions = queue_positions(connection, project.project_id, queue_filter=wanted)
        return preview_bulk(connection, project, terms, positions=positions)

    return BulkPreviewAnswer.of(await ask_review(state, project_id, read))


@router.post("/bulk", summary="Approve at once what was shown", dependencies=[Depends(require_json)])
async def store_bulk(
    state: State, project_id: ProjectId, reviewer: Reviewer, request: BulkRequest
) -> BulkAnswer:
    """Approve the rows of a preview; one that has changed since is left out, and the answer says why."""
    shown = [(row.position, row.version, row.concept_id) for row in request.rows]

    def store(connection: psycopg.Connection[Any], project: Project) -> BulkResult:
        return approve_bulk(connection, project, reviewer, request.terms, shown, request.request_id)

    return BulkAnswer.of(await ask_review(state, project_id, store))
