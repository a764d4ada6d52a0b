"""Concept finder: the one search, mapping's own retrieval and ranking of a text, as a filter allows."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy

from omop_emb.database.engine import (
    driver_connection,
    readable_errors,
    session_scope,
    short_transaction,
)
from omop_emb.errors import InputError, checked_keywords
from omop_emb.mapping.mapper import Mapper
from omop_emb.mapping.records import MappedTerm, SourceTerm
from omop_emb.mapping.resources import DEFAULT_SITE, read_resources
from omop_emb.mapping.settings import Settings
from omop_emb.records import Concept, ConceptFilter, true_or_false, whole_number
from omop_emb.service.answers import Answers
from omop_emb.service.found_concepts import Completion, FoundConcepts, SearchContents
from omop_emb.service.warm_resources import WarmResources
from omop_emb.spaces.recipe import STANDARD_AND_VALID
from omop_emb.vocabulary.lookup import concepts_with_code, look_up
from omop_emb.vocabulary.reader import concepts_by_id

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

MAX_CONCEPTS = 1_000
"""The most concepts of an answer, counted from the first page on."""


@checked_keywords
class ConceptFinder:
    """Finds concepts of the active space, and maps terms, with what was read once.

    Threads may share it; one is enough for a process. Each question is answered by the space, vocabulary,
    approvals and ranker that were in use when it was asked; a change is read at the next question. No
    transaction is open while the model embeds.

    Args:
        engine: of the database; from omop_emb.database_engine().
        site: the site whose memory and ranker are used.
        also_spaces: names of spaces that are searched too; None: those that the site's ranker learned with.
    """

    def __init__(
        self,
        engine: sqlalchemy.Engine,
        *,
        site: str = DEFAULT_SITE,
        also_spaces: Sequence[str] | None = None,
    ) -> None:
        self._engine = engine
        self._resources = WarmResources(engine, site, also_spaces)
        self._completing = threading.Lock()

    def __enter__(self) -> ConceptFinder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def times_read(self) -> int:
        """How often vocabulary, vectors and approvals were read: at the first question, and after changes."""
        return self._resources.times_read

    def close(self) -> None:
        """Give back the memory; the next question would read everything again."""
        self._resources.clear()

    def warm(self) -> None:
        """Read what questions need, load the model, and answer one, so that the first user does not wait.

        Raises:
            OmopEmbError: as find().
        """
        self.find("hypertension")
        self.complete("hyp")

    def find(
        self,
        text: str,
        *,
        concept_filter: ConceptFilter = STANDARD_AND_VALID,
        k: int = 10,
        offset: int = 0,
        explain: bool = False,
        prefer: Sequence[str] = (),
    ) -> FoundConcepts:
        """The concepts that a text may mean, best first: ranked as mapping ranks the candidates of a term.

        A concept id or VOCABULARY:CODE gives that concept, whatever the filter says.

        Args:
            text: a term, an abbreviation, a concept id or a code.
            concept_filter: which concepts may be found; others than standard ones have no probabilities.
            k: how many concepts.
            offset: how many of the best to skip first.
            explain: give reasons, as Candidate.contributions.
            prefer: preferences such as "drug=ingredient", as Settings.prefer.

        Raises:
            InputError: the text is blank, or more than MAX_CONCEPTS are requested.
            UnknownValueError: the filter names a domain, vocabulary or class that does not exist, or a
                preference is unknown.
            DatabaseError: the database cannot be reached.
            OmopEmbError: no vocabulary is loaded, no space is active, or its model cannot be used.
        """
        (answer,) = self.find_all(
            [text], concept_filter=concept_filter, k=k, offset=offset, explain=explain, prefer=prefer
        )
        return answer

    def find_all(
        self,
        texts: Sequence[str],
        *,
        concept_filter: ConceptFilter = STANDARD_AND_VALID,
        k: int = 10,
        offset: int = 0,
        explain: bool = False,
        prefer: Sequence[str] = (),
    ) -> list[FoundConcepts]:
        """find() for many texts at once, several times as fast; one answer per text, in their order."""
        settings = search_settings(texts, concept_filter, k, offset, explain, prefer)
        with session_scope(self._engine) as session:
            question = self._resources.ask(session)
            looked_up, by_code = look_up(session, texts), concepts_with_code(session, texts)
        standard = resources = self._resources.get(question, Settings())
        if settings.includes_non_standard:
            resources = self._resources.get(question, settings)
        answers = Answers(
            settings=settings, resources=resources, standard=standard, looked_up=looked_up, by_code=by_code
        ).of(texts)
        invalid = _without_reason(answers)
        if invalid:
            with session_scope(self._engine) as session:
                answers = _with_reasons(answers, concepts_by_id(driver_connection(session), invalid))
        return [replace(answer, concepts=answer.concepts[offset:]) for answer in answers]

    def complete(
        self, prefix: str, *, concept_filter: ConceptFilter = STANDARD_AND_VALID, k: int = 10
    ) -> tuple[Completion, ...]:
        """Names and synonyms that begin with a text, or have a word that does; each concept once.

        Raises:
            OmopEmbError: as find().
        """
        settings, k = Settings(concept_filter=concept_filter), whole_number(k, "k")
        if not isinstance(prefix, str):
            raise InputError(f"prefix must be a text; found {type(prefix).__name__}")
        with session_scope(self._engine) as session:
            question = self._resources.ask(session)
        resources = self._resources.get(question, settings)
        resources.check_values(settings)
        with self._completing:
            index = resources.completions
        lexicon, passing = resources.engine.lexicon, resources.engine.passing(concept_filter)
        return tuple(
            Completion(concept=lexicon.concept(int(lexicon.text_concept[row])), text=lexicon.texts[row])
            for row in index.find(lexicon, prefix, k, passing)
        )

    def contents(self) -> SearchContents:
        """What concepts are found in: the release, the model, and the values that filters may name.

        Raises:
            OmopEmbError: as find().
        """
        with session_scope(self._engine) as session:
            question = self._resources.ask(session)
        resources = self._resources.get(question, Settings())
        lexicon, provenance = resources.engine.lexicon, resources.provenance(Settings())
        return SearchContents(
            vocabulary=provenance.vocabulary,
            model=provenance.model,
            domains=tuple(sorted(filter(None, lexicon.domains))),
            vocabularies=tuple(sorted(filter(None, lexicon.vocabularies))),
            concept_classes=tuple(sorted(filter(None, lexicon.concept_classes))),
        )

    def map(self, terms: Sequence[SourceTerm], *, settings: Settings | None = None) -> list[MappedTerm]:
        """Exactly what map_terms() gives for the terms.

        Raises:
            InputError: a term has neither a name nor a code.
            OmopEmbError: as find().
        """
        settings = Settings.parse(settings)
        with session_scope(self._engine) as session:
            question = self._resources.ask(session)
        resources = self._resources.get(question, settings)
        with closing(Mapper(resources, settings)) as mapper:
            return list(mapper.map(terms))


@checked_keywords
def find_concepts(
    session: Session | Connection,
    text: str,
    *,
    concept_filter: ConceptFilter = STANDARD_AND_VALID,
    k: int = 10,
    site: str = DEFAULT_SITE,
    also_spaces: Sequence[str] | None = None,
    explain: bool = False,
    prefer: Sequence[str] = (),
) -> FoundConcepts:
    """ConceptFinder.find() once, in the caller's transaction; for many texts, make a ConceptFinder.

    Args:
        session: the transaction to read in; nothing is committed.
        text: a term, an abbreviation, a concept id or a code.
        concept_filter: which concepts may be found.
        k: how many concepts.
        site: the site whose memory and ranker are used.
        also_spaces: names of spaces that are searched too; None: those that the site's ranker learned with.
        explain: give reasons, as Candidate.contributions.
        prefer: preferences such as "drug=ingredient", as Settings.prefer.

    Raises:
        OmopEmbError: as ConceptFinder.find().
    """
    settings = search_settings([text], concept_filter, k, 0, explain, prefer)
    looked_up, by_code = look_up(session, [text]), concepts_with_code(session, [text])
    with readable_errors():
        standard = resources = read_resources(session, Settings(), also_spaces=also_spaces, site=site)
        if settings.includes_non_standard:
            resources = read_resources(session, settings, also_spaces=also_spaces, site=site)
        answers = Answers(
            settings=settings, resources=resources, standard=standard, looked_up=looked_up, by_code=by_code
        ).of([text])
        invalid = _without_reason(answers)
        if invalid:
            with short_transaction(session) as connection:
                answers = _with_reasons(answers, concepts_by_id(connection, invalid))
        return answers[0]


def search_settings(
    texts: Sequence[str],
    concept_filter: ConceptFilter,
    k: int,
    offset: int,
    explain: bool,
    prefer: Sequence[str] = (),
) -> Settings:
    """Mapping's settings for a search; find() says what is raised."""
    if isinstance(texts, str):
        raise InputError("texts must be a sequence of texts; found one text")
    for number, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            where = f" at position {number}" if len(texts) > 1 else ""
            raise InputError(f"give a text to search for; found none{where}")
    wanted = whole_number(k, "k") + whole_number(offset, "offset", least=0)
    if wanted > MAX_CONCEPTS:
        raise InputError(f"k and offset together must be at most {MAX_CONCEPTS:,}; found {wanted:,}")
    explained = wanted if true_or_false(explain, "explain") else 0
    return Settings(candidates=wanted, explain=explained, concept_filter=concept_filter, prefer=prefer)


def _without_reason(answers: Sequence[FoundConcepts]) -> list[int]:
    """The concepts that may be invalid; only the database knows why."""
    return [
        hit.concept.concept_id
        for answer in answers
        for hit in answer.concepts
        if hit.concept.standard_concept != "S" and hit.concept.invalid_reason is None
    ]


def _with_reasons(answers: Sequence[FoundConcepts], concepts: dict[int, Concept]) -> list[FoundConcepts]:
    """With those concepts as the vocabulary has them, invalid_reason included."""
    return [
        replace(
            answer,
            concepts=tuple(
                replace(hit, concept=concepts.get(hit.concept.concept_id, hit.concept))
                for hit in answer.concepts
            ),
        )
        for answer in answers
    ]
