"""Terminology: what a terminology server asks of a vocabulary, read in one transaction."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import class_row
from psycopg.sql import SQL

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.database.fetch import fetch_value
from omop_emb.errors import ExpensiveQueryError
from omop_emb.mapping.approvals.replacements import target_statuses
from omop_emb.mapping.records import MappedValue
from omop_emb.records import Concept
from omop_emb.sql import read
from omop_emb.vocabulary import details, reader, vocabulary_list
from omop_emb.vocabulary.concept_set import (
    CONCEPT_IDS as CONCEPT_IDS,
    NON_STANDARD as NON_STANDARD,
    CodedConcept as CodedConcept,
    ConceptPage as ConceptPage,
    ConceptSet as ConceptSet,
    ConceptSets,
    Criterion as Criterion,
    SetPart as SetPart,
)
from omop_emb.vocabulary.details import Synonym as Synonym
from omop_emb.vocabulary.reader import VocabularyTables
from omop_emb.vocabulary.relatives import Relatives
from omop_emb.vocabulary.spelling import closest_values
from omop_emb.vocabulary.vocabulary_list import ListedVocabulary

if TYPE_CHECKING:
    import sqlalchemy

_CONCEPT_ID = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
_VERSIONED = "OMOP Extension"  # its version ends with the date that names a release of OMOP's own concepts
_RELEASE_DATE = re.compile(r"(\d{1,2})-([A-Z]{3})-(\d{2}|\d{4})\b")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
# Old definitions of cohorts: they say what to look for in data and code nothing in it. HL7's tests expect a
# terminology server not to know them.
_COHORTS = "Cohort"
_MOST_RELATED = 1_000  # concepts by one relationship: a dose form has 100,000


@dataclass(frozen=True, kw_only=True)
class ConceptProperties:
    """What a terminology server says of a concept beside its name.

    Attributes:
        valid_start, valid_end: its first and last day; None where the vocabulary does not say.
        domain_concept_id, vocabulary_concept_id, concept_class_concept_id: the concepts that stand for its
            domain, vocabulary and class; None where the vocabulary does not say.
    """

    valid_start: date | None
    valid_end: date | None
    domain_concept_id: int | None
    vocabulary_concept_id: int | None
    concept_class_concept_id: int | None


@dataclass(frozen=True, kw_only=True)
class RelatedConcepts:
    """The concepts that a relationship leads to; `total` counts those that are left out, too."""

    relationship: str
    concepts: tuple[Concept, ...]
    total: int


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A concept that another is coded as.

    Attributes:
        is_same: whether it is the concept itself.
        is_reversed: whether it is a source that is mapped to the concept, not a target of it.
        mapped_values: what belongs beside it: values, units, operators.
    """

    concept: Concept
    is_same: bool = False
    is_reversed: bool = False
    mapped_values: tuple[MappedValue, ...] = ()


@contextmanager
def open_terminology(engine: sqlalchemy.Engine, *, timeout_seconds: float = 20) -> Iterator[Terminology]:
    """The vocabulary of a database, unchanged until the end of the block.

    Raises:
        VocabularyError: no vocabulary is loaded.
        ExpensiveQueryError: a query took longer than the limit.
    """
    with session_scope(engine, statement_seconds=timeout_seconds) as session:
        connection = driver_connection(session)
        tables = reader.require_vocabulary(connection)
        try:
            yield Terminology(connection, tables)
        except psycopg.errors.QueryCanceled as error:
            raise ExpensiveQueryError(
                f"this takes longer than {timeout_seconds:g} seconds: request less, such as one domain"
            ) from error


