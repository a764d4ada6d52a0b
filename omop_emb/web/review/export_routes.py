"""Export routes: a review as a file, and what would not be in it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Annotated
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.responses import StreamingResponse

from omop_emb.errors import InputError
from omop_emb.service.review.exports.export_format import Export, ExportReport
from omop_emb.service.review.exports.export_registry import EXPORTS, find_export, parse_options
from omop_emb.service.review.project_records import Project
from omop_emb.web.rest.parameters import State
from omop_emb.web.review.project_models import ExportModel, ExportReportModel, ExportsAnswer
from omop_emb.web.review.review_parameters import REVIEW_PROBLEMS, ProjectId, ask_review
from omop_emb.web.state import ServerState

router = APIRouter(prefix="/api/v1/reviews/{project_id}/exports", tags=["review"], responses=REVIEW_PROBLEMS)
Format = Annotated[str, Path(max_length=40, description="Name of a format.")]
_PIECE = 1 << 18


@router.get("", summary="List export formats")
async def list_exports(state: State, project_id: ProjectId) -> ExportsAnswer:
    """The formats in which a review can be written, each with its options."""
    await ask_review(state, project_id, lambda _connection, _project: None)
    return ExportsAnswer(exports=[ExportModel.model_validate(one) for one in EXPORTS])


@router.get("/{format_name}/report", summary="Show what an export would have")
async def report_export(
    request: Request, state: State, project_id: ProjectId, format_name: Format
) -> ExportReportModel:
    """How many rows an export would have, and which terms would not be in it and why.

    The query has the format's options.
    """
    export = known_export(format_name)
    await ask_review(state, project_id, lambda _connection, _project: None)
    report = await export_report(state, project_id, export, dict(request.query_params))
    return ExportReportModel.model_validate(report)


@router.get(
    "/{format_name}",
    summary="Export a review",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The file."}},
)
async def download_export(
    request: Request, state: State, project_id: ProjectId, format_name: Format
) -> StreamingResponse:
    """The file in a format; the query has the format's options."""
    return await export_download(state, project_id, known_export(format_name), dict(request.query_params))


async def export_download(
    state: ServerState, project_id: int, export: Export, given: Mapping[str, str]
) -> StreamingResponse:
    """The answer with the file.

    Raises:
        InputError: an option has a value that cannot be used.
        HTTPException: 404, there is no such review.
    """
    project: Project = await ask_review(state, project_id, lambda _connection, found: found)
    options = parse_options(export, given)

    def write() -> IO[bytes]:
        # Whole before its first byte is sent: an error must not end a file that looks complete.
        file = tempfile.TemporaryFile(prefix="omop-emb-")
        try:
            export.write(state.engine, project_id, options, file)
            file.flush()
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    file = await state.run(write)
    headers = {
        "Content-Disposition": disposition(f"{project.name}{export.suffix}"),
        "Content-Length": str(os.fstat(file.fileno()).st_size),
    }
    return StreamingResponse(_pieces(file), media_type=export.media_type, headers=headers)


def known_export(name: str) -> Export:
    """The format with a name; HTTPException 404 for none."""
    try:
        return find_export(name)
    except InputError as error:
        raise HTTPException(404, str(error)) from None


async def export_report(
    state: ServerState, project_id: int, export: Export, given: Mapping[str, str]
) -> ExportReport:
    """What an export would have.

    Raises:
        InputError: an option has a value that cannot be used.
    """
    options = parse_options(export, given)

    def write() -> ExportReport:
        with tempfile.TemporaryFile(prefix="omop-emb-") as file:  # not os.devnull: workbooks need to seek
            return export.write(state.engine, project_id, options, file)

    return await state.run(write)


def disposition(file_name: str) -> str:
    """The header that names a download, in ASCII and in full (RFC 6266)."""
    plain = re.sub(r"[^A-Za-z0-9._ ()-]", "_", file_name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece
