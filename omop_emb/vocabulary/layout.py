"""The tables of an OMOP vocabulary, their columns, and which of these a reader cannot do without."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.sql import Identifier


@dataclass(frozen=True)
class TableLayout:
    """A vocabulary table.

    Attributes:
        name: as in the OMOP CDM, in lower case; Athena's file has the same name.
        columns: all columns, in the CDM's order.
        key: the columns that no two rows may share; () where rows may repeat.
        optional: columns that may be absent.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    optional: frozenset[str] = frozenset()

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that must be there."""
        return tuple(column for column in self.columns if column not in self.optional)


CONCEPT = TableLayout(
    "concept",
    (
        "concept_id",
        "concept_name",
        "domain_id",
        "vocabulary_id",
        "concept_class_id",
        "standard_concept",
        "concept_code",
        "valid_start_date",
        "valid_end_date",
        "invalid_reason",
    ),
    key=("concept_id",),
    optional=frozenset({"valid_start_date", "valid_end_date"}),
)

# In the order in which they are loaded: the one that matters most, and fails soonest, first.
LAYOUTS = (
    CONCEPT,
    TableLayout(
        "concept_synonym",
        ("concept_id", "concept_synonym_name", "language_concept_id"),
        key=(),
    ),
    TableLayout(
        "concept_relationship",
        (
            "concept_id_1",
            "concept_id_2",
            "relationship_id",
            "valid_start_date",
            "valid_end_date",
            "invalid_reason",
        ),
        key=("concept_id_1", "relationship_id", "concept_id_2"),
        optional=frozenset({"valid_start_date", "valid_end_date"}),
    ),
    TableLayout(
        "concept_ancestor",
        (
            "ancestor_concept_id",
            "descendant_concept_id",
            "min_levels_of_separation",
            "max_levels_of_separation",
        ),
        key=("descendant_concept_id", "ancestor_concept_id"),
    ),
    TableLayout(
        "vocabulary",
        (
            "vocabulary_id",
            "vocabulary_name",
            "vocabulary_reference",
            "vocabulary_version",
            "vocabulary_concept_id",
        ),
        key=("vocabulary_id",),
        optional=frozenset({"vocabulary_name", "vocabulary_reference", "vocabulary_concept_id"}),
    ),
    TableLayout(
        "domain",
        ("domain_id", "domain_name", "domain_concept_id"),
        key=("domain_id",),
        optional=frozenset({"domain_name", "domain_concept_id"}),
    ),
    TableLayout(
        "concept_class",
        ("concept_class_id", "concept_class_name", "concept_class_concept_id"),
        key=("concept_class_id",),
        optional=frozenset({"concept_class_name", "concept_class_concept_id"}),
    ),
    TableLayout(
        "relationship",
        (
            "relationship_id",
            "relationship_name",
            "is_hierarchical",
            "defines_ancestry",
            "reverse_relationship_id",
            "relationship_concept_id",
        ),
        key=("relationship_id",),
        optional=frozenset({"relationship_name", "relationship_concept_id"}),
    ),
)


def release_tables(release_id: int) -> dict[str, Identifier]:
    """Table name to the table that holds it in a release."""
    return {layout.name: Identifier("omop_emb", f"{layout.name}_{release_id}") for layout in LAYOUTS}
