"""FHIR routes: HTTP on the outside, calls and answers on the inside."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response

from omop_emb.errors import OmopEmbError
from omop_emb.web.fhir.accept_header import accepted
from omop_emb.web.fhir.dispatch import Answer, Call, FhirServer, failure, segments
from omop_emb.web.fhir.fhir_version import FhirVersion
from omop_emb.web.fhir.outcome import Issue, outcome
from omop_emb.web.state import server_state

_MEDIA_TYPE = "application/fhir+json"
_VERSIONS = {"r4": FhirVersion.R4, "r5": FhirVersion.R5}
# A plus in a query string is a space.
_TAKEN = (_MEDIA_TYPE, "application/fhir json", "application/json+fhir", "json", "*/*", "application/*")
_SEARCH_PARAMETERS = ("_count", "_id", "_offset")

router = APIRouter(include_in_schema=False)


@router.api_route(
    "/fhir{path:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], name="FHIR"
)
async def fhir(request: Request) -> Response:
    """Answer any request below /fhir; its CapabilityStatement says which there are."""
    prefix, path, version = _address(request)
    query = parse_qsl(request.url.query, keep_blank_values=True)
    accept = request.headers.get("accept", "")
    media_type = _media_type(dict(query).get("_format"), accept)
    if media_type is None:
        issue = Issue(code="not-supported", text=f"This server writes {_MEDIA_TYPE} only")
        return _response(Answer(406, outcome([issue])), _MEDIA_TYPE)
    state = server_state(request)
    server = FhirServer(
        engine=state.engine,
        map_terms=state.finder.map,
        version=version.narrowed(accept),
        base_url=str(request.base_url).rstrip("/") + prefix,
        timeout_seconds=state.settings.limits.request_seconds,
    )
    call = Call(
        method=request.method,
        path=path,
        query=[
            (name, text) for name, text in query if not name.startswith("_") or name in _SEARCH_PARAMETERS
        ],
        body=await request.body() if request.method == "POST" else b"",
        content_type=request.headers.get("content-type", ""),
        language=request.headers.get("accept-language", ""),
    )
    try:
        answer = await state.run(server.answer, call)
    except OmopEmbError as error:
        answer = failure(error)
    return _response(answer, media_type)


def _address(request: Request) -> tuple[str, list[str], FhirVersion]:
    """The path of the FHIR server, the segments below it, and the version that it speaks."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    # The application may stand below a prefix, such as /token/TOKEN.
    prefix = segments(request.scope.get("root_path", ""))
    rest = segments(raw.decode("ascii", "replace"))[len(prefix) + 1 :]
    version = _VERSIONS.get(rest[0]) if rest else None
    if version is None:
        return "/fhir", rest, FhirVersion.BOTH
    return f"/fhir/{rest[0]}", rest[1:], version


def _media_type(wanted: str | None, accept: str) -> str | None:
    """The media type of the answer; None if the client takes none that the server writes."""
    for name in accepted((wanted or accept).lower()) if (wanted or accept).strip() else ["*/*"]:
        if name in ("application/json", "text/json"):
            return "application/json"
        if name in _TAKEN:
            return _MEDIA_TYPE
    return None


def _response(answer: Answer, media_type: str) -> Response:
    return Response(
        json.dumps(answer.resource, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"),
        answer.status,
        headers=dict(answer.headers),
        media_type=f"{media_type}; charset=utf-8",
    )
