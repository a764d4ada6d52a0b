"""What became of concepts: whether they may still be mapped to, and which ones took their place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL

from omop_emb.errors import VocabularyError
from omop_emb.mapping.records import PathStep
from omop_emb.records import Concept
from omop_emb.sql import read
from omop_emb.vocabulary import reader

# Tried in this order: a concept that maps to another has said where it is to be coded.
RELATIONSHIPS = ("Maps to", "Concept replaced by")
# Longer chains than any vocabulary has; cycles end sooner, because no concept is visited twice.
_LONGEST_CHAIN = 20
_INVALID = {"D": "deprecated", "U": "replaced by another concept"}


@dataclass(frozen=True, slots=True)
class Replacement:
    """A valid standard concept that took another's place, and the relationships that lead there."""

    concept: Concept
    path: tuple[PathStep, ...]


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a concept.

    Attributes:
        concept_id: the concept.
        concept: as the vocabulary has it now; None where it has it no more.
        reason: why it may not be mapped to; "" where it is valid and standard.
        replacements: what took its place; () where it stands, or where nothing did.
    """

    concept_id: int
    concept: Concept | None
    reason: str
    replacements: tuple[Replacement, ...] = ()

    @property
    def stands(self) -> bool:
        """Whether it may be mapped to as it is."""
        return not self.reason


def fates(connection: psycopg.Connection[Any], concept_ids: Iterable[int]) -> dict[int, Fate]:
    """Concept id to what became of it in the present vocabulary, for all the ids.

    Chains of Maps to and Concept replaced by are followed to valid standard concepts, through any number
    of concepts that are neither; a cycle leads nowhere. Concept 0 stands.

    Raises:
        VocabularyError: no vocabulary is loaded.
    """
    tables = reader.vocabulary_tables(connection)
    if tables is None:
        raise VocabularyError("no vocabulary is loaded: run omop-emb vocabulary load PATH")
    wanted = sorted(set(concept_ids))
    known = reader.concepts_by_id(connection, wanted)
    found = {concept_id: _fate(concept_id, known.get(concept_id)) for concept_id in wanted}
    lost = [fate.concept_id for fate in found.values() if fate.concept is not None and not fate.stands]
    if lost and tables.concept_relationship is not None:
        query = SQL(read("mapping_relationships")).format(
            concept_relationship=tables.concept_relationship, concept=tables.concept
        )
        links = _links(connection, query, lost)
        for concept_id in lost:
            fate = found[concept_id]
            assert fate.concept is not None  # noqa: S101 - for mypy: lost has only known concepts
            replacements = _follow(fate.concept, links)
            found[concept_id] = Fate(concept_id, fate.concept, fate.reason, replacements)
    return found


def _fate(concept_id: int, concept: Concept | None) -> Fate:
    if concept_id == 0:
        return Fate(0, concept, "")
    if concept is None:
        return Fate(concept_id, None, "no longer in the vocabulary")
    return Fate(concept_id, concept, _objection(concept))


def _objection(concept: Concept) -> str:
    if concept.invalid_reason is not None:
        return _INVALID.get(concept.invalid_reason, f"invalid ({concept.invalid_reason})")
    if concept.standard_concept == "S":
        return ""
    return "a classification, not a standard concept" if concept.standard_concept == "C" else "not standard"


Links = Mapping[int, list[tuple[str, Concept]]]


def _links(connection: psycopg.Connection[Any], query: Any, start: list[int]) -> Links:
    """All relationships that can be reached from some concepts, a query for each step of the chains."""
    links: dict[int, list[tuple[str, Concept]]] = defaultdict(list)
    asked: set[int] = set()
    frontier = set(start)
    cursor = connection.cursor(row_factory=dict_row)
    for _ in range(_LONGEST_CHAIN):
        if not frontier:
            break
        asked |= frontier
        parameters = {"concept_ids": sorted(frontier), "relationship_ids": list(RELATIONSHIPS)}
        frontier = set()
        for row in cursor.execute(query, parameters):
            start_id, relationship_id = row.pop("concept_id_1"), row.pop("relationship_id")
            concept = Concept(**row)
            links[start_id].append((relationship_id, concept))
            if _objection(concept) and concept.concept_id not in asked:
                frontier.add(concept.concept_id)
    return links


def _follow(start: Concept, links: Links) -> tuple[Replacement, ...]:
    """Valid standard concepts that chains lead to, nearest first; each once, by its shortest chain."""
    found: list[Replacement] = []
    visited = {start.concept_id}
    frontier: list[tuple[Concept, tuple[PathStep, ...]]] = [(start, ())]
    while frontier:
        later: list[tuple[Concept, tuple[PathStep, ...]]] = []
        for concept, path in frontier:
            for relationship_id, following in _best_links(links.get(concept.concept_id, [])):
                if following.concept_id in visited:
                    continue
                visited.add(following.concept_id)
                taken = (*path, PathStep(concept.concept_id, concept.concept_name, relationship_id))
                if _objection(following):
                    later.append((following, taken))
                else:
                    found.append(Replacement(following, taken))
        frontier = later
    return tuple(found)


def _best_links(links: list[tuple[str, Concept]]) -> list[tuple[str, Concept]]:
    for relationship_id in RELATIONSHIPS:
        if chosen := [link for link in links if link[0] == relationship_id]:
            return chosen
    return []
