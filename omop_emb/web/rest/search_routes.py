"""Search routes: the concepts of a text, and of a text that is being typed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from omop_emb.service import FoundConcept
from omop_emb.web.rest.concept_models import ConceptModel
from omop_emb.web.rest.parameters import PROBLEMS, Filter, Limit, State, next_page
from omop_emb.web.rest.search_models import (
    CompletionAnswer,
    CompletionModel,
    ContributionModel,
    FoundModel,
    ProvenanceModel,
    SearchAnswer,
)

router = APIRouter(prefix="/api/v1", tags=["search"])
_MOST_CHARACTERS = 1_000
_MOST_OFFSET = 899  # a search ranks 1,000 concepts at most


@router.get("/search", summary="Find the concepts of a text", responses=PROBLEMS)
async def search(
    request: Request,
    state: State,
    concept_filter: Filter,
    q: Annotated[
        str,
        Query(
            min_length=1,
            max_length=_MOST_CHARACTERS,
            description="A term, an abbreviation, a concept id, or VOCABULARY:CODE.",
            examples=["htn"],
        ),
    ],
    limit: Limit = 10,
    offset: Annotated[int, Query(ge=0, le=_MOST_OFFSET, description="How many to leave out before.")] = 0,
    explain: Annotated[bool, Query(description="Give reasons for and against each concept.")] = False,
    prefer: Annotated[
        list[str], Query(max_length=50, description="Put such concepts first: drug=ingredient, brand=no …")
    ] = [],  # noqa: B006 - FastAPI copies it
) -> SearchAnswer:
    """The concepts that a text may mean, ranked as `map` ranks the candidates of a term.

    An id or code that does not exist finds nothing, and a note says why; it is never searched as text.
    """
    found = await state.run(
        state.finder.find,
        q,
        concept_filter=concept_filter,
        k=limit + 1,
        offset=offset,
        explain=explain,
        prefer=prefer,
    )
    more = len(found.concepts) > limit and offset + limit <= _MOST_OFFSET
    return SearchAnswer(
        query=found.query,
        concepts=[_found_model(one) for one in found.concepts[:limit]],
        expansions=list(found.expansions),
        suggestions=list(found.suggestions),
        notes=list(found.notes),
        offset=offset,
        next=next_page(request, offset + limit) if more else None,
        provenance=ProvenanceModel.model_validate(found.provenance),
    )


@router.get("/complete", summary="Complete a text that is being typed", responses=PROBLEMS)
async def complete(
    state: State,
    concept_filter: Filter,
    q: Annotated[
        str,
        Query(
            min_length=1,
            max_length=_MOST_CHARACTERS,
            description="What has been typed so far.",
            examples=["hyperten"],
        ),
    ],
    limit: Limit = 10,
) -> CompletionAnswer:
    """Names and synonyms that begin with the text, or have a word that does; each concept once."""
    found = await state.run(state.finder.complete, q, concept_filter=concept_filter, k=limit)
    return CompletionAnswer(prefix=q, completions=[CompletionModel.model_validate(one) for one in found])


def _found_model(found: FoundConcept) -> FoundModel:
    return FoundModel(
        rank=found.rank,
        concept=ConceptModel.model_validate(found.concept),
        score=found.score,
        probability=found.probability,
        found_through=found.found_through,
        flags=list(found.candidate.flags),
        contributions=[ContributionModel.model_validate(one) for one in found.candidate.contributions],
        maps_to=[ConceptModel.model_validate(one) for one in found.maps_to],
    )
