"""Concept sets: which concepts belong to a set, said by criteria, and the SQL that finds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import class_row
from psycopg.sql import SQL, Composable, Composed, Placeholder

from omop_emb.database.fetch import fetch_value
from omop_emb.records import Concept
from omop_emb.vocabulary.reader import VocabularyTables

CONCEPT_IDS = "concept ids"
"""The coding of a set whose codes are OMOP's concept ids; any other coding is a vocabulary's id."""
NON_STANDARD = "NS"
"""What stands for "not standard" beside "S" and "C", which OMOP writes as an empty value."""

_TRUE, _FALSE = SQL("true"), SQL("false")


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """Values that a field of a concept must have, or must not have.

    field: domain_id, vocabulary_id, concept_class_id, standard_concept, invalid_reason, concept_id,
    concept_code; "ancestor" for descendants of a concept, "ancestor or self" for these and itself.
    """

    field: str
    values: tuple[str | int, ...]
    negated: bool = False


@dataclass(frozen=True, kw_only=True)
class SetPart:
    """Concepts for which all criteria hold and which are in all of some other sets.

    coding: CONCEPT_IDS or a vocabulary id, which says what the codes are; None takes those of the other sets.
    """

    coding: str | None = CONCEPT_IDS
    criteria: tuple[Criterion, ...] = ()
    within: tuple[ConceptSet, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ConceptSet:
    """The concepts of any part of `include` that are in no part of `exclude`."""

    include: tuple[SetPart, ...]
    exclude: tuple[SetPart, ...] = ()

    @property
    def codings(self) -> tuple[str, ...]:
        """The codings of the set's codes, in the order of its parts."""
        found: dict[str, None] = {}
        for part in self.include:
            if part.coding is not None:
                found[part.coding] = None
            elif part.within:
                found.update(dict.fromkeys(part.within[0].codings))
        return tuple(found)


class CodedConcept(NamedTuple):
    """A concept as a member of a set: by which coding it is one."""

    coding: str
    concept: Concept


class ConceptPage(NamedTuple):
    """Some members of a set, and how many it has."""

    members: list[CodedConcept]
    total: int


@dataclass
class _Query:
    """The parameters of a statement that is put together from parts."""

    tables: VocabularyTables
    parameters: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any) -> Placeholder:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return Placeholder(name)

    def of_set(self, concepts: ConceptSet, coding: str) -> Composed:
        """Whether a concept c is in a set by a coding."""
        included = _joined(" or ", [self._part(part, coding) for part in concepts.include], _FALSE)
        excluded = _joined(" or ", [self._part(part, coding) for part in concepts.exclude], _FALSE)
        return SQL("({} and not {})").format(included, excluded)

    def _part(self, part: SetPart, coding: str) -> Composable:
        if part.coding not in (None, coding):
            return _FALSE
        conditions: list[Composable] = [self._criterion(criterion) for criterion in part.criteria]
        conditions += [self.of_set(other, coding) for other in part.within]
        return _joined(" and ", conditions, _TRUE)

    def _criterion(self, criterion: Criterion) -> Composable:
        condition = self._condition(criterion)
        return SQL("not {}").format(condition) if criterion.negated else condition

    def _condition(self, criterion: Criterion) -> Composed:
        values = self.bind(list(criterion.values))
        if criterion.field in ("ancestor", "ancestor or self"):
            return self._descendants(values, is_self=criterion.field == "ancestor or self")
        column = _COLUMNS[criterion.field]
        kind = SQL("bigint[]") if criterion.field == "concept_id" else SQL("text[]")
        return SQL("({} = any({}::{}))").format(column, values, kind)

    def _descendants(self, ancestors: Placeholder, *, is_self: bool) -> Composed:
        own = SQL("c.concept_id = any({}::bigint[])").format(ancestors) if is_self else _FALSE
        if self.tables.concept_ancestor is None:
            return SQL("({})").format(own)
        other = SQL("c.concept_id <> any({}::bigint[])").format(ancestors)
        return SQL(
            "({own} or ({other} and c.concept_id in (select a.descendant_concept_id from {table} a "
            "where a.ancestor_concept_id = any({ancestors}::bigint[]) "
            "and a.descendant_concept_id <> a.ancestor_concept_id)))"
        ).format(own=own, other=other, table=self.tables.concept_ancestor, ancestors=ancestors)

    def of_words(self, words: Iterable[str]) -> Composable:
        """Whether the name or a synonym of a concept c has all of some words, whatever their case."""
        patterns = [f"%{_escaped(word)}%" for word in words]
        if not patterns:
            return _TRUE
        bound = self.bind(patterns)
        by_name = SQL("coalesce(c.concept_name, '') ilike all({}::text[])").format(bound)
        if self.tables.concept_synonym is None:
            return by_name
        return SQL(
            "({} or c.concept_id in (select s.concept_id from {} s "
            "where s.concept_synonym_name ilike all({}::text[])))"
        ).format(by_name, self.tables.concept_synonym, bound)


