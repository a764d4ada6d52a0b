"""Carrot: the recommendation call of Carrot-Mapper, which shows its answers next to scanned values."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from omop_emb import __version__
from omop_emb.errors import InputError
from omop_emb.mapping.records import Retriever
from omop_emb.records import ConceptFilter
from omop_emb.service import FoundConcept
from omop_emb.web.state import server_state

router = APIRouter(prefix="/carrot", tags=["Carrot-Mapper"])


@router.get("/{term:path}", summary="Recommendations for a term")
async def recommend(
    request: Request,
    term: Annotated[str, Path(max_length=1_000)],
    domain: Annotated[str | None, Query(max_length=200, description="Domain of the concepts")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> dict[str, Any]:
    """Standard concepts that a term may mean, best first; `accuracy` is a calibrated probability or null."""
    if not term.strip():
        raise InputError("give a term behind the address, such as /carrot/hypertension")
    state = server_state(request)
    concept_filter = ConceptFilter(domains=(domain,) if domain else None, standard_only=True, valid_only=True)
    found = await state.run(state.finder.find, term, concept_filter=concept_filter, k=limit)
    items = [_item(concept) for concept in found.concepts]
    return {
        "items": items,
        "count": len(items),
        "metadata": {
            "assistant": "omop-emb",
            "version": __version__,
            "pipeline": found.provenance.ranker,
            "info": {"model": found.provenance.model, "vocabulary": found.provenance.releases},
        },
    }


def _item(found: FoundConcept) -> dict[str, Any]:
    concept, retrievers = found.concept, found.candidate.retrievers
    dense = retrievers.get(Retriever.DENSE)
    return {
        "accuracy": found.probability,
        "conceptId": concept.concept_id,
        "conceptName": concept.concept_name,
        "conceptCode": concept.concept_code,
        "vocabulary": concept.vocabulary_id,
        "domain": concept.domain_id,
        "conceptClass": concept.concept_class_id,
        "standardConcept": concept.standard_concept,
        "explanation": found.found_through,
        "scores": {} if dense is None else {"vector-search": round(dense, 4)},
    }
