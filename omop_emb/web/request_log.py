"""Request log: a request's id, its access line and metrics, security headers, and what fails unexpectedly.

No query, body, term or token is ever logged: a line has method, route, status, milliseconds and request id.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
import traceback

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omop_emb.web.metrics import METHODS
from omop_emb.web.problems import problem_response
from omop_emb.web.state import ServerState

ACCESS = logging.getLogger("omop_emb.web.access")
_LOGGER = logging.getLogger("omop_emb.web")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MOST_FRAMES = 6
_CLIENT_GONE = 499  # nginx's status for a client that did not wait


class RequestLog:
    """The outermost layer: whatever happens inside, the client gets an answer and the log a line."""

    def __init__(self, app: ASGIApp, state: ServerState) -> None:
        self._app, self._state = app, state
        framing = " ".join(state.settings.allowed_origins) or "'none'"
        self._headers = {
            "content-security-policy": (
                "default-src 'self'; base-uri 'none'; form-action 'self'; object-src 'none'; "
                f"frame-ancestors {framing}"
            ),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cache-control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "state": {**scope.get("state", {})}}
        request_id = _request_id(Headers(scope=scope))
        scope["state"]["request_id"] = request_id
        method, status, started = scope["method"], 0, time.perf_counter()
        if method == "HEAD":  # answered as GET; the server leaves out the body
            scope["method"] = "GET"

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except Exception as error:
            _LOGGER.error("request %s failed: %s", request_id, describe(error))
            if status:
                raise ConnectionAbortedError("the answer was broken off") from None
            response = problem_response(
                "internal-error", "the server failed; its log has this request's id", request_id
            )
            await response(scope, receive, send_on)
        finally:
            self._log(scope, method, status, time.perf_counter() - started)

    def _log(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        route, status = route_template(scope), status or _CLIENT_GONE
        method = method if method in METHODS else "other"  # a client may invent one that says something
        self._state.metrics.count(method=method, route=route, status=status, seconds=seconds)
        failure = scope["state"].get("failure")
        request_id = scope["state"]["request_id"]
        if failure:
            _LOGGER.warning("request %s: %s", request_id, failure)
        ACCESS.info("%s %s %d %d ms %s", method, route, status, round(seconds * 1000), request_id)


def describe(error: BaseException) -> str:
    """An exception's type and where it was raised; its message may hold data."""
    frames = traceback.extract_tb(error.__traceback__)[-_MOST_FRAMES:]
    places = " > ".join(
        f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames
    )
    return f"{type(error).__name__} at {places}"


def route_template(scope: Scope) -> str:
    """The template of the route that answered, such as "/api/v1/concepts/{concept_id}"; never a path."""
    route = scope.get("route")
    template = getattr(route, "path_format", None) or getattr(route, "path", None)
    return template if isinstance(template, str) else str(scope["state"].get("mount", "none"))


def _request_id(headers: Headers) -> str:
    """The client's id where it is well formed, else a new one."""
    stated = headers.getlist("x-request-id")
    if len(stated) == 1 and _REQUEST_ID.fullmatch(stated[0]):
        return stated[0]
    return secrets.token_hex(8)
