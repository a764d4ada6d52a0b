"""Cockpit page: the page on which a review is done, one term at a time beside its queue."""

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


@router.get("/review/{project_id}")
async def cockpit_page(request: Request, state: State, project_id: ProjectId) -> HTMLResponse:
    """The page; its script asks for terms and sends decisions."""
    try:
        project = await ask_review(state, project_id, _project)
    except HTTPException as error:
        html = render(request, "concept.html", release="", card=None, problem=str(error.detail))
        return HTMLResponse(html, error.status_code)
    html = render(request, "review_cockpit.html", release="", project=project, section="queue")
    return HTMLResponse(html)


def _project(_: psycopg.Connection[Any], project: Project) -> Project:
    return project
