"""Relatives of a concept: its hierarchy and its relationships, cut to a page and counted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Composed

from omop_emb.database.fetch import fetch_value
from omop_emb.records import Choice, Concept
from omop_emb.vocabulary import reader
from omop_emb.vocabulary.reader import VocabularyTables

# One step up and down. Hierarchies of other relationships, such as RxNorm's, are in concept_ancestor.
_UP, _DOWN = "Is a", "Subsumes"
_MAX_LEVELS = 30  # of a walk from parent to parent; SNOMED has fewer than 20

# Each yields relationship, concept_id and distance. The keys of the tables serve as indexes for them.
_RELATED = SQL(
    "select relationship_id as relationship, concept_id_2 as concept_id, cast(null as integer) as distance "
    "from {table} where concept_id_1 = any(%(concept_ids)s) and coalesce(invalid_reason, '') = ''"
)
_RELATED_BY = SQL(
    "select relationship_id as relationship, concept_id_2 as concept_id, cast(null as integer) as distance "
    "from {table} where concept_id_1 = any(%(concept_ids)s) and coalesce(invalid_reason, '') = '' "
    "and relationship_id = %(relationship)s"
)
_ABOVE = SQL(
    "select 'ancestor' as relationship, ancestor_concept_id as concept_id, "
    "min_levels_of_separation as distance from {table} "
    "where descendant_concept_id = any(%(concept_ids)s) and ancestor_concept_id <> descendant_concept_id"
)
_BELOW = SQL(
    "select 'descendant' as relationship, descendant_concept_id as concept_id, "
    "min_levels_of_separation as distance from {table} "
    "where ancestor_concept_id = any(%(concept_ids)s) and descendant_concept_id <> ancestor_concept_id"
)
_ONE_LEVEL = SQL(" and min_levels_of_separation = 1")

_PAGE = SQL(
    "select relationship, concept_id, distance from ({links}) links "
    "order by distance, relationship, concept_id limit %(limit)s offset %(offset)s"
)
_COUNT = SQL("select count(*) from ({links}) links")
_CONCEPT_IDS = SQL("select distinct concept_id from ({links}) links order by concept_id")
_COUNT_BY_NAME = SQL("select relationship, count(*) from ({links}) links group by relationship order by 1")
_FIRST_OF_EACH = SQL(
    "select first.* from unnest(cast(%(concept_ids)s as integer[])) as source (concept_id) "
    "cross join unnest(cast(%(relationships)s as text[])) as wanted (name) cross join lateral ("
    "select relationship_id, concept_id_2, cast(null as integer) from {table} "
    "where concept_id_1 = source.concept_id and relationship_id = wanted.name "
    "and coalesce(invalid_reason, '') = '' order by concept_id_2 limit %(limit)s) first"
)


class RelativeKind(Choice):
    """How a concept is related to another."""

    PARENTS = "parents"
    CHILDREN = "children"
    SIBLINGS = "siblings"  # the other children of its parents
    ANCESTORS = "ancestors"
    DESCENDANTS = "descendants"
    MAPS_TO = "maps_to"
    MAPPED_FROM = "mapped_from"
    RELATED = "related"  # by any relationship


_NAMES = {
    RelativeKind.MAPS_TO: "Maps to",
    RelativeKind.MAPPED_FROM: "Mapped from",
    RelativeKind.RELATED: None,
}


@dataclass(frozen=True, kw_only=True)
class Relative:
    """A concept, and how it is related to the one in question.

    Attributes:
        relationship: as in OMOP's RELATIONSHIP table, such as "Is a"; "ancestor" or "descendant" where
            concept_ancestor says so, "sibling" for another child of a parent.
        concept: one that is not loaded has the name "" and nothing else but its id.
        distance: levels of an ancestor or descendant, 1 for a parent or child; otherwise None.
    """

    relationship: str
    concept: Concept
    distance: int | None


class Link(NamedTuple):
    """A relative by its id."""

    relationship: str
    concept_id: int
    distance: int | None


class Page(NamedTuple):
    """Some of a concept's relatives, and how many there are in all."""

    links: list[Link]
    total: int


