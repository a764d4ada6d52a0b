"""Pages for many terms at once: groups of the same terms, and bulk approval with training."""

from __future__ import annotations

from typing import Any

import psycopg
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse

from omop_emb.service.review.project_records import Project
from omop_emb.web.page_templates import render
from omop_emb.web.rest.parameters import State
from omop_emb.web.review.review_parameters import ProjectId, ask_review

router = APIRouter(include_in_schema=False)


@router.get("/review/{project_id}/groups")
async def groups_page(request: Request, state: State, project_id: ProjectId) -> HTMLResponse:
    """Groups with the most open terms first; the page's script asks for them."""
    return await _page(request, state, "review_groups.html", "groups", project_id)


@router.get("/review/{project_id}/bulk")
async def bulk_page(request: Request, state: State, project_id: ProjectId) -> HTMLResponse:
    """What could be approved at once, and a button to train the site's ranker."""
    return await _page(request, state, "review_bulk.html", "bulk", project_id)


async def _page(request: Request, state: State, template: str, section: str, project_id: int) -> HTMLResponse:
    try:
        project = await ask_review(state, project_id, _project)
    except HTTPException as error:
        html = render(request, "concept.html", release="", card=None, problem=str(error.detail))
        return HTMLResponse(html, error.status_code)
    return HTMLResponse(render(request, template, release="", project=project, section=section))


def _project(_: psycopg.Connection[Any], project: Project) -> Project:
    return project
