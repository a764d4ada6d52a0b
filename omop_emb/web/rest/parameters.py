"""Parameters: what several routes of REST take, with the same names and bounds."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import Depends, HTTPException, Path, Query, Request

from omop_emb.records import MAX_CONCEPT_ID, ConceptFilter
from omop_emb.web.problems import Problem
from omop_emb.web.state import ServerState, server_state

State = Annotated[ServerState, Depends(server_state)]
ConceptId = Annotated[int, Path(ge=0, le=MAX_CONCEPT_ID, description="OMOP concept id.")]
Limit = Annotated[int, Query(ge=1, le=100, description="The most to answer.")]

PROBLEMS: dict[int | str, dict[str, object]] = {
    status: {"model": Problem, "description": description}
    for status, description in (
        (400, "The request cannot be used."),
        (401, "The token is missing or wrong."),
        (409, "The request does not fit the server's settings."),
        (422, "A parameter is missing or out of its range."),
        (503, "Busy, not ready, or without its database; `Retry-After` says when to ask again."),
    )
}
NOT_FOUND: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "The vocabulary has no such concept."}
}


def require_json(request: Request) -> None:
    """Refuse a body that is not said to be JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "send the header Content-Type: application/json")


def _filter(
    domain: Annotated[
        list[str], Query(max_length=50, description="Only these domains; several with commas.")
    ] = [],  # noqa: B006 - FastAPI copies it
    vocabulary: Annotated[
        list[str], Query(max_length=50, description="Only these vocabularies; several with commas.")
    ] = [],  # noqa: B006 - as above
    concept_class: Annotated[
        list[str], Query(max_length=50, description="Only these classes; several with commas.")
    ] = [],  # noqa: B006 - as above
    standard: Annotated[bool, Query(description="Only standard concepts.")] = True,
    valid: Annotated[bool, Query(description="Only concepts that are still valid.")] = True,
) -> ConceptFilter:
    return make_filter(domain, vocabulary, concept_class, standard=standard, valid=valid)


Filter = Annotated[ConceptFilter, Depends(_filter)]


def make_filter(
    domains: list[str], vocabularies: list[str], classes: list[str], *, standard: bool, valid: bool
) -> ConceptFilter:
    """The filter of names, each alone or several with commas between them."""
    return ConceptFilter(
        domains=_listed(domains),
        vocabularies=_listed(vocabularies),
        concept_classes=_listed(classes),
        standard_only=standard,
        valid_only=valid,
    )


def _listed(values: list[str]) -> tuple[str, ...] | None:
    names = tuple(part.strip() for value in values for part in value.split(","))
    return tuple(filter(None, names)) or None


def next_page(request: Request, offset: int) -> str:
    """Path and query of the request's next page."""
    query = [(name, value) for name, value in parse_qsl(request.url.query, keep_blank_values=True)]
    changed = [pair for pair in query if pair[0] != "offset"]
    return f"{request.url.path}?{urlencode([*changed, ('offset', str(offset))])}"