@dataclass(frozen=True)
class Relatives:
    """Reads the relatives of concepts from those of the vocabulary's tables that exist.

    Relationships that are no longer valid are left out. A page is in order of distance, relationship and
    concept id: by an index, so that of a list of 100,000 only the page is sorted and named.
    """

    connection: psycopg.Connection[Any]
    tables: VocabularyTables

    def page(self, concept_id: int, kind: RelativeKind, *, limit: int, offset: int = 0) -> Page:
        """A concept's relatives of a kind."""
        if kind in _NAMES:
            return self._read(self._related(_NAMES[kind]), concept_id, limit, offset, _NAMES[kind])
        if kind is RelativeKind.PARENTS:
            return self._one_level(concept_id, _UP, _ABOVE, limit, offset)
        if kind is RelativeKind.CHILDREN:
            return self._one_level(concept_id, _DOWN, _BELOW, limit, offset)
        if kind is RelativeKind.ANCESTORS:
            return self._all_levels(concept_id, _UP, _ABOVE, "ancestor", limit, offset)
        if kind is RelativeKind.DESCENDANTS:
            return self._all_levels(concept_id, _DOWN, _BELOW, "descendant", limit, offset)
        parents = self._step([concept_id], _UP, _ABOVE)
        siblings = set(self._step(parents, _DOWN, _BELOW)) - {concept_id}
        return _cut([Link("sibling", sibling, None) for sibling in sorted(siblings)], limit, offset)

    def counts_by_relationship(self, concept_id: int) -> dict[str, int]:
        """Relationship -> how many concepts it leads to, in alphabetical order."""
        links = self._related(None)
        if links is None:
            return {}
        return dict(self._rows(_COUNT_BY_NAME.format(links=links), {"concept_ids": [concept_id]}))

    def first_of_each(
        self, concept_ids: Sequence[int], relationships: Collection[str], *, limit: int
    ) -> list[Link]:
        """At most `limit` relatives of each of some concepts for each of some relationships."""
        table = self.tables.concept_relationship
        if table is None or not relationships:
            return []
        parameters = {
            "concept_ids": list(concept_ids),
            "relationships": sorted(relationships),
            "limit": limit,
        }
        rows = self._rows(_FIRST_OF_EACH.format(table=table), parameters)
        return sorted(Link(*row) for row in rows)

    def named(self, links: Iterable[Link]) -> dict[Link, Relative]:
        """Each link with its concept."""
        links = list(links)
        concepts = reader.concepts_by_id(self.connection, {link.concept_id for link in links})
        return {
            link: Relative(
                relationship=link.relationship,
                concept=concepts.get(link.concept_id, Concept(link.concept_id, "")),
                distance=link.distance,
            )
            for link in links
        }

    def _one_level(self, concept_id: int, name: str, levels: SQL, limit: int, offset: int) -> Page:
        """Parents or children: by relationship, or else those of the next level in concept_ancestor."""
        page = self._read(self._related(name), concept_id, limit, offset, name)
        if page.total:
            return Page([link._replace(distance=1) for link in page.links], page.total)
        return self._read(self._next_level(levels), concept_id, limit, offset)

    def _all_levels(
        self, concept_id: int, name: str, levels: SQL, relationship: str, limit: int, offset: int
    ) -> Page:
        """Ancestors or descendants: of concept_ancestor, or else by walking from parent to parent.

        concept_ancestor has standard concepts only, and a download or CDM may lack it.
        """
        page = self._read(self._levels(levels), concept_id, limit, offset)
        if page.total:
            return page
        distances: dict[int, int] = {}
        reached: Sequence[int] = [concept_id]
        for distance in range(1, _MAX_LEVELS + 1):
            found = self._concept_ids(self._related(name), reached, name) if reached else []
            reached = [other for other in found if other not in distances and other != concept_id]
            distances.update(dict.fromkeys(reached, distance))
        return _cut([Link(relationship, other, distances[other]) for other in distances], limit, offset)

    def _step(self, concept_ids: Sequence[int], name: str, levels: SQL) -> list[int]:
        """The parents or children of some concepts."""
        return self._concept_ids(self._related(name), concept_ids, name) or self._concept_ids(
            self._next_level(levels), concept_ids
        )

    def _related(self, name: str | None) -> Composed | None:
        table = self.tables.concept_relationship
        template = _RELATED if name is None else _RELATED_BY
        return None if table is None else template.format(table=table)

    def _levels(self, levels: SQL) -> Composed | None:
        table = self.tables.concept_ancestor
        return None if table is None else levels.format(table=table)

    def _next_level(self, levels: SQL) -> Composed | None:
        links = self._levels(levels)
        return None if links is None else links + _ONE_LEVEL

    def _read(
        self, links: Composed | None, concept_id: int, limit: int, offset: int, name: str | None = None
    ) -> Page:
        if links is None:
            return Page([], 0)
        parameters = {"concept_ids": [concept_id], "relationship": name, "limit": limit, "offset": offset}
        page = [Link(*row) for row in self._rows(_PAGE.format(links=links), parameters)]
        is_whole = len(page) < limit and (page or not offset)
        count = offset + len(page) if is_whole else self._count(links, parameters)
        return Page(page, count)

    def _count(self, links: Composed, parameters: dict[str, Any]) -> int:
        return int(fetch_value(self.connection, _COUNT.format(links=links), parameters))

    def _concept_ids(
        self, links: Composed | None, concept_ids: Sequence[int], name: str | None = None
    ) -> list[int]:
        if links is None or not concept_ids:
            return []
        parameters = {"concept_ids": list(concept_ids), "relationship": name}
        return [concept_id for (concept_id,) in self._rows(_CONCEPT_IDS.format(links=links), parameters)]

    def _rows(self, query: Composed, parameters: dict[str, Any]) -> list[Any]:
        return self.connection.cursor(row_factory=tuple_row).execute(query, parameters).fetchall()


def _cut(links: list[Link], limit: int, offset: int) -> Page:
    return Page(links[offset : offset + limit], len(links))
