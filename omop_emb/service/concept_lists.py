"""Concept lists: concepts with their validity, by ids, by codes, by what they map to, and as relatives."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import psycopg

from omop_emb.database.engine import driver_connection, readable_errors
from omop_emb.errors import UnknownConceptError
from omop_emb.records import Concept
from omop_emb.service.concept_cards import concept_relatives
from omop_emb.vocabulary import details, reader
from omop_emb.vocabulary.lookup import missing_id_reason
from omop_emb.vocabulary.relatives import Relative, Relatives
from omop_emb.vocabulary.vocabulary_list import ListedVocabulary, listed_vocabularies

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session


@dataclass(frozen=True, kw_only=True)
class DatedConcept:
    """A concept with the first and the last day on which it is valid; None where a CDM does not say.

    Attributes:
        relatives: how it is related to the concept in question; () where there is none.
    """

    concept: Concept
    valid_start: date | None
    valid_end: date | None
    relatives: tuple[Relative, ...] = ()


def dated_concepts(session: Session | Connection, concept_ids: Iterable[int]) -> list[DatedConcept]:
    """The concepts that exist, by name."""
    with readable_errors():
        connection = driver_connection(session)
        return _dated(connection, reader.concepts_by_id(connection, concept_ids).values())


def dated_concept(session: Session | Connection, concept_id: int) -> DatedConcept:
    """A concept.

    Raises:
        UnknownConceptError: the vocabulary has no such concept.
    """
    for found in dated_concepts(session, [concept_id]):
        return found
    with readable_errors():
        reason = missing_id_reason(driver_connection(session), concept_id)
    raise UnknownConceptError(reason, concept_id=concept_id)


def concepts_with_codes(session: Session | Connection, codes: Iterable[str]) -> list[DatedConcept]:
    """The concepts of any vocabulary that have one of some codes, by name."""
    with readable_errors():
        connection = driver_connection(session)
        return _dated(connection, reader.concepts_by_code(connection, codes))


def concepts_mapped_to(
    session: Session | Connection, concept_ids: Collection[int], *, limit: int = 1_000
) -> list[DatedConcept]:
    """Some concepts, and at most `limit` of those that map to each, by name."""
    with readable_errors():
        connection = driver_connection(session)
        relatives = Relatives(connection, reader.require_vocabulary(connection))
        concepts = reader.concepts_by_id(connection, concept_ids)
        sources = relatives.first_of_each(list(concepts), ["Mapped from"], limit=limit)
        concepts |= reader.concepts_by_id(connection, {link.concept_id for link in sources})
        return _dated(connection, concepts.values())


def dated_relatives(
    session: Session | Connection, concept_id: int, kinds: Sequence[str], *, limit: int = 1_000
) -> list[DatedConcept]:
    """At most `limit` relatives of each of some kinds, the nearest first; each concept once.

    Raises:
        UnknownConceptError: the vocabulary has no such concept.
    """
    relatives: dict[int, list[Relative]] = {}
    for kind in kinds:
        for relative in concept_relatives(session, concept_id, kind, limit=limit):
            relatives.setdefault(relative.concept.concept_id, []).append(relative)
    with readable_errors():
        concepts = (some[0].concept for some in relatives.values())
        dated = _dated(driver_connection(session), concepts)
    found = [replace(one, relatives=tuple(relatives[one.concept.concept_id])) for one in dated]
    return sorted(found, key=lambda one: min(relative.distance or 1 for relative in one.relatives))


def domains(session: Session | Connection) -> list[str]:
    """The domains of the loaded vocabulary, by name."""
    with readable_errors():
        return reader.existing_values(driver_connection(session), "domain")


def vocabularies(session: Session | Connection) -> list[ListedVocabulary]:
    """The vocabularies that the loaded release names, by id.

    Raises:
        VocabularyError: no vocabulary is loaded.
    """
    with readable_errors():
        connection = driver_connection(session)
        return list(listed_vocabularies(connection, reader.require_vocabulary(connection)).values())


def _dated(connection: psycopg.Connection[Any], concepts: Iterable[Concept]) -> list[DatedConcept]:
    listed = sorted(concepts, key=lambda concept: (concept.concept_name, concept.concept_id))
    tables = reader.require_vocabulary(connection)
    validities = details.validities(connection, tables, [concept.concept_id for concept in listed])
    return [
        DatedConcept(concept=concept, valid_start=days[0], valid_end=days[1])
        for concept in listed
        for days in [validities.get(concept.concept_id, (None, None))]
    ]
