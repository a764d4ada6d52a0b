"""Reviewer routes: who asks, the name that a person types, and signing out."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from omop_emb.errors import InputError
from omop_emb.service.review.decision_records import reviewer_name
from omop_emb.web.rest.parameters import PROBLEMS
from omop_emb.web.review.reviewer_identity import REVIEWER_COOKIE, reviewer_identity
from omop_emb.web.security import read_cookie, reviewer_cookie_name
from omop_emb.web.state import server_state

router = APIRouter()
_YEAR = 365 * 24 * 3600


class ReviewerAnswer(BaseModel):
    """Who asks."""

    name: str = Field(description='The reviewer\'s name, "" if none is known.')
    source: Literal["declared", "token", "proxy"] = Field(
        description="How it is known: typed by the person, or checked by a token or a proxy."
    )
    can_be_changed: bool = Field(description="Whether the person may type another name.")
    can_sign_out: bool = Field(description="Whether POST /review/sign-out forgets it.")


@router.get("/api/v1/reviewer", tags=["review"], summary="Say who asks", responses=PROBLEMS)
async def current_reviewer_name(request: Request) -> ReviewerAnswer:
    """Who asks, as decisions will say."""
    found = reviewer_identity(request)
    return ReviewerAnswer(
        name=found.name,
        source=found.source,
        can_be_changed=found.can_be_changed,
        can_sign_out=found.can_sign_out,
    )


@router.post("/review/name", include_in_schema=False)
async def declare_name(
    request: Request,
    name: Annotated[str, Form(max_length=1_000)],
    next_page: Annotated[str, Form(alias="next", max_length=2_000)] = "/review",
) -> RedirectResponse:
    """Keep the name that a person typed in a cookie, and go back to the page."""
    if server_state(request).settings.sign_in.is_on:
        raise InputError("this server checks names: sign in as a reviewer instead of typing a name")
    response = _back(request, next_page)
    response.set_cookie(
        REVIEWER_COOKIE,
        quote(reviewer_name(name), safe=""),
        max_age=_YEAR,
        samesite="strict",
        secure=_is_encrypted(request),
    )
    return response


@router.post("/review/sign-out", include_in_schema=False)
async def sign_out(request: Request) -> RedirectResponse:
    """Forget who asks."""
    settings = server_state(request).settings
    response = _back(request, "/review")
    name = reviewer_cookie_name(settings.port)
    if settings.sign_in.tokens is not None:
        settings.sign_in.tokens.sign_out(read_cookie(request.headers, name))
    response.delete_cookie(name, httponly=True, samesite="strict", secure=_is_encrypted(request))
    response.delete_cookie(REVIEWER_COOKIE, samesite="strict", secure=_is_encrypted(request))
    return response


def _back(request: Request, page: str) -> RedirectResponse:
    """A redirection to a page of this server, whatever the form says."""
    root = request.scope.get("root_path", "")
    is_own = page.startswith("/review") and page.isprintable() and "\\" not in page and "//" not in page
    return RedirectResponse(f"{root}{page if is_own else '/review'}", 303)


def _is_encrypted(request: Request) -> bool:
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
