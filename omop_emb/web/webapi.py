"""WebAPI: the vocabulary search, concept and look-up calls of OHDSI's WebAPI, in its own shapes.

Its clients work when their address is changed to `…/WebAPI`. There is one source, whose key is omop-emb; any
other key in an address is taken for it, as there is only one vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from omop_emb import __version__
from omop_emb.records import ConceptFilter
from omop_emb.service import (
    DatedConcept,
    concepts_mapped_to,
    concepts_with_codes,
    dated_concept,
    dated_concepts,
    dated_relatives,
    domains,
    readiness,
    vocabularies,
)
from omop_emb.web.rest.parameters import ConceptId
from omop_emb.web.state import ServerState, server_state

SOURCE_KEY = "omop-emb"
MAX_VALUES = 1_000
"""Ids or codes in one look-up, and relatives of one concept."""
_DEFAULT_ROWS, _MAX_ROWS = 100, 1_000
# How WebAPI names the relationships that concept_ancestor has.
_HIERARCHY = {"ancestor": "Has ancestor of", "descendant": "Has descendant of"}
_STANDARD = {"S": "Standard", "C": "Classification", "N": "Non-Standard"}

router = APIRouter(prefix="/WebAPI", tags=["OHDSI WebAPI"])
_Ids = Annotated[list[int], Body(max_length=MAX_VALUES)]
_Codes = Annotated[list[str], Body(max_length=MAX_VALUES)]


class ConceptSearch(BaseModel):
    """A search as ATLAS sends it; empty fields restrict nothing."""

    model_config = ConfigDict(extra="ignore")

    query: str = Field("", alias="QUERY", max_length=1_000)
    domains: list[str] | None = Field(None, alias="DOMAIN_ID", max_length=100)
    vocabularies: list[str] | None = Field(None, alias="VOCABULARY_ID", max_length=100)
    concept_classes: list[str] | None = Field(None, alias="CONCEPT_CLASS_ID", max_length=100)
    standard: str | None = Field(None, alias="STANDARD_CONCEPT", description="S, C or N")
    invalid_reason: str | None = Field(None, alias="INVALID_REASON", description="V, D or U")


def _route(method: str, path: str, summary: str) -> Callable[[Any], Any]:
    """A route without and with a source's key, as WebAPI has both."""

    def add(function: Any) -> Any:
        for prefix, suffix in (("/vocabulary", ""), ("/vocabulary/{source_key}", "_of_source")):
            name = f"webapi_{function.__name__}{suffix}"
            router.add_api_route(prefix + path, function, methods=[method], summary=summary, name=name)
        return function

    return add


@router.get("/info", summary="Version")
async def info() -> dict[str, Any]:
    """What clients ask first."""
    return {"version": __version__, "buildInfo": {"artifactVersion": f"omop-emb {__version__}"}}


@router.get("/source/sources", summary="The one source")
async def sources() -> list[dict[str, Any]]:
    """The vocabulary as a source of WebAPI."""
    daimon = {"daimonType": "Vocabulary", "tableQualifier": "omop_emb", "priority": 1}
    return [
        {
            "sourceId": 1,
            "sourceName": "omop-emb",
            "sourceDialect": "postgresql",
            "sourceKey": SOURCE_KEY,
            "daimons": [daimon],
        }
    ]


@_route("GET", "/search/{query:path}", "Concepts of a text")
async def search_text(
    request: Request, query: Annotated[str, Path(max_length=1_000)]
) -> list[dict[str, Any]]:
    """Concepts that the text may mean, best first."""
    return await _found(server_state(request), query, ConceptFilter(), _DEFAULT_ROWS)


@_route("GET", "/search", "Concepts of a text, as many as wanted")
async def search_rows(
    request: Request,
    query: Annotated[str, Query(max_length=1_000)],
    rows: Annotated[int, Query(ge=1, le=_MAX_ROWS)] = _DEFAULT_ROWS,
) -> list[dict[str, Any]]:
    """Concepts that the text may mean, best first."""
    return await _found(server_state(request), query, ConceptFilter(), rows)


@_route("POST", "/search", "Concepts of a search")
async def search(request: Request, search: ConceptSearch) -> list[dict[str, Any]]:
    """Concepts that the text may mean, best first, as the one search of this server finds them."""
    concept_filter = ConceptFilter(
        domains=_names(search.domains),
        vocabularies=_names(search.vocabularies),
        concept_classes=_names(search.concept_classes),
        standard_only=search.standard == "S",
        valid_only=search.invalid_reason == "V",
    )
    found = await _found(server_state(request), search.query, concept_filter, _DEFAULT_ROWS)
    if search.standard in ("C", "N"):
        found = [entry for entry in found if entry["STANDARD_CONCEPT"] == search.standard]
    return found


@_route("GET", "/concept/{concept_id}", "A concept")
async def concept(request: Request, concept_id: ConceptId) -> dict[str, Any]:
    """A concept by its id; 404 if there is none."""
    return _concept_json(await server_state(request).query(dated_concept, concept_id))


@_route("GET", "/concept/{concept_id}/related", "Concepts related to a concept")
async def related(request: Request, concept_id: ConceptId) -> list[dict[str, Any]]:
    """By any relationship, and by the hierarchy."""
    return await _relatives(request, concept_id, ("related", "ancestors", "descendants"))


