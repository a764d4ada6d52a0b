"""Problems: every error of the HTTP services as RFC 9457 describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from omop_emb.errors import (
    BusyError,
    ConfigurationError,
    DatabaseError,
    InputError,
    OmopEmbError,
    ProviderError,
    SpaceError,
    TextRejectedError,
    UnknownConceptError,
    VocabularyError,
)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2
_MOST_ERRORS, _MOST_CHARACTERS = 20, 200


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its HTTP status, and its title, the same for every occurrence."""

    status: int
    title: str
    is_temporary: bool = False


KINDS: Mapping[str, Kind] = {
    "invalid-request": Kind(400, "The request cannot be used"),
    "unauthorized": Kind(401, "A token is needed"),
    "forbidden-origin": Kind(403, "The request comes from a page that is not allowed"),
    "not-found": Kind(404, "There is nothing here"),
    "method-not-allowed": Kind(405, "The method is not allowed here"),
    "body-timeout": Kind(408, "The request took too long to arrive"),
    "conflict": Kind(409, "The request does not fit the server's settings"),
    "too-large": Kind(413, "The request is too large"),
    "query-too-long": Kind(414, "The query is too long"),
    "unsupported-media-type": Kind(415, "The body has a type that is not supported here"),
    "unknown-host": Kind(421, "The server does not answer to this host name"),
    "invalid-parameters": Kind(422, "A parameter has a value that cannot be used"),
    "headers-too-large": Kind(431, "The headers are too large"),
    "internal-error": Kind(500, "The server failed"),
    "busy": Kind(503, "The server is busy", is_temporary=True),
    "timeout": Kind(503, "The answer took too long", is_temporary=True),
    "not-ready": Kind(503, "The server is not ready"),
    "database-unavailable": Kind(503, "The database cannot be used", is_temporary=True),
    "provider-unavailable": Kind(503, "The embedding model cannot be used", is_temporary=True),
}
_BY_STATUS = {kind.status: name for name, kind in reversed(list(KINDS.items()))}


class Problem(BaseModel):
    """An error, as RFC 9457 describes it."""

    type: str = Field(description="The kind of problem, a relative reference.", examples=["/problems/busy"])
    title: str = Field(description="The kind in words, the same for every occurrence.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    detail: str = Field(description="What is wrong with this request.")
    instance: str = Field(description="This occurrence: /requests/ and the request id.")
    request_id: str = Field(description="The request's id, as in the server's log.")
    errors: list[dict[str, str]] | None = Field(
        default=None, description="Each parameter that cannot be used: its place in the request, and why."
    )


def problem_response(
    kind: str,
    detail: str,
    request_id: str,
    *,
    headers: Mapping[str, str] | None = None,
    status: int | None = None,
    errors: Sequence[Mapping[str, str]] = (),
) -> Response:
    """The response for a problem; `status` where it differs from the kind's."""
    stated = KINDS[kind]
    content: dict[str, Any] = {
        "type": f"/problems/{kind}",
        "title": stated.title,
        "status": status or stated.status,
        "detail": detail,
        "instance": f"/requests/{request_id}",
        "request_id": request_id,
    }
    if errors:
        content["errors"] = list(errors)
    sent = {"Retry-After": str(RETRY_SECONDS)} if stated.is_temporary else {}
    return JSONResponse(
        content, status or stated.status, headers={**sent, **(headers or {})}, media_type=MEDIA_TYPE
    )


def problem_of(error: OmopEmbError) -> tuple[str, str]:
    """The kind of problem that an error is, and the detail that clients see."""
    if isinstance(error, BusyError):
        return "busy", str(error)
    if isinstance(error, UnknownConceptError):
        return "not-found", str(error)
    if isinstance(error, InputError | TextRejectedError):
        return "invalid-request", str(error)
    if isinstance(error, ConfigurationError):
        return "conflict", str(error)
    if isinstance(error, DatabaseError):
        # Its text may name a host, a user or a table.
        return "database-unavailable", "the database cannot be used now: try again in a moment"
    if isinstance(error, ProviderError):
        return "provider-unavailable", "the embedding model cannot be used now: the server's log says why"
    if isinstance(error, SpaceError | VocabularyError):
        return "not-ready", str(error)
    return "conflict", str(error)


def request_id(request: Request) -> str:
    """The request's id."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def add_handlers(app: FastAPI) -> None:
    """Turn every error that a route raises into a problem."""
    app.add_exception_handler(OmopEmbError, _omop_emb_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)


async def _omop_emb_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OmopEmbError)  # noqa: S101 - registered for it
    kind, detail = problem_of(error)
    if KINDS[kind].status >= 500 and kind != "busy":
        request.scope["state"]["failure"] = str(error)
    return problem_response(kind, detail, request_id(request))


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    found = error.errors()
    errors = [
        {"where": _shown(".".join(map(str, one["loc"]))), "message": _shown(str(one["msg"]))}
        for one in found[:_MOST_ERRORS]
    ]
    kind = "invalid-request" if any(one["type"] == "json_invalid" for one in found) else "invalid-parameters"
    detail = "; ".join(f"{one['where']}: {one['message']}" for one in errors[:3])
    return problem_response(kind, detail, request_id(request), errors=errors)


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    status = error.status_code
    kind = _BY_STATUS.get(status, "invalid-request" if status < 500 else "internal-error")
    detail = _shown(str(error.detail)) if error.detail else KINDS[kind].title
    return problem_response(kind, detail, request_id(request), headers=error.headers, status=status)


def _shown(text: str) -> str:
    """A text as an answer may hold it: short, and valid UTF-8."""
    return text[:_MOST_CHARACTERS].encode("utf-8", "replace").decode()
