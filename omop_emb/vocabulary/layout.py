"""Vocabulary layout: the tables of an OMOP vocabulary, their columns and keys."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.sql import SQL, Composed, Identifier


@dataclass(frozen=True)
class TableLayout:
    """A vocabulary table."""

    name: str  # as in the OMOP CDM, in lower case; Athena's file has the same name
    definition: str  # the columns with their types, in the CDM's order
    key: tuple[str, ...]  # the columns that are unique together; () where rows may repeat
    optional: frozenset[str] = frozenset()  # columns that a file or a CDM may lack

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.split()[0] for column in self.definition.split(", "))

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that a file or a CDM must have."""
        return tuple(column for column in self.columns if column not in self.optional)

    def create(self, table: Identifier) -> Composed:
        """The statement that creates the table, without its key."""
        return SQL("create table {} ({})").format(table, SQL(self.definition))


# In loading order: concept first, which matters most and fails soonest.
LAYOUTS = (
    TableLayout(
        "concept",
        "concept_id integer not null, concept_name text, domain_id text, vocabulary_id text, "
        "concept_class_id text, standard_concept text, concept_code text, valid_start_date date, "
        "valid_end_date date, invalid_reason text",
        key=("concept_id",),
        optional=frozenset({"valid_start_date", "valid_end_date"}),
    ),
    TableLayout(
        "concept_synonym",
        "concept_id integer not null, concept_synonym_name text, language_concept_id integer",
        key=(),
    ),
    TableLayout(
        "concept_relationship",
        "concept_id_1 integer not null, concept_id_2 integer not null, relationship_id text not null, "
        "valid_start_date date, valid_end_date date, invalid_reason text",
        key=("concept_id_1", "relationship_id", "concept_id_2"),
        optional=frozenset({"valid_start_date", "valid_end_date"}),
    ),
    TableLayout(
        "concept_ancestor",
        "ancestor_concept_id integer not null, descendant_concept_id integer not null, "
        "min_levels_of_separation integer, max_levels_of_separation integer",
        key=("descendant_concept_id", "ancestor_concept_id"),
    ),
    TableLayout(
        "vocabulary",
        "vocabulary_id text not null, vocabulary_name text, vocabulary_reference text, "
        "vocabulary_version text, vocabulary_concept_id integer",
        key=("vocabulary_id",),
        optional=frozenset({"vocabulary_name", "vocabulary_reference", "vocabulary_concept_id"}),
    ),
    TableLayout(
        "domain",
        "domain_id text not null, domain_name text, domain_concept_id integer",
        key=("domain_id",),
        optional=frozenset({"domain_name", "domain_concept_id"}),
    ),
    TableLayout(
        "concept_class",
        "concept_class_id text not null, concept_class_name text, concept_class_concept_id integer",
        key=("concept_class_id",),
        optional=frozenset({"concept_class_name", "concept_class_concept_id"}),
    ),
    TableLayout(
        "relationship",
        "relationship_id text not null, relationship_name text, is_hierarchical text, "
        "defines_ancestry text, reverse_relationship_id text, relationship_concept_id integer",
        key=("relationship_id",),
        optional=frozenset({"relationship_name", "relationship_concept_id"}),
    ),
)


def release_tables(release_id: int) -> dict[str, Identifier]:
    """Table name -> its table in a release."""
    return {layout.name: Identifier("omop_emb", f"{layout.name}_{release_id}") for layout in LAYOUTS}