@_route("GET", "/concept/{concept_id}/descendants", "Descendants of a concept")
async def descendants(request: Request, concept_id: ConceptId) -> list[dict[str, Any]]:
    """Its descendants, the nearest first."""
    return await _relatives(request, concept_id, ("descendants",))


@_route("GET", "/concept/{concept_id}/ancestorAndDescendant", "Ancestors and descendants of a concept")
async def ancestors_and_descendants(request: Request, concept_id: ConceptId) -> list[dict[str, Any]]:
    """Both directions of the hierarchy, the nearest first."""
    return await _relatives(request, concept_id, ("ancestors", "descendants"))


@_route("POST", "/lookup/identifiers", "Concepts by their ids")
async def look_up_ids(request: Request, concept_ids: _Ids) -> list[dict[str, Any]]:
    """Those that exist, by name."""
    return await _look_up(request, dated_concepts, concept_ids)


@_route("POST", "/lookup/sourcecodes", "Concepts by their codes")
async def look_up_codes(request: Request, codes: _Codes) -> list[dict[str, Any]]:
    """Of any vocabulary, by name."""
    return await _look_up(request, concepts_with_codes, codes)


@_route("POST", "/lookup/mapped", "Concepts that map to some")
async def look_up_mapped(request: Request, concept_ids: _Ids) -> list[dict[str, Any]]:
    """The concepts themselves, and those that map to them."""
    return await _look_up(request, concepts_mapped_to, concept_ids)


@_route("GET", "/domains", "Domains")
async def all_domains(request: Request) -> list[dict[str, Any]]:
    """The domains of the loaded vocabulary, by name."""
    found = await server_state(request).query(domains)
    return [{"DOMAIN_ID": name, "DOMAIN_NAME": name} for name in found]


@_route("GET", "/vocabularies", "Vocabularies")
async def all_vocabularies(request: Request) -> list[dict[str, Any]]:
    """The vocabularies that the loaded release names."""
    return [
        {
            "VOCABULARY_ID": one.vocabulary_id,
            "VOCABULARY_NAME": one.name or one.vocabulary_id,
            "VOCABULARY_VERSION": one.version,
            "VOCABULARY_CONCEPT_ID": one.concept_id,
        }
        for one in await server_state(request).query(vocabularies)
    ]


@router.get("/vocabulary/{source_key}/info", summary="Release of the vocabulary")
async def vocabulary_info(request: Request) -> dict[str, Any]:
    """Its version as OMOP writes it."""
    ready = await server_state(request).query(readiness)
    return {"version": ready.vocabulary or None, "dialect": "postgresql"}


def _names(values: list[str] | None) -> tuple[str, ...] | None:
    return tuple(values) if values else None


async def _found(
    state: ServerState, text: str, concept_filter: ConceptFilter, rows: int
) -> list[dict[str, Any]]:
    if not text.strip():
        return []
    found = await state.run(state.finder.find, text, concept_filter=concept_filter, k=rows)
    ranks = {hit.concept.concept_id: hit.rank for hit in found.concepts}
    dated = await state.query(dated_concepts, list(ranks))
    return [_concept_json(one) for one in sorted(dated, key=lambda one: ranks[one.concept.concept_id])]


async def _look_up(request: Request, function: Any, values: list[Any]) -> list[dict[str, Any]]:
    return [_concept_json(one) for one in await server_state(request).query(function, values)]


async def _relatives(request: Request, concept_id: int, kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    found = await server_state(request).query(dated_relatives, concept_id, kinds, limit=MAX_VALUES)
    return [_concept_json(one) | {"RELATIONSHIPS": _relationships(one)} for one in found]


def _relationships(dated: DatedConcept) -> list[dict[str, Any]]:
    return [
        {
            "RELATIONSHIP_NAME": _HIERARCHY.get(relative.relationship, relative.relationship),
            "RELATIONSHIP_DISTANCE": relative.distance or 1,
        }
        for relative in dated.relatives
    ]


def _concept_json(dated: DatedConcept) -> dict[str, Any]:
    concept = dated.concept
    standard, invalid = concept.standard_concept or "N", concept.invalid_reason or "V"
    return {
        "CONCEPT_ID": concept.concept_id,
        "CONCEPT_NAME": concept.concept_name,
        "STANDARD_CONCEPT": standard,
        "STANDARD_CONCEPT_CAPTION": _STANDARD.get(standard, "Unknown"),
        "INVALID_REASON": invalid,
        "INVALID_REASON_CAPTION": "Valid" if invalid == "V" else "Invalid",
        "CONCEPT_CODE": concept.concept_code,
        "DOMAIN_ID": concept.domain_id,
        "VOCABULARY_ID": concept.vocabulary_id,
        "CONCEPT_CLASS_ID": concept.concept_class_id,
        "VALID_START_DATE": _milliseconds(dated.valid_start),
        "VALID_END_DATE": _milliseconds(dated.valid_end),
    }


def _milliseconds(day: date | None) -> int | None:
    """Milliseconds since 1970 at midnight UTC, as WebAPI writes days."""
    return None if day is None else int(datetime.combine(day, time(), UTC).timestamp()) * 1000
