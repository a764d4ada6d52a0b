"""Two people's pages: conflicts, samples for second votes, blind votes, third decisions, results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse

from omop_emb.errors import InputError
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.vote_samples import Sample, find_sample
from omop_emb.web.page_templates import render
from omop_emb.web.rest.parameters import State
from omop_emb.web.review.review_parameters import ProjectId, ask_review
from omop_emb.web.review.second_vote_routes import SampleId

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, kw_only=True)
class _Found:
    project: Project
    sample: Sample | None = None


@router.get("/review/{project_id}/conflicts")
async def conflicts_page(request: Request, state: State, project_id: ProjectId) -> HTMLResponse:
    """Decisions that do not fit each other; the page's script asks for them."""
    return await _page(request, state, "review_conflicts.html", "conflicts", project_id)


@router.get("/review/{project_id}/second")
async def samples_page(request: Request, state: State, project_id: ProjectId) -> HTMLResponse:
    """The samples for second votes, a form for a new one, and who is to decide what."""
    return await _page(request, state, "review_samples.html", "second", project_id)


@router.get("/review/{project_id}/second/{sample_id}")
async def vote_page(
    request: Request, state: State, project_id: ProjectId, sample_id: SampleId
) -> HTMLResponse:
    """One term at a time, without sight of the first decision: nothing of it is in the page."""
    return await _page(request, state, "review_vote.html", "second", project_id, sample_id)


@router.get("/review/{project_id}/second/{sample_id}/adjudicate")
async def adjudication_page(
    request: Request, state: State, project_id: ProjectId, sample_id: SampleId
) -> HTMLResponse:
    """Both verdicts side by side where two people differ."""
    return await _page(request, state, "review_adjudicate.html", "second", project_id, sample_id)


@router.get("/review/{project_id}/second/{sample_id}/result")
async def result_page(
    request: Request, state: State, project_id: ProjectId, sample_id: SampleId
) -> HTMLResponse:
    """Agreement by domain, and the precision that an audit shows."""
    return await _page(request, state, "review_agreement.html", "second", project_id, sample_id)


async def _page(
    request: Request, state: State, template: str, section: str, project_id: int, sample_id: int | None = None
) -> HTMLResponse:
    try:
        found = await ask_review(state, project_id, _find, sample_id)
    except HTTPException as error:
        html = render(request, "concept.html", release="", card=None, problem=str(error.detail))
        return HTMLResponse(html, error.status_code)
    return HTMLResponse(
        render(request, template, release="", project=found.project, sample=found.sample, section=section)
    )


def _find(connection: psycopg.Connection[Any], project: Project, sample_id: int | None) -> _Found:
    if sample_id is None:
        return _Found(project=project)
    try:
        return _Found(project=project, sample=find_sample(connection, project.project_id, sample_id))
    except InputError as error:
        raise HTTPException(404, str(error)) from None
