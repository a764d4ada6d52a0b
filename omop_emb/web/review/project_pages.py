"""Project pages: all reviews with a form for new ones, and a review's exports."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from omop_emb.database.engine import driver_connection
from omop_emb.errors import InputError, OmopEmbError
from omop_emb.service.review.exports.export_registry import EXPORTS, find_export
from omop_emb.service.review.review_overviews import project_overview, project_overviews
from omop_emb.web.page_templates import render
from omop_emb.web.problems import KINDS, problem_of
from omop_emb.web.rest.parameters import State
from omop_emb.web.review.export_routes import export_download, export_report
from omop_emb.web.review.review_parameters import ProjectId, ask_review

router = APIRouter(include_in_schema=False)


@router.get("/review")
async def reviews_page(request: Request, state: State) -> HTMLResponse:
    """All reviews, and a form for a new one."""
    overviews, problem, status = [], "", 200
    try:
        overviews = await state.query(lambda session: project_overviews(driver_connection(session)))
    except OmopEmbError as error:
        kind, problem = problem_of(error)
        status = KINDS[kind].status
    html = render(
        request,
        "reviews.html",
        release="",
        overviews=overviews,
        problem=problem,
        site=state.settings.site,
        now=datetime.now(UTC),
        ago=_ago,
    )
    return HTMLResponse(html, status)


@router.get("/review/{project_id}/export")
async def export_page(request: Request, state: State, project_id: ProjectId) -> HTMLResponse:
    """A form for each format; for the one that `format` names also what would not be in it."""
    overview = await ask_review(state, project_id, project_overview)
    # The last one of a name counts: an unticked box leaves the "no" that stands before it.
    given = dict(request.query_params)
    chosen, report, problem, status = given.pop("format", ""), None, "", 200
    if chosen:
        try:
            report = await export_report(state, project_id, find_export(chosen), given)
        except InputError as error:
            problem, status = str(error), 400
        except OmopEmbError as error:
            kind, problem = problem_of(error)
            status = KINDS[kind].status
    html = render(
        request,
        "review_export.html",
        release="",
        project=overview.project,
        section="export",
        overview=overview,
        exports=EXPORTS,
        chosen=chosen,
        given=given,
        report=report,
        problem=problem,
    )
    return HTMLResponse(html, status)


@router.get("/review/{project_id}/export/{format_name}")
async def download_page(request: Request, state: State, project_id: ProjectId, format_name: str) -> Response:
    """The file, or the page that says why it cannot be written."""
    given = dict(request.query_params)
    given.pop("format", None)
    try:
        return await export_download(state, project_id, find_export(format_name), given)
    except OmopEmbError:
        root = request.scope.get("root_path", "")
        query = urlencode({"format": format_name, **given})
        return RedirectResponse(f"{root}/review/{project_id}/export?{query}", 303)


def _ago(moment: datetime, now: datetime) -> str:
    """How long ago, roughly, in words."""
    seconds = max(0.0, (now - moment).total_seconds())
    for name, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"
