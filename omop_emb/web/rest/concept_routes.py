"""Concept routes: a concept, its relatives page by page, and concepts that are similar."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from omop_emb.service import concept_card, concept_relatives, find_similar
from omop_emb.web.rest.concept_models import (
    ConceptAnswer,
    RelativeModel,
    RelativesAnswer,
    SimilarAnswer,
    SimilarModel,
)
from omop_emb.web.rest.parameters import NOT_FOUND, PROBLEMS, ConceptId, Filter, Limit, State, next_page

router = APIRouter(prefix="/api/v1/concepts", tags=["concepts"], responses={**PROBLEMS, **NOT_FOUND})
_LISTED = 50  # of each list of a concept's answer
_MOST_OFFSET = 10_000_000


class RelativeName(Enum):
    """How relatives are related to a concept."""

    PARENTS = "parents"
    CHILDREN = "children"
    SIBLINGS = "siblings"
    ANCESTORS = "ancestors"
    DESCENDANTS = "descendants"
    RELATED = "related"
    MAPS_TO = "maps-to"
    MAPPED_FROM = "mapped-from"


@router.get("/{concept_id}", summary="Show a concept")
async def get_concept(state: State, concept_id: ConceptId) -> ConceptAnswer:
    """A concept with its names, parents, children, ancestors and mappings, at most 50 of each."""
    return ConceptAnswer.model_validate(await state.query(concept_card, concept_id, limit=_LISTED))


@router.get("/{concept_id}/similar", summary="Find concepts with similar vectors")
async def find_similar_concepts(
    state: State, concept_id: ConceptId, concept_filter: Filter, limit: Limit = 10
) -> SimilarAnswer:
    """The concepts whose vectors in the active space are nearest to the concept's own, without itself."""
    found = await state.query(find_similar, concept_id, k=limit, concept_filter=concept_filter)
    return SimilarAnswer(concept_id=concept_id, similar=[SimilarModel.model_validate(one) for one in found])


@router.get("/{concept_id}/{kind}", summary="List a concept's relatives")
async def list_relatives(
    request: Request,
    state: State,
    concept_id: ConceptId,
    kind: Annotated[RelativeName, Path(description="How they are related to the concept.")],
    limit: Limit = 100,
    offset: Annotated[int, Query(ge=0, le=_MOST_OFFSET, description="How many to leave out before.")] = 0,
) -> RelativesAnswer:
    """A page of the concepts above, below or beside a concept, or related to it."""
    name = kind.value.replace("-", "_")
    found = await state.query(concept_relatives, concept_id, name, limit=limit + 1, offset=offset)
    more = len(found) > limit and offset + limit <= _MOST_OFFSET
    return RelativesAnswer(
        concept_id=concept_id,
        kind=kind.value,
        relatives=[RelativeModel.model_validate(one) for one in found[:limit]],
        offset=offset,
        next=next_page(request, offset + limit) if more else None,
    )
