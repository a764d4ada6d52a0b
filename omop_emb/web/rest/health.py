"""Health: whether the process runs, whether it can answer questions, its metrics, and kinds of problems."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Response
from pydantic import BaseModel, Field

from omop_emb.errors import OmopEmbError
from omop_emb.service import readiness
from omop_emb.web.metrics import CONTENT_TYPE
from omop_emb.web.problems import KINDS, problem_of
from omop_emb.web.state import ServerState, server_state

router = APIRouter(tags=["server"])
State = Annotated[ServerState, Depends(server_state)]


class Health(BaseModel):
    """A sign of life."""

    status: str = Field(description='Always "alive".', examples=["alive"])


class Ready(BaseModel):
    """Whether questions can be answered."""

    is_ready: bool = Field(description="Whether search and mapping can answer now.")
    reason: str = Field(description='What is missing, and what to run; "" for nothing.')
    warning: str = Field(default="", description='What works but deserves a look; "" for nothing.')
    vocabulary: str | None = Field(
        default=None, description="Version of the loaded vocabulary; null without one."
    )
    space: str | None = Field(default=None, description="Name of the active embedding space.")


@router.get("/health", response_model=Health, summary="Is the process alive?")
async def health() -> Health:
    """Answers without database and model, so that a supervisor restarts only what hangs."""
    return Health(status="alive")


@router.get(
    "/ready",
    response_model=Ready,
    summary="Can questions be answered?",
    responses={503: {"model": Ready, "description": "Not now; `reason` says why."}},
)
async def ready(state: State, response: Response) -> Ready:
    """Checks database, vocabulary and active space, and that the search is warm."""
    try:
        found = await state.query(readiness)
    except OmopEmbError as error:
        state.warm()
        response.status_code = 503
        response.headers["Retry-After"] = "2"
        return Ready(is_ready=False, reason=problem_of(error)[1])
    reason = found.reason
    if not reason and not state.is_warm:
        state.warm()
        reason = state.problem or "the search is being opened"
    if reason:
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    return Ready(
        is_ready=not reason,
        reason=reason,
        warning=found.warning,
        vocabulary=found.vocabulary,
        space=found.space,
    )


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."}},
)
async def metrics(state: State) -> Response:
    """Requests, times, workers and queue; no label has a term or an id."""
    return Response(state.metrics.text(), media_type=CONTENT_TYPE)


class ProblemKind(BaseModel):
    """A kind of problem, as `type` of an error names it."""

    type: str = Field(description="Its relative reference.", examples=["/problems/busy"])
    title: str = Field(description="The kind in words.")
    status: int = Field(description="The HTTP status.")
    is_temporary: bool = Field(description="Whether asking again helps.")


@router.get("/problems/{kind}", summary="What kind of problem is this?")
async def problem_kind(
    kind: Annotated[str, Path(max_length=100, description="The last part of an error's `type`.")],
) -> ProblemKind:
    """Explains the `type` of an error."""
    if kind not in KINDS:
        raise HTTPException(404, "there is no such kind of problem")
    found = KINDS[kind]
    return ProblemKind(
        type=f"/problems/{kind}", title=found.title, status=found.status, is_temporary=found.is_temporary
    )
