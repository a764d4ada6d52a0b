"""Problem outcomes: what the layers around the FHIR server refuse, said as OperationOutcomes."""

from __future__ import annotations

import json
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omop_emb.web.fhir.outcome import Issue, outcome
from omop_emb.web.problems import MEDIA_TYPE as PROBLEM

_PATH = re.compile(r"(/token/[^/]+)?/+fhir(/|$)")
_FHIR = "application/fhir+json; charset=utf-8"
# Kind of problem -> FHIR's issue type; "invalid" for the others.
_CODES = {
    "busy": "transient",
    "database-unavailable": "transient",
    "forbidden-origin": "forbidden",
    "headers-too-large": "too-long",
    "internal-error": "exception",
    "not-found": "not-found",
    "not-ready": "transient",
    "provider-unavailable": "transient",
    "query-too-long": "too-long",
    "body-timeout": "timeout",
    "timeout": "timeout",
    "too-large": "too-long",
    "unauthorized": "login",
    "unknown-host": "forbidden",
    "unsupported-media-type": "not-supported",
}


class ProblemOutcomes:
    """Turns the problems of RFC 9457 below /fhir into OperationOutcomes; their status and headers stay."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back."""
        if scope["type"] != "http" or not _PATH.match(scope["path"]):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def send_on(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_problem(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    body = _outcome(body)
                    headers = MutableHeaders(raw=list(start["headers"]))
                    headers["content-type"], headers["content-length"] = _FHIR, str(len(body))
                    await send({**start, "headers": headers.raw})
                    await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, send_on)


def _is_problem(message: Message) -> bool:
    return Headers(raw=message["headers"]).get("content-type", "").startswith(PROBLEM)


def _outcome(body: bytes) -> bytes:
    problem = json.loads(body)
    code = _CODES.get(problem["type"].rpartition("/")[2], "invalid")
    return json.dumps(outcome([Issue(code=code, text=problem["detail"])]), ensure_ascii=False).encode()
