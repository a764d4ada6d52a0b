"""MCP tools: what an assistant may ask about concepts; each answers plain values and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from omop_emb.mapping.records import MappedTerm, SourceTerm
from omop_emb.mapping.settings import Settings
from omop_emb.records import Concept, ConceptFilter, ConceptMatch
from omop_emb.service import (
    ConceptCard,
    RelativesPage,
    concept_card,
    find_similar,
    referenced_concept,
    relatives_page,
)
from omop_emb.web.assistant.assistant_backend import Backend
from omop_emb.web.assistant.tool_answers import (
    concept_answer,
    concept_row,
    document,
    map_answer,
    relative_rows,
    search_hit,
)
from omop_emb.web.assistant.tool_models import (
    Classes,
    ConceptDetails,
    Document,
    Domains,
    Limit,
    MapSuggestions,
    Query,
    Reference,
    RelativesList,
    SearchResults,
    SimilarConcepts,
    Terms,
    Vocabularies,
)
from omop_emb.web.rest.concept_models import SimilarModel

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Kind = Literal[
    "parents", "children", "siblings", "ancestors", "descendants", "maps_to", "mapped_from", "related"
]
_EXPLAINED = 3  # candidates of a term that have reasons
_LISTED = 25  # relatives of each kind in a card


class AssistantTools:
    """The tools, over a process that has the search and the database."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def search(
        self,
        query: Query,
        domains: Domains = (),
        vocabularies: Vocabularies = (),
        concept_classes: Classes = (),
        include_non_standard: Annotated[
            bool, Field(description="Also find concepts that are not standard or no longer valid.")
        ] = False,
        limit: Limit = 10,
    ) -> SearchResults:
        """Find the OMOP concepts that a clinical term, abbreviation, concept id or code may mean.

        Ranked best first, with the probability that the first one is right, where it is known. An id or code
        that does not exist finds nothing, and a note says why. Use fetch or get_concept for details of a hit.
        """
        found = await self._backend.run(
            self._backend.finder.find,
            query,
            concept_filter=_filter(domains, vocabularies, concept_classes, include_non_standard),
            k=limit,
        )
        return SearchResults(
            results=[search_hit(one) for one in found.concepts],
            expansions=list(found.expansions),
            suggestions=list(found.suggestions),
            notes=list(found.notes),
            vocabulary=found.provenance.vocabulary,
        )

    async def fetch(self, id: Reference) -> Document:
        """Read a concept as a text: names, status, mappings, hierarchy.

        `id` is that of a search result.
        """
        return document(await self._backend.query(_card, id))

    async def map_terms(
        self,
        terms: Terms,
        domains: Domains = (),
        vocabularies: Vocabularies = (),
        candidates: Annotated[int, Field(ge=1, le=20, description="Candidates per term.")] = 5,
    ) -> MapSuggestions:
        """Suggest OMOP standard concepts for 1 to 100 source terms, with probabilities and reasons.

        For each term: what the mapper would decide, the probability that its first candidate is right, and
        the candidates with reasons and warnings. Nothing is stored or approved: only a person approves a
        mapping. More terms than 100 are a file for `omop-emb map`.
        """
        settings = Settings(
            candidates=candidates,
            explain=min(candidates, _EXPLAINED),
            concept_filter=_filter(domains, vocabularies, [], False),
        )
        wanted = [SourceTerm(name=term) if isinstance(term, str) else term.to_term() for term in terms]
        mapped: list[MappedTerm] = await self._backend.run(
            self._backend.finder.map, [term for term in wanted if term.can_be_mapped], settings=settings
        )
        return map_answer(wanted, mapped)

    async def get_concept(self, concept: Reference) -> ConceptDetails:
        """Get a concept's names, validity, mappings, parents and children.

        Lists are cut to 25; `counts` has their length, and get_hierarchy the rest.
        """
        return concept_answer(await self._backend.query(_card, concept))

    async def get_hierarchy(
        self,
        concept: Reference,
        kind: Annotated[
            Kind,
            Field(
                description="Which relatives: of one level (parents, children, siblings), of all levels "
                "(ancestors, descendants), mappings (maps_to, mapped_from), or all of them (related)."
            ),
        ] = "children",
        limit: Annotated[int, Field(ge=1, le=500, description="How many relatives.")] = 50,
        offset: Annotated[int, Field(ge=0, le=10_000_000, description="How many to leave out before.")] = 0,
    ) -> RelativesList:
        """List what is above, below or beside a concept, the nearest first; `total` is how many there are."""
        found, page = await self._backend.query(_page, concept, kind, limit, offset)
        end = offset + len(page.relatives)
        return RelativesList(
            concept=concept_row(found),
            kind=kind,
            relatives=relative_rows(page.relatives),
            total=page.total,
            next_offset=end if page.relatives and end < page.total else None,
            not_loaded=list(page.not_loaded),
        )

    async def find_similar(
        self,
        concept: Reference,
        domains: Domains = (),
        vocabularies: Vocabularies = (),
        include_non_standard: Annotated[
            bool, Field(description="Also find concepts that are not standard or no longer valid.")
        ] = False,
        limit: Limit = 10,
    ) -> SimilarConcepts:
        """Find the concepts whose names mean something near to a concept's own, by their stored vectors.

        Near is not equal: opposites, sides and grades are near as well. The concept must be embedded, as
        standard concepts are.
        """
        chosen = _filter(domains, vocabularies, [], include_non_standard)
        found, matches = await self._backend.query(_similar, concept, limit, chosen)
        similar = [SimilarModel.model_validate(match) for match in matches]
        return SimilarConcepts(concept=concept_row(found), similar=similar)


def concept_document(session: Session, reference: str) -> Document:
    """The document of the concept that is given by its id or as VOCABULARY:CODE."""
    return document(_card(session, reference))


def _card(session: Session, reference: str) -> ConceptCard:
    return concept_card(session, referenced_concept(session, reference).concept_id, limit=_LISTED)


def _page(
    session: Session, reference: str, kind: Kind, limit: int, offset: int
) -> tuple[Concept, RelativesPage]:
    concept = referenced_concept(session, reference)
    return concept, relatives_page(session, concept.concept_id, kind, limit=limit, offset=offset)


def _similar(
    session: Session, reference: str, k: int, concept_filter: ConceptFilter
) -> tuple[Concept, tuple[ConceptMatch, ...]]:
    concept = referenced_concept(session, reference)
    return concept, find_similar(session, concept.concept_id, k=k, concept_filter=concept_filter)


def _filter(
    domains: Sequence[str], vocabularies: Sequence[str], classes: Sequence[str], any_concept: bool
) -> ConceptFilter:
    return ConceptFilter(
        domains=tuple(domains) or None,
        vocabularies=tuple(vocabularies) or None,
        concept_classes=tuple(classes) or None,
        standard_only=not any_concept,
        valid_only=not any_concept,
    )
