"""Reviewer check: nobody reaches a review without having signed in, or where that is off, decides unnamed."""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omop_emb.web.page_templates import render
from omop_emb.web.problems import problem_response
from omop_emb.web.review.reviewer_identity import shown_identity
from omop_emb.web.review.sign_in import SignIn

REVIEW_PATHS = ("/review", "/api/v1/reviews", "/api/v1/reviewer")
_DECIDING = re.compile(
    r"/review/[0-9]+(/groups|/bulk|/conflicts|/second)?", re.ASCII
)  # pages on which people decide
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>omop-emb</title>
<h1>Sign in to review</h1>
<p>{hint}</p>
<p>If you have done so, <a href="">continue</a>.</p>
</html>
"""
_BY_TOKEN = "Open the link with your own token."  # noqa: S105 - a sentence
_BY_PROXY = "Use the address where you sign in to other programs; this server does not know you."


class ReviewerCheck:
    """Lets requests to reviews pass if it is known who asks; the name is in the request's state."""

    def __init__(self, app: ASGIApp, sign_in: SignIn) -> None:
        self._app, self._sign_in = app, sign_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and self._sign_in.is_on and _is_of_review(scope):
            if self._sign_in.header is not None:
                scope["state"]["reviewer"] = self._sign_in.proxied_name(scope) or ""
            if (refusal := self._refusal(scope)) is not None:
                await refusal(scope, receive, send)
                return
        elif scope["type"] == "http" and _needs_name(scope):
            page = HTMLResponse(render(Request(scope), "reviewer_name.html", release=""))
            await page(scope, receive, _with_origin(send))
            return
        has_forms = scope["type"] == "http" and _is_page(scope) and _is_of_review(scope)
        await self._app(scope, receive, _with_origin(send) if has_forms else send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, request_id = Headers(scope=scope), scope["state"]["request_id"]
        if scope["state"].get("reviewer"):
            # The proxy signs in whatever the browser sends, also what a page of another site makes it send.
            if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not _only_reads(scope):
                return problem_response("forbidden-origin", "the request comes from another site", request_id)
            return None
        hint = _BY_TOKEN if self._sign_in.tokens is not None else _BY_PROXY
        challenge = {"WWW-Authenticate": 'Bearer realm="omop-emb review"'}
        if _is_page(scope):
            return HTMLResponse(_PAGE.format(hint=hint), 401, headers=challenge)
        return problem_response("unauthorized", hint, request_id, headers=challenge)


def _only_reads(scope: Scope) -> bool:
    return scope["method"] in ("GET", "HEAD", "OPTIONS")


def _with_origin(send: Send) -> Send:
    """Lets the page say its origin, and no more, with what its forms send: else it is "null", and refused."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["referrer-policy"] = "strict-origin"
        await send(message)

    return send_on


def _is_page(scope: Scope) -> bool:
    """Whether a browser asks for a page to show."""
    return scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", "")


def _needs_name(scope: Scope) -> bool:
    """Whether somebody opens a page to decide who has given no name yet."""
    is_deciding = _is_page(scope) and _DECIDING.fullmatch(_path(scope)) is not None
    return is_deciding and not shown_identity(Request(scope)).name


def _path(scope: Scope) -> str:
    return str(scope["path"].removeprefix(scope.get("root_path", "")))


def _is_of_review(scope: Scope) -> bool:
    path = _path(scope)
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in REVIEW_PATHS)
