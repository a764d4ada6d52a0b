"""Map routes: up to a thousand terms mapped in one request."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from omop_emb.mapping.records import MappedTerm, SourceTerm
from omop_emb.web.rest.map_models import MapAnswer, MappedTermModel, MapRequest, TermModel
from omop_emb.web.rest.parameters import PROBLEMS, State, require_json
from omop_emb.web.rest.search_models import CandidateModel, MappedValueModel, ProvenanceModel
from omop_emb.web.turns import map_in_turns

router = APIRouter(prefix="/api/v1", tags=["mapping"])


@router.post(
    "/map",
    summary="Map terms to standard concepts",
    responses=PROBLEMS,
    dependencies=[Depends(require_json)],
)
async def map_terms(state: State, request: MapRequest) -> MapAnswer:
    """Each term's decision, probability and candidates, as `omop-emb map` gives them.

    Nothing is accepted without review unless `settings` asks for it, and nothing is stored.
    """
    terms = [
        term.to_term() if isinstance(term, TermModel) else SourceTerm(name=term) for term in request.terms
    ]
    mapped = await map_in_turns(state, terms, request.settings.to_settings())
    return MapAnswer(
        terms=[mapped_model(one) for one in mapped],
        provenance=ProvenanceModel.model_validate(mapped[0].provenance),
    )


def mapped_model(mapped: MappedTerm) -> MappedTermModel:
    """A mapped term as REST answers it."""
    return MappedTermModel(
        name=mapped.term.name,
        code=mapped.term.code,
        decision=mapped.decision,
        reason=mapped.reason,
        probability=mapped.probability,
        priority=mapped.priority,
        targets=list(mapped.targets),
        mapped_values=[MappedValueModel.model_validate(one) for one in mapped.mapped_values],
        candidates=[CandidateModel.model_validate(one) for one in mapped.candidates],
        by_code=list(mapped.by_code),
        disagrees=mapped.disagrees,
        unknown_code=mapped.unknown_code,
    )
