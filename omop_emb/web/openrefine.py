"""OpenRefine: the Reconciliation Service API 0.2, by which a column of terms is matched to concepts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse

from omop_emb import __version__
from omop_emb.errors import InputError, UnknownConceptError
from omop_emb.mapping import Settings
from omop_emb.mapping.ranking.policy import Policy
from omop_emb.mapping.records import MappedTerm
from omop_emb.records import parse_concept_id
from omop_emb.service import ConceptCard, concept_card
from omop_emb.web.concept_properties import PROPERTIES, extension, parse_extension
from omop_emb.web.page_templates import render
from omop_emb.web.reconciliation import TERM_PROPERTIES, ReconciliationQuery, parse_batch, results
from omop_emb.web.state import ServerState, server_state
from omop_emb.web.turns import map_in_turns

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

router = APIRouter(prefix="/openrefine", tags=["OpenRefine"])

_IDENTIFIERS = "https://fhir-terminology.ohdsi.org"
_SCHEMA = "https://ohdsi.github.io/CommonDataModel/"
_PREVIEW_SIZE = {"width": 430, "height": 300}
_SUGGESTIONS = 20
_MOST_VALUES = 50  # in a cell


@router.get("", summary="Manifest, or a batch of queries")
async def manifest_or_batch(
    request: Request,
    queries: Annotated[str | None, Query(description="A batch of queries as JSON")] = None,
    extend: Annotated[str | None, Query(description="An extension query as JSON")] = None,
) -> dict[str, Any]:
    """The manifest; with `queries` or `extend` the same as a POST of them."""
    if queries is None and extend is None:
        return await _manifest(request)
    return await _answer(server_state(request), queries, extend)


@router.post("", summary="A batch of queries, or of ids to add columns to")
async def batch(
    request: Request,
    queries: Annotated[str | None, Form(description="A batch of queries as JSON")] = None,
    extend: Annotated[str | None, Form(description="An extension query as JSON")] = None,
) -> dict[str, Any]:
    """The results of each query, or the cells of each concept."""
    return await _answer(server_state(request), queries, extend)


@router.get("/suggest/entity", summary="Concepts whose name begins with a text")
async def suggest_concepts(
    request: Request, prefix: Annotated[str, Query(max_length=200)] = ""
) -> dict[str, Any]:
    """Type-ahead for a cell that a person matches by hand."""
    state = server_state(request)
    completions = await state.run(state.finder.complete, prefix, k=_SUGGESTIONS) if prefix.strip() else ()
    return {
        "result": [
            {
                "id": str(completion.concept.concept_id),
                "name": completion.concept.concept_name,
                "description": f"{completion.concept.vocabulary_id} {completion.concept.concept_code}",
                "notable": [{"id": completion.concept.domain_id, "name": completion.concept.domain_id}],
            }
            for completion in completions
        ]
    }


@router.get("/suggest/type", summary="Domains whose name begins with a text")
async def suggest_types(
    request: Request, prefix: Annotated[str, Query(max_length=200)] = ""
) -> dict[str, Any]:
    """Domains of the loaded vocabulary."""
    return {"result": _beginning(prefix, ((name, name) for name in await _domains(server_state(request))))}


@router.get("/suggest/property", summary="Properties that a query may have")
async def suggest_properties(prefix: Annotated[str, Query(max_length=200)] = "") -> dict[str, Any]:
    """What a further column of the table may be used as."""
    return {"result": _beginning(prefix, TERM_PROPERTIES.items())}


@router.get("/properties", summary="Columns that can be added")
async def propose_properties(
    type_: Annotated[str, Query(alias="type", max_length=200)] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> dict[str, Any]:
    """The properties of an extension query; they are the same for all types."""
    offered = [{"id": key, "name": entry.name} for key, entry in PROPERTIES.items()]
    return {"type": type_, "properties": offered[:limit], "limit": limit}


@router.get("/preview", summary="A concept as a small page", response_class=HTMLResponse)
async def preview(request: Request, id: Annotated[str, Query(max_length=40)]) -> HTMLResponse:
    """What OpenRefine shows when the mouse rests on a result."""
    state = server_state(request)
    cards = await state.query(_cards, [id])
    return HTMLResponse(render(request, "preview.html", card=cards[id], id=id))


async def _manifest(request: Request) -> dict[str, Any]:
    base = str(request.url_for("manifest_or_batch")).rstrip("/")

    def service(path: str) -> dict[str, str]:
        return {"service_url": base, "service_path": path}

    return {
        "versions": ["0.2"],
        "name": "omop-emb: OMOP concepts",
        "identifierSpace": _IDENTIFIERS,
        "schemaSpace": _SCHEMA,
        "serviceVersion": __version__,
        "defaultTypes": [{"id": name, "name": name} for name in await _domains(server_state(request))],
        "view": {"url": f"{base.removesuffix('/openrefine')}/concept/{{{{id}}}}"},
        "preview": {"url": f"{base}/preview?id={{{{id}}}}", **_PREVIEW_SIZE},
        "suggest": {
            "entity": service("/suggest/entity"),
            "type": service("/suggest/type"),
            "property": service("/suggest/property"),
        },
        "extend": {"propose_properties": service("/properties"), "property_settings": []},
    }


async def _answer(state: ServerState, queries: str | None, extend: str | None) -> dict[str, Any]:
    if (queries is None) == (extend is None):
        raise InputError("give either queries or extend, as JSON in a form field")
    if extend is not None:
        ids, properties = parse_extension(extend)
        return extension(await state.query(_cards, ids), properties)
    batch = parse_batch(queries or "")
    mapped = await _map_batch(state, batch)
    return {key: {"result": results(mapped[key]) if key in mapped else []} for key in batch}


async def _map_batch(state: ServerState, batch: dict[str, ReconciliationQuery]) -> dict[str, MappedTerm]:
    """The mapped term of each query that has something to map; those with the same filter together."""
    policy = Policy(accept_precision=state.settings.accept_precision)
    groups: dict[Settings, list[str]] = {}
    for key, query in batch.items():
        if query.can_be_mapped:
            groups.setdefault(query.settings(Settings(policy=policy)), []).append(key)
    mapped: dict[str, MappedTerm] = {}
    for settings, keys in groups.items():
        answers = await map_in_turns(state, [batch[key].term for key in keys], settings)
        mapped.update(zip(keys, answers, strict=True))
    return mapped


def _cards(session: Session, ids: list[str]) -> dict[str, ConceptCard | None]:
    """Each id's card; None for one that does not exist."""
    cards: dict[str, ConceptCard | None] = {}
    for text in ids:
        cards[text] = None
        concept_id = parse_concept_id(text)
        if concept_id is not None:
            with suppress(UnknownConceptError):
                cards[text] = concept_card(session, concept_id, limit=_MOST_VALUES)
    return cards


def _beginning(prefix: str, offered: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    wanted = prefix.strip().casefold()
    return [
        {"id": key, "name": key, **({"description": text} if text != key else {})}
        for key, text in offered
        if key.casefold().startswith(wanted)
    ]


async def _domains(state: ServerState) -> Sequence[str]:
    return (await state.run(state.finder.contents)).domains
