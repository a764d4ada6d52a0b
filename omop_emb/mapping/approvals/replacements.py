"""Replacements: whether a concept may still be mapped to, and which valid concepts took its place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed

from omop_emb.mapping.records import MappedValue, PathStep
from omop_emb.mapping.retrieval.relationships import (
    MAX_CHAIN_LENGTH,
    TARGET_RELATIONSHIPS,
    VALUE_RELATIONSHIPS,
    follow,
    values,
)
from omop_emb.records import Concept
from omop_emb.sql import read
from omop_emb.vocabulary import reader

_INVALID_REASONS = {"D": "deprecated", "U": "replaced by another concept"}


@dataclass(frozen=True, slots=True)
class Replacement:
    """A valid standard concept that took another's place, and the relationships that lead to it."""

    concept: Concept
    path: tuple[PathStep, ...]
    mapped_values: tuple[MappedValue, ...] = ()  # values, units … that belong beside it now


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

    Chains of Maps to and of replacements are followed to valid standard concepts, through any number of
    concepts that are neither.
    """
    tables = reader.require_vocabulary(connection)
    ids = sorted(set(concept_ids))
    concepts = reader.concepts_by_id(connection, ids)
    statuses = {concept_id: _status(concept_id, concepts.get(concept_id)) for concept_id in ids}
    outdated = {key: concepts[key] for key in ids if key in concepts and not statuses[key].is_valid}
    if outdated and tables.concept_relationship is not None:
        query = SQL(read("mapping_relationships")).format(
            concept_relationship=tables.concept_relationship, concept=tables.concept
        )
        graph = _read_graph(connection, query, outdated.values())
        for concept_id in outdated:
            replacements = graph.replacements(concept_id)
            statuses[concept_id] = replace(statuses[concept_id], replacements=replacements)
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


@dataclass(frozen=True)
class _Graph:
    """Concepts that can be reached from some, and the relationships between them."""

    concepts: dict[int, Concept]
    links: dict[int, list[tuple[str, int]]]

    def _is_valid(self, concept_id: int) -> bool:
        return not _invalid_reason(self.concepts[concept_id])

    def replacements(self, start: int) -> tuple[Replacement, ...]:
        """The valid standard concepts that took a concept's place, and what belongs beside them."""
        paths = follow(start, self.links, self._is_valid)
        beside = tuple(
            MappedValue(label, value, self.concepts[value].concept_name)
            for label, value in values(start, paths.values(), self.links, self._is_valid)
        )
        return tuple(
            Replacement(
                self.concepts[target],
                tuple(PathStep(key, self.concepts[key].concept_name, label) for key, label in path),
                beside,
            )
            for target, path in paths.items()
        )


def _read_graph(connection: psycopg.Connection[Any], query: Composed, outdated: Iterable[Concept]) -> _Graph:
    """All that can be reached from outdated concepts; one query per step of the chains."""
    graph = _Graph({concept.concept_id: concept for concept in outdated}, defaultdict(list))
    frontier = set(graph.concepts)
    cursor = connection.cursor(row_factory=dict_row)
    for _ in range(MAX_CHAIN_LENGTH):
        if not frontier:
            break
        labels = [*TARGET_RELATIONSHIPS, *VALUE_RELATIONSHIPS]
        parameters = {"concept_ids": sorted(frontier), "relationship_ids": labels}
        frontier = set()
        for row in cursor.execute(query, parameters):
            start_id, relationship_id = row.pop("concept_id_1"), row.pop("relationship_id")
            concept = Concept(**row)
            graph.links[start_id].append((relationship_id, concept.concept_id))
            if _invalid_reason(concept) and concept.concept_id not in graph.concepts:
                frontier.add(concept.concept_id)
            graph.concepts.setdefault(concept.concept_id, concept)
    return graph
