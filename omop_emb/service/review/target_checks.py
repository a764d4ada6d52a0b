"""Target checks: targets that are not standard, not valid, unknown, of another domain, or too general."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.sql import SQL

from omop_emb.records import Concept
from omop_emb.service.review.conflict_records import (
    Conflict,
    ConflictKind,
    ConflictTerm,
    DecidedTerm,
    make_conflict,
)
from omop_emb.sql import read
from omop_emb.vocabulary import reader


def find_status_conflicts(
    terms: Iterable[DecidedTerm], concepts: Mapping[int, Concept]
) -> Iterator[Conflict]:
    """Targets that no row of OMOP's tables should have, one conflict a target."""
    by_target: dict[int, list[DecidedTerm]] = {}
    for term in terms:
        for target in term.targets:
            by_target.setdefault(target.concept_id, []).append(term)
    for concept_id, having in by_target.items():
        concept = concepts.get(concept_id)
        status, told = _status(concept_id, concept)
        if status:
            yield make_conflict(
                ConflictKind.TARGET_STATUS,
                [concept_id, status],
                [ConflictTerm(term=term) for term in having],
                aspect=status,
                summary=told,
                is_certain=True,
                concept=concept,
            )


def _status(concept_id: int, concept: Concept | None) -> tuple[str, str]:
    if concept is None:
        return "unknown", f"the loaded vocabulary has no concept {concept_id}"
    if concept.invalid_reason:
        return "invalid", "the concept is no longer valid"
    if concept.standard_concept != "S":
        kind = "a classification concept" if concept.standard_concept == "C" else "not a standard concept"
        return "non-standard", f"the target is {kind}"
    return "", ""


def find_domain_conflicts(
    terms: Iterable[DecidedTerm], concepts: Mapping[int, Concept]
) -> Iterator[Conflict]:
    """Targets in another domain than their terms ask for, one conflict a target and domain."""
    found: dict[tuple[int, str], list[DecidedTerm]] = {}
    for term in terms:
        allowed = {name.strip().casefold() for name in term.domain.split("|")} - {""}
        for concept_id in term.mappings if allowed else ():
            concept = concepts.get(concept_id)
            if concept is not None and (concept.domain_id or "").casefold() not in allowed:
                found.setdefault((concept_id, term.domain), []).append(term)
    for (concept_id, domain), having in found.items():
        concept = concepts[concept_id]
        yield make_conflict(
            ConflictKind.DOMAIN,
            [concept_id, domain],
            [ConflictTerm(term=term, says=domain) for term in having],
            summary=f"the concept's domain is {concept.domain_id}, the file asks for {domain}",
            is_certain=True,
            concept=concept,
        )


def find_exact_names(
    connection: psycopg.Connection[Any], terms: Iterable[DecidedTerm], concepts: Mapping[int, Concept]
) -> list[Conflict]:
    """Terms mapped to a concept above one that has exactly their name, one conflict a name and target.

    A vocabulary without concept_ancestor has none.
    """
    tables = reader.vocabulary_tables(connection)
    if tables is None or tables.concept_ancestor is None:
        return []
    by_question: dict[tuple[str, int], list[DecidedTerm]] = {}
    for term in terms:
        for concept_id in term.mappings:
            by_question.setdefault((term.source_name, concept_id), []).append(term)
    questions = list(by_question)
    query = SQL(read("review_exact_names")).format(
        concept=tables.concept, concept_ancestor=tables.concept_ancestor
    )
    rows = (
        connection.cursor(row_factory=tuple_row)
        .execute(
            query, {"names": [name for name, _ in questions], "targets": [target for _, target in questions]}
        )
        .fetchall()
    )
    better = reader.concepts_by_id(connection, {concept_id for *_, concept_id in rows})
    found: dict[tuple[int, int], list[DecidedTerm]] = {}
    for name, target, concept_id in rows:
        allowed = _allowing(by_question[name, target], better[concept_id])
        found.setdefault((target, concept_id), []).extend(allowed)
    return [
        make_conflict(
            ConflictKind.EXACT_NAME,
            [target, concept_id],
            [ConflictTerm(term=term) for term in having],
            summary="the target is above a concept that has exactly the term's name",
            concept=concepts.get(target),
            better=better[concept_id],
        )
        for (target, concept_id), having in found.items()
        if having
    ]


def _allowing(terms: Sequence[DecidedTerm], concept: Concept) -> list[DecidedTerm]:
    """The terms whose domain a concept has, and that do not map to it anyway."""
    return [
        term
        for term in terms
        if (not term.domain or concept.domain_id in term.domain.split("|"))
        and concept.concept_id not in term.mappings
    ]
