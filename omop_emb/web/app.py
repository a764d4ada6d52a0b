"""Application: the layers that each request passes, and the surfaces that answer it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

import omop_emb
from omop_emb.web import carrot, openrefine, pages, problems, webapi
from omop_emb.web.assistant import mcp_mount
from omop_emb.web.fhir import fhir_routes
from omop_emb.web.fhir.problem_outcomes import ProblemOutcomes
from omop_emb.web.limits import RequestLimits
from omop_emb.web.openapi import Application
from omop_emb.web.request_log import RequestLog
from omop_emb.web.rest import concept_routes, health, map_routes, search_routes, vocabulary_routes
from omop_emb.web.review import (
    assignment_routes,
    bulk_routes,
    cockpit_page,
    conflict_routes,
    decision_routes,
    export_routes,
    group_routes,
    many_pages,
    project_pages,
    project_routes,
    queue_routes,
    read_back_routes,
    reviewer_routes,
    second_vote_routes,
    statistics_routes,
    training_routes,
    two_people_pages,
)
from omop_emb.web.review.reviewer_check import ReviewerCheck
from omop_emb.web.security import HostAndOrigin, TokenCheck
from omop_emb.web.state import ServerState

# Every surface: its router has its paths, tags and response models.
ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    search_routes.router,
    concept_routes.router,
    map_routes.router,
    vocabulary_routes.router,
    fhir_routes.router,
    openrefine.router,
    carrot.router,
    webapi.router,
    reviewer_routes.router,
    project_routes.router,
    queue_routes.router,
    decision_routes.router,
    statistics_routes.router,
    export_routes.router,
    read_back_routes.router,
    group_routes.router,
    bulk_routes.router,
    conflict_routes.router,
    assignment_routes.router,
    second_vote_routes.router,
    cockpit_page.router,
    two_people_pages.router,
    training_routes.router,
    many_pages.router,
    pages.router,
    project_pages.router,
)

_DESCRIPTION = """\
Finds and maps clinical terms to OMOP concepts, with the vocabulary, space and approvals of this server.

Requests carry `Authorization: Bearer TOKEN`. Errors are `application/problem+json` (RFC 9457). Every answer
has an `X-Request-ID`. 503 with `Retry-After` means: ask again.
"""


def create_app(state: ServerState) -> FastAPI:
    """The application over a state; it opens the finder in the background when it starts."""
    assistant = mcp_mount.McpEndpoint(state)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(state.close)
            stack.push_async_callback(assistant.close)
            stack.push_async_callback(asyncio.to_thread, state.importer.close)
            stack.push_async_callback(asyncio.to_thread, state.live_memory.close)
            state.warm()
            state.importer.start()
            yield

    app = Application(
        title="omop-emb",
        version=omop_emb.__version__,
        description=_DESCRIPTION,
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
        middleware=_layers(state),
        lifespan=lifespan,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # what generated clients call a method
    )
    app.state.server = state
    problems.add_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(packages=[("omop_emb.web", "static")]), name="static")
    if mcp_mount.is_installed():
        app.router.routes.append(assistant.route)
    return app


def _layers(state: ServerState) -> list[Middleware]:
    """What each request passes, the outermost first."""
    settings = state.settings
    layers = [
        Middleware(ProblemOutcomes),
        Middleware(RequestLog, state=state),
        Middleware(HostAndOrigin, settings=settings),
    ]
    if settings.allowed_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.allowed_origins,
                allow_methods=("GET", "POST"),
                allow_headers=("Authorization", "Content-Type", "X-Request-ID"),
                expose_headers=("Retry-After", "X-Request-ID"),
            )
        )
    return [
        *layers,
        Middleware(TokenCheck, settings=settings),
        Middleware(ReviewerCheck, sign_in=settings.sign_in),
        Middleware(RequestLimits, limits=settings.limits),
    ]
