"""MCP answers: the library's records as what an assistant reads."""

from __future__ import annotations

from collections.abc import Sequence

from omop_emb.mapping.records import Candidate, Decision, MappedTerm, SourceTerm
from omop_emb.records import Concept
from omop_emb.service import ConceptCard, FoundConcept, Relative, athena_url, card_facts
from omop_emb.web.assistant.tool_models import (
    ConceptDetails,
    Document,
    MapCandidate,
    MapSuggestions,
    SearchHit,
    TermSuggestion,
)
from omop_emb.web.rest.concept_models import ConceptModel, RelativeModel, SynonymModel

_MOST_REASONS = 5
_NOTE = (
    "These are suggestions. Only a person approves a mapping: show candidates, probabilities and warnings to "
    "whoever decides, and change no data before."
)


def concept_answer(card: ConceptCard) -> ConceptDetails:
    """A concept's card."""
    return ConceptDetails(
        concept=concept_row(card.concept),
        url=concept_url(card.concept),
        valid_start=card.valid_start,
        valid_end=card.valid_end,
        facts=card_facts(card),
        synonyms=[SynonymModel.model_validate(one) for one in card.synonyms],
        parents=relative_rows(card.parents),
        children=relative_rows(card.children),
        maps_to=relative_rows(card.maps_to),
        mapped_from=relative_rows(card.mapped_from),
        counts=dict(card.counts),
    )


def document(card: ConceptCard) -> Document:
    """A concept's card as a text with an address."""
    concept, facts = card.concept, card_facts(card)
    lines = [concept.concept_name, *(f"{name}: {value}" for name, value in facts.items())]
    for name, kind in (("parents", "parents"), ("children", "children"), ("mapped from", "mapped_from")):
        named = "; ".join(_short(one.concept) for one in getattr(card, kind))
        hidden = card.counts[kind] - len(getattr(card, kind))
        if named:
            lines.append(f"{name}: {named}{f'; and {hidden:,} more' if hidden else ''}")
    return Document(
        id=str(concept.concept_id),
        title=concept.concept_name,
        text="\n".join(lines),
        url=concept_url(concept),
        metadata=facts,
    )


def search_hit(found: FoundConcept) -> SearchHit:
    """A hit of a search."""
    return SearchHit(
        id=str(found.concept.concept_id),
        title=found.concept.concept_name,
        url=concept_url(found.concept),
        concept=concept_row(found.concept),
        probability=found.probability,
        found_through=found.found_through,
        warnings=list(found.candidate.flags),
        maps_to=[concept_row(one) for one in found.maps_to],
    )


def map_answer(terms: Sequence[SourceTerm], mapped: Sequence[MappedTerm]) -> MapSuggestions:
    """One suggestion for each term; `mapped` are those that can be mapped, in the same order."""
    suggestions = iter(mapped)
    rows = [_mapped(next(suggestions)) if term.can_be_mapped else _unmappable(term) for term in terms]
    made_with = mapped[0].provenance if mapped else None
    return MapSuggestions(
        terms=rows,
        note=_NOTE,
        vocabulary=made_with.vocabulary if made_with else "",
        model=made_with.model if made_with else "",
        ranker=made_with.ranker if made_with else "",
    )


def _unmappable(term: SourceTerm) -> TermSuggestion:
    return TermSuggestion(
        name=term.name,
        code=term.code,
        decision=Decision.NO_MATCH,
        probability=None,
        reason="has neither a name nor a code of a known vocabulary",
        targets=[],
        candidates=[],
    )


def _mapped(mapped: MappedTerm) -> TermSuggestion:
    return TermSuggestion(
        name=mapped.term.name,
        code=mapped.term.code,
        decision=mapped.decision,
        probability=mapped.probability,
        reason=mapped.reason,
        targets=list(mapped.targets),
        candidates=[_candidate(one) for one in mapped.candidates],
    )


def _candidate(candidate: Candidate) -> MapCandidate:
    return MapCandidate(
        rank=candidate.rank,
        concept=ConceptModel.model_validate(candidate),
        probability=candidate.probability,
        matched_text=candidate.matched_text,
        warnings=list(candidate.flags),
        reasons=[
            f"{'+' if one.contribution >= 0 else '-'} {one.reason}"
            for one in candidate.contributions[:_MOST_REASONS]
        ],
    )


def relative_rows(relatives: Sequence[Relative]) -> list[RelativeModel]:
    """The relatives of a concept."""
    return [RelativeModel.model_validate(one) for one in relatives]


def concept_row(concept: Concept) -> ConceptModel:
    """A concept."""
    return ConceptModel.model_validate(concept)


def concept_url(concept: Concept) -> str:
    """Its page at Athena, or its address on this server."""
    return athena_url(concept.concept_id) or f"omop://concept/{concept.concept_id}"


def _short(concept: Concept) -> str:
    return f"{concept.concept_id} {concept.concept_name or '(not loaded)'}"
