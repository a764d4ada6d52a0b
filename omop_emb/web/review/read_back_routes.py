"""Read-back route: a filled file of a review comes back, and what was changed in it is decided."""

from __future__ import annotations

from typing import IO, Annotated, Any

from fastapi import APIRouter, Depends

from omop_emb.service.review.answers.answered_file import read_back
from omop_emb.web.rest.parameters import State
from omop_emb.web.review.read_back_models import ReadBackAnswer
from omop_emb.web.review.reading_parameters import FileName
from omop_emb.web.review.review_parameters import REVIEW_PROBLEMS, ProjectId, ask_review
from omop_emb.web.review.reviewer_identity import Reviewer, ReviewerIdentity, reviewer_identity
from omop_emb.web.upload_body import uploaded_file

router = APIRouter(prefix="/api/v1/reviews/{project_id}", tags=["review"], responses=REVIEW_PROBLEMS)

_FILE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The filled file as it is: Excel, CSV, TSV, Parquet, or what Usagi saved.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post("/read-back", summary="Read a filled file back", openapi_extra=_FILE_BODY)
async def read_file_back(
    state: State,
    project_id: ProjectId,
    reviewer: Reviewer,
    identity: Annotated[ReviewerIdentity, Depends(reviewer_identity)],
    file: Annotated[IO[bytes], Depends(uploaded_file)],
    file_name: FileName,
) -> ReadBackAnswer:
    """Rows that were changed since the file was written become decisions.

    Rows whose term somebody has decided since are conflicts: they are shown, and what stands is kept. Sent
    again, a file decides nothing more.
    """
    await ask_review(state, project_id, lambda _connection, _project: None)
    is_checked = identity.source != "declared"
    report = await state.run(
        read_back, state.engine, project_id, file_name, reviewer, is_checked=is_checked, content=file
    )
    return ReadBackAnswer.of(report)