_COLUMNS = {
    "concept_id": SQL("c.concept_id"),
    "concept_code": SQL("c.concept_code"),
    "domain_id": SQL("c.domain_id"),
    "vocabulary_id": SQL("c.vocabulary_id"),
    "concept_class_id": SQL("c.concept_class_id"),
    "standard_concept": SQL("coalesce(nullif(c.standard_concept, ''), 'NS')"),
    "invalid_reason": SQL("coalesce(c.invalid_reason, '')"),
}
_FIELDS = SQL(
    "c.concept_id, coalesce(c.concept_name, '') as concept_name, c.domain_id, c.vocabulary_id, "
    "c.concept_class_id, nullif(c.standard_concept, '') as standard_concept, c.concept_code, "
    "nullif(c.invalid_reason, '') as invalid_reason"
)


@dataclass(frozen=True)
class ConceptSets:
    """Reads concept sets from a vocabulary's tables."""

    connection: psycopg.Connection[Any]
    tables: VocabularyTables

    def page(
        self,
        concepts: ConceptSet,
        *,
        words: Iterable[str] = (),
        valid_only: bool = False,
        limit: int,
        offset: int = 0,
    ) -> ConceptPage:
        """Members by coding and concept id, and how many there are; all words are in a name or synonym."""
        words = list(words)
        members: list[CodedConcept] = []
        total = 0
        for coding in concepts.codings:
            query = _Query(self.tables)
            condition = SQL("{} and {} and {}").format(
                query.of_set(concepts, coding), query.of_words(words), _valid(valid_only)
            )
            matching = SQL("from {} c where {}").format(
                self.tables.concept, _of_coding(query, coding, condition)
            )
            count = int(
                fetch_value(self.connection, SQL("select count(*) {}").format(matching), query.parameters)
            )
            first = max(offset - total, 0)
            total += count
            if first < count and len(members) < limit:
                found = self._concepts(query, matching, limit=limit - len(members), offset=first)
                members += (CodedConcept(coding, concept) for concept in found)
        return ConceptPage(members, total)

    def has(self, concepts: ConceptSet, coding: str, concept_id: int, *, valid_only: bool = False) -> bool:
        """Whether a concept is in a set by a coding."""
        query = _Query(self.tables)
        condition = SQL("{} and {} and c.concept_id = {}").format(
            query.of_set(concepts, coding), _valid(valid_only), query.bind(concept_id)
        )
        statement = SQL("select exists (select from {} c where {})").format(
            self.tables.concept, _of_coding(query, coding, condition)
        )
        return bool(fetch_value(self.connection, statement, query.parameters))

    def _concepts(self, query: _Query, matching: Composed, *, limit: int, offset: int) -> list[Concept]:
        statement = SQL("select {} {} order by c.concept_id limit {} offset {}").format(
            _FIELDS, matching, query.bind(limit), query.bind(offset)
        )
        cursor = self.connection.cursor(row_factory=class_row(Concept))
        return cursor.execute(statement, query.parameters).fetchall()


def _of_coding(query: _Query, coding: str, condition: Composable) -> Composable:
    """A condition that holds for the concepts which a coding has codes for."""
    if coding == CONCEPT_IDS:
        return condition
    return SQL("{} and c.vocabulary_id = {}").format(condition, query.bind(coding))


def _valid(valid_only: bool) -> Composable:
    return SQL("coalesce(c.invalid_reason, '') = ''") if valid_only else _TRUE


def _joined(word: str, conditions: list[Composable], empty: Composable) -> Composable:
    return SQL("({})").format(SQL(word).join(conditions)) if conditions else empty


def _escaped(word: str) -> str:
    """A word as a pattern of LIKE that matches it alone."""
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
