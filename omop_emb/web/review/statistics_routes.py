"""Statistics routes: a review's statistics as a page, as a file to save, and as JSON."""

from __future__ import annotations

import datetime
import re
from importlib.resources import files
from typing import Any

import psycopg
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from omop_emb.service.review.project_records import Project
from omop_emb.service.review.review_statistics import review_statistics
from omop_emb.service.review.statistics_records import ReviewStatistics
from omop_emb.web.page_templates import render
from omop_emb.web.rest.parameters import State
from omop_emb.web.review.review_parameters import REVIEW_PROBLEMS, ProjectId, ask_review
from omop_emb.web.review.statistics_figures import statistics_figures
from omop_emb.web.review.statistics_models import StatisticsAnswer, statistics_answer

router = APIRouter()


@router.get(
    "/api/v1/reviews/{project_id}/statistics",
    tags=["review"],
    responses=REVIEW_PROBLEMS,
    summary="Show what a review has come to",
)
async def get_review_statistics(state: State, project_id: ProjectId) -> StatisticsAnswer:
    """States, work and speed, and what the decisions so far say about the probabilities."""
    _, statistics = await ask_review(state, project_id, _read)
    return statistics_answer(statistics)


@router.get("/review/{project_id}/statistics", include_in_schema=False)
async def statistics_page(request: Request, state: State, project_id: ProjectId) -> HTMLResponse:
    """The statistics as a page."""
    project, statistics = await ask_review(state, project_id, _read)
    return HTMLResponse(render(request, "review_statistics.html", **_values(project, statistics)))


@router.get("/review/{project_id}/statistics/file", include_in_schema=False)
async def statistics_file(request: Request, state: State, project_id: ProjectId) -> HTMLResponse:
    """The same as a file that needs no other."""
    project, statistics = await ask_review(state, project_id, _read)
    styles = [_static("omop-emb.css"), _static("statistics.css")]
    html = render(request, "statistics_file.html", styles=styles, **_values(project, statistics))
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", project.name).strip("-.") or "review"
    disposition = f'attachment; filename="{name[:80]}-statistics.html"'
    return HTMLResponse(html, headers={"Content-Disposition": disposition})


def _read(connection: psycopg.Connection[Any], project: Project) -> tuple[Project, ReviewStatistics]:
    return project, review_statistics(connection, project.project_id)


def _values(project: Project, statistics: ReviewStatistics) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC)
    return {
        "release": "",
        "project": project,
        "section": "statistics",
        "statistics": statistics,
        "figures": [*statistics_figures(statistics)],
        "made_at": f"{now.day} {now:%B %Y, %H:%M} UTC",
    }


def _static(name: str) -> str:
    return files("omop_emb.web").joinpath("static", name).read_text(encoding="utf-8")
