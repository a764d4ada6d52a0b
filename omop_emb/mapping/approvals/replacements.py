"""Replacements: whether a concept may still be mapped to, and which valid concepts took its place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed

from omop_emb.errors import VocabularyError
from omop_emb.mapping.records import PathStep
from omop_emb.records import Concept
from omop_emb.sql import read
from omop_emb.vocabulary import reader

# In order of preference: a Maps to is what the vocabulary itself says a concept should be coded as.
RELATIONSHIPS = ("Maps to", "Concept replaced by")
# No vocabulary has longer chains. Cycles end earlier, because no concept is visited twice.
_MAX_CHAIN_LENGTH = 20
_INVALID_REASONS = {"D": "deprecated", "U": "replaced by another concept"}


@dataclass(frozen=True, slots=True)
class Replacement:
    """A valid standard concept that took another's place, and the relationships that lead to it."""

    concept: Concept
    path: tuple[PathStep, ...]


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """Whether a concept may be mapped to."""

    concept_id: int
    concept: Concept | None  # as the vocabulary has it now; None if it was removed
    reason: str  # why it may not be mapped to; "" if it is valid and standard
    replacements: tuple[Replacement, ...] = ()  # what took its place; () if it is valid, or nothing did

    @property
    def is_valid(self) -> bool:
        """Whether it may be mapped to."""
        return not self.reason


def target_statuses(
    connection: psycopg.Connection[Any], concept_ids: Iterable[int]
) -> dict[int, TargetStatus]:
    """The status of all the concepts in the present vocabulary, by id; concept 0 is valid.

    Chains of Maps to and Concept replaced by are followed to valid standard concepts, through any number
    of concepts that are neither.
    """
    tables = reader.vocabulary_tables(connection)
    if tables is None:
        raise VocabularyError("no vocabulary is loaded: run omop-emb vocabulary load PATH")
    ids = sorted(set(concept_ids))
    concepts = reader.concepts_by_id(connection, ids)
    statuses = {concept_id: _status(concept_id, concepts.get(concept_id)) for concept_id in ids}
    outdated = {key: concepts[key] for key in ids if key in concepts and not statuses[key].is_valid}
    if outdated and tables.concept_relationship is not None:
        query = SQL(read("mapping_relationships")).format(
            concept_relationship=tables.concept_relationship, concept=tables.concept
        )
        links = _read_links(connection, query, outdated)
        for concept_id, concept in outdated.items():
            statuses[concept_id] = replace(statuses[concept_id], replacements=_follow(concept, links))
    return statuses


def _status(concept_id: int, concept: Concept | None) -> TargetStatus:
    if concept_id == 0:
        return TargetStatus(0, concept, "")
    if concept is None:
        return TargetStatus(concept_id, None, "no longer in the vocabulary")
    return TargetStatus(concept_id, concept, _invalid_reason(concept))


def _invalid_reason(concept: Concept) -> str:
    """Why a concept may not be mapped to; "" if it may."""
    if concept.invalid_reason is not None:
        return _INVALID_REASONS.get(concept.invalid_reason, f"invalid ({concept.invalid_reason})")
    if concept.standard_concept == "S":
        return ""
    return "a classification, not a standard concept" if concept.standard_concept == "C" else "not standard"


Links = Mapping[int, list[tuple[str, Concept]]]
"""Relationship and target by the id of the concept that has them."""


def _read_links(connection: psycopg.Connection[Any], query: Composed, concept_ids: Iterable[int]) -> Links:
    """All relationships that can be reached from some concepts; one query per step of the chains."""
    links: dict[int, list[tuple[str, Concept]]] = defaultdict(list)
    visited: set[int] = set()
    frontier = set(concept_ids)
    cursor = connection.cursor(row_factory=dict_row)
    for _ in range(_MAX_CHAIN_LENGTH):
        if not frontier:
            break
        visited |= frontier
        parameters = {"concept_ids": sorted(frontier), "relationship_ids": list(RELATIONSHIPS)}
        frontier = set()
        for row in cursor.execute(query, parameters):
            start_id, relationship_id = row.pop("concept_id_1"), row.pop("relationship_id")
            concept = Concept(**row)
            links[start_id].append((relationship_id, concept))
            if _invalid_reason(concept) and concept.concept_id not in visited:
                frontier.add(concept.concept_id)
    return links


def _follow(start: Concept, links: Links) -> tuple[Replacement, ...]:
    """The valid standard concepts that chains lead to, nearest first, each by its shortest chain."""
    replacements: list[Replacement] = []
    visited = {start.concept_id}
    frontier: list[tuple[Concept, tuple[PathStep, ...]]] = [(start, ())]
    while frontier:
        further: list[tuple[Concept, tuple[PathStep, ...]]] = []
        for concept, path in frontier:
            for relationship_id, target in _preferred_links(links.get(concept.concept_id, [])):
                if target.concept_id in visited:
                    continue
                visited.add(target.concept_id)
                longer = (*path, PathStep(concept.concept_id, concept.concept_name, relationship_id))
                if _invalid_reason(target):
                    further.append((target, longer))
                else:
                    replacements.append(Replacement(target, longer))
        frontier = further
    return tuple(replacements)


def _preferred_links(links: list[tuple[str, Concept]]) -> list[tuple[str, Concept]]:
    for relationship_id in RELATIONSHIPS:
        if chosen := [link for link in links if link[0] == relationship_id]:
            return chosen
    return []
