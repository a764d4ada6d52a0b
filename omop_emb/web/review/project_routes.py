"""Project routes: reviews begin with a file, show how far they are, and are deleted."""

from __future__ import annotations

from typing import IO, Annotated, Any

import psycopg
from fastapi import APIRouter, Depends, HTTPException, Query

from omop_emb.database.engine import driver_connection
from omop_emb.service.review.imports.new_review import begin_review, preview_file
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.project_store import delete_project
from omop_emb.service.review.review_overviews import project_overview, project_overviews
from omop_emb.web.rest.parameters import PROBLEMS, State, require_json
from omop_emb.web.review.project_models import (
    DeleteRequest,
    Done,
    PreviewAnswer,
    ReviewModel,
    ReviewsAnswer,
)
from omop_emb.web.review.reading_parameters import FileName, Reading
from omop_emb.web.review.review_parameters import REVIEW_PROBLEMS, ProjectId, ask_review
from omop_emb.web.review.reviewer_identity import Reviewer
from omop_emb.web.upload_body import uploaded_file

router = APIRouter(prefix="/api/v1/reviews", tags=["review"], responses=PROBLEMS)

Upload = Annotated[IO[bytes], Depends(uploaded_file)]
_FILE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file as it is: CSV, TSV, Excel, Parquet or Usagi's CSV.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("", summary="List reviews")
async def list_reviews(state: State) -> ReviewsAnswer:
    """All reviews, the latest first, and how far each is."""
    found = await state.query(lambda session: project_overviews(driver_connection(session)))
    return ReviewsAnswer(reviews=[ReviewModel.of(one) for one in found])


@router.post("/preview", summary="Show how a file would be read", openapi_extra=_FILE_BODY)
async def preview_review(state: State, file: Upload, file_name: FileName, reading: Reading) -> PreviewAnswer:
    """The first rows of a file and what its columns are taken for; nothing is stored."""
    return PreviewAnswer.model_validate(await state.run(preview_file, file_name, reading, content=file))


@router.post("", status_code=201, summary="Begin a review", openapi_extra=_FILE_BODY)
async def create_review(
    state: State,
    reviewer: Reviewer,
    file: Upload,
    file_name: FileName,
    reading: Reading,
    name: Annotated[str, Query(max_length=200, description="Of the review; the file's if empty.")] = "",
) -> ReviewModel:
    """Stores a file as a review; its terms are read and mapped in the background."""
    project = await state.run(
        begin_review,
        state.engine,
        file_name,
        name=name,
        options=reading,
        site=state.settings.site,
        created_by=reviewer,
        content=file,
    )
    state.importer.wake(project.project_id)
    return await read_review(state, project.project_id)


@router.get("/{project_id}", summary="Show a review", responses=REVIEW_PROBLEMS)
async def read_review(state: State, project_id: ProjectId) -> ReviewModel:
    """A review, how far its import is and the people with it."""
    return ReviewModel.of(await ask_review(state, project_id, project_overview))


@router.post(
    "/{project_id}/delete",
    summary="Delete a review",
    responses=REVIEW_PROBLEMS,
    dependencies=[Depends(require_json)],
)
async def delete_review(state: State, project_id: ProjectId, request: DeleteRequest) -> Done:
    """Deletes a review with its file and all decisions, and ends its import."""

    def delete(connection: psycopg.Connection[Any], project: Project) -> None:
        if project.name != request.name:
            raise HTTPException(409, f"review {project_id} has another name: nothing was deleted")
        delete_project(connection, project_id)

    await ask_review(state, project_id, delete)
    return Done()


@router.post(
    "/{project_id}/resume",
    summary="Continue an import",
    responses=REVIEW_PROBLEMS,
    dependencies=[Depends(require_json)],
)
async def resume_review(state: State, project_id: ProjectId) -> Done:
    """Reads and maps the terms that are left after what stopped it has been put right."""
    await ask_review(state, project_id, lambda _connection, _project: None)
    state.importer.wake(project_id)
    return Done()