@dataclass(frozen=True, eq=False)
class Terminology:
    """A vocabulary as a terminology server needs it; see open_terminology()."""

    connection: psycopg.Connection[Any]
    tables: VocabularyTables

    @cached_property
    def version(self) -> str | None:
        """The version of OMOP's concepts, such as "20240716"; None where the vocabulary does not say.

        It is the date in the version of OMOP Extension, as HL7's tests expect; without one, the release's.
        """
        extension = self.vocabularies.get(_VERSIONED)
        if extension is not None and extension.version:
            return extension.version.split()[-1]
        match = _RELEASE_DATE.search((self.tables.version or "").upper())
        if match is not None and match[2] in _MONTHS:
            year = int(match[3]) + (2000 if len(match[3]) == 2 else 0)
            return f"{year:04}{_MONTHS.index(match[2]) + 1:02}{int(match[1]):02}"
        return "-".join((self.tables.version or "").split()) or None

    @cached_property
    def vocabularies(self) -> Mapping[str, ListedVocabulary]:
        """Vocabulary id -> vocabulary, of all that the release names."""
        return vocabulary_list.listed_vocabularies(self.connection, self.tables)

    @cached_property
    def loaded_vocabularies(self) -> Sequence[str]:
        """The vocabularies that have concepts."""
        loaded = vocabulary_list.values_with_concepts(self.connection, self.tables, "vocabulary")
        return [vocabulary for vocabulary in loaded if vocabulary != _COHORTS]

    @cached_property
    def domains(self) -> Sequence[str]:
        """The domains of the release."""
        return reader.existing_values(self.connection, "domain")

    @cached_property
    def concept_classes(self) -> Sequence[str]:
        """The concept classes of the release."""
        return reader.existing_values(self.connection, "concept class")

    def count_concepts(self) -> int:
        """How many concepts there are, by the planner's estimate for a CDM."""
        query = (
            "select row_count from omop_emb.vocabulary_file where release_id = %s and table_name = 'concept'"
        )
        if self.tables.release_id is not None:
            return int(fetch_value(self.connection, query, (self.tables.release_id,)) or 0)
        name = self.tables.concept.as_string(self.connection)
        query = "select greatest(reltuples, 0)::bigint from pg_class where oid = to_regclass(%s)"
        return int(fetch_value(self.connection, query, (name,)) or 0)

    def find(self, coding: str, code: str) -> Concept | None:
        """The concept with a code, None if there is none: of a vocabulary, or a concept id (CONCEPT_IDS)."""
        return self.find_all(coding, [code]).get(code)

    def find_all(self, coding: str, codes: Collection[str]) -> dict[str, Concept]:
        """Code -> concept, for the codes that exist."""
        if coding == CONCEPT_IDS:
            numbers = {code: int(code) for code in codes if _CONCEPT_ID.fullmatch(code)}
            concepts = reader.concepts_by_id(self.connection, numbers.values()) if numbers else {}
            return {
                code: concept
                for code, number in numbers.items()
                if (concept := concepts.get(number)) is not None and concept.vocabulary_id != _COHORTS
            }
        # PostgreSQL's texts hold no null character.
        storable = [code for code in codes if code and "\0" not in code]
        found: dict[str, Concept] = {}
        for concept in reader.concepts_by_code(self.connection, storable, vocabularies=[coding]):
            found.setdefault(concept.concept_code or "", concept)
        return found

    def properties(self, concept: Concept) -> ConceptProperties:
        """A concept's dates and the concepts of its domain, vocabulary and class."""
        start, end = details.validity(self.connection, self.tables, concept.concept_id)
        vocabulary = self.vocabularies.get(concept.vocabulary_id or "")
        return ConceptProperties(
            valid_start=start,
            valid_end=end,
            domain_concept_id=self._concept_id("domain", concept.domain_id),
            vocabulary_concept_id=vocabulary.concept_id if vocabulary else None,
            concept_class_concept_id=self._concept_id("concept_class", concept.concept_class_id),
        )

    def synonyms(self, concept: Concept) -> list[Synonym]:
        """A concept's synonyms with their languages, English ones first."""
        return details.synonyms(self.connection, self.tables, concept.concept_id)

    def related(self, concept: Concept, names: Collection[str] | None = None) -> list[RelatedConcepts]:
        """The concepts that valid relationships lead to, by relationship; names: None for all."""
        relatives = Relatives(self.connection, self.tables)
        counts = relatives.counts_by_relationship(concept.concept_id)
        wanted = [name for name in counts if names is None or name in names]
        links = relatives.first_of_each([concept.concept_id], wanted, limit=_MOST_RELATED)
        concepts: dict[str, list[Concept]] = {name: [] for name in wanted}
        for link, relative in relatives.named(links).items():
            if relative.concept.concept_name or relative.concept.vocabulary_id:
                concepts[link.relationship].append(relative.concept)
        return [
            RelatedConcepts(relationship=name, concepts=tuple(concepts[name]), total=counts[name])
            for name in sorted(wanted, key=lambda name: (name.lower(), name))
        ]

    def page(
        self, concepts: ConceptSet, *, text: str = "", valid_only: bool, limit: int, offset: int = 0
    ) -> ConceptPage:
        """Members of a set whose name or a synonym has all words of a text, and how many there are."""
        sets = ConceptSets(self.connection, self.tables)
        words = text.replace("\0", "").split()
        return sets.page(
            _with_codes(concepts), words=words, valid_only=valid_only, limit=limit, offset=offset
        )

    def has(self, concepts: ConceptSet, coding: str, concept: Concept, *, valid_only: bool = False) -> bool:
        """Whether a concept is in a set by a coding."""
        sets = ConceptSets(self.connection, self.tables)
        return sets.has(_with_codes(concepts), coding, concept.concept_id, valid_only=valid_only)

    def standard_targets(self, concept: Concept) -> list[Translation]:
        """The valid standard concepts that a concept is coded as: itself, or where Maps to leads."""
        status = target_statuses(self.connection, [concept.concept_id])[concept.concept_id]
        if status.is_valid and concept.concept_id:
            return [Translation(concept=concept, is_same=True)]
        return [
            Translation(concept=replacement.concept, mapped_values=replacement.mapped_values)
            for replacement in status.replacements
        ]

    def codes_in(self, concept: Concept, vocabulary_id: str) -> list[Translation]:
        """What a concept is in a vocabulary: itself, else its targets, else what is mapped to it."""
        if concept.vocabulary_id == vocabulary_id:
            return [Translation(concept=concept, is_same=True)]
        targets = [
            one for one in self.standard_targets(concept) if one.concept.vocabulary_id == vocabulary_id
        ]
        return targets or self._sources(concept, vocabulary_id)

    def _sources(self, concept: Concept, vocabulary_id: str) -> list[Translation]:
        """The concepts of a vocabulary that are mapped to a concept."""
        if self.tables.concept_relationship is None:
            return []
        query = SQL(read("terminology_sources")).format(
            concept_relationship=self.tables.concept_relationship, concept=self.tables.concept
        )
        cursor = self.connection.cursor(row_factory=class_row(Concept))
        parameters = {
            "concept_id": concept.concept_id,
            "vocabulary_id": vocabulary_id,
            "limit": _MOST_RELATED,
        }
        return [Translation(concept=source, is_reversed=True) for source in cursor.execute(query, parameters)]

    def closest(self, value: str, existing: Sequence[str]) -> list[str]:
        """The existing values that a misspelt one may mean."""
        return list(closest_values(value, existing))

    def _concept_id(self, kind: str, value: str | None) -> int | None:
        table = self.tables.domain if kind == "domain" else self.tables.concept_class
        return None if value is None else vocabulary_list.concept_id_of(self.connection, table, kind, value)


def _with_codes(concepts: ConceptSet) -> ConceptSet:
    """The concepts of a set that are codes."""
    no_cohort = Criterion(field="vocabulary_id", values=(_COHORTS,), negated=True)
    return ConceptSet(include=(SetPart(coding=None, criteria=(no_cohort,), within=(concepts,)),))
