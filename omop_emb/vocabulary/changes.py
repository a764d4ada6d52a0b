"""Vocabulary changes: what is new, renamed, withdrawn or mapped elsewhere from one release to the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.sql import SQL

from omop_emb.errors import VocabularyError
from omop_emb.sql import read
from omop_emb.vocabulary.layout import release_tables
from omop_emb.vocabulary.releases import check_own_schema, vocabulary_releases

_FETCHED_ROWS = 5_000
# In place of the whole tables, to compare one concept.
_ROWS_OF_CONCEPT = SQL("(select * from {} where concept_id = %(concept_id)s)")
_LINKS_OF_CONCEPT = SQL("(select * from {} where concept_id_1 = %(concept_id)s) as links_of_concept")


@dataclass(frozen=True, slots=True)
class ConceptChange:
    """A change of a concept; one that changed in several ways has several.

    Attributes:
        change: "new", "withdrawn" (removed, or no longer valid), "valid again", "no longer standard",
            "became standard", "renamed", "domain changed" or "remapped" (Maps to leads elsewhere).
        old_name, old_domain_id: in the release before; None if the concept is new.
        new_name, new_domain_id: in the release after; None if it was removed.
        old_replacement_ids: where Maps to led before, ids separated by "; "; None for nowhere.
        replacement_ids: where it leads now, or what replaced the concept.
        replacement_names: their names in the release after.
    """

    concept_id: int
    change: str
    vocabulary_id: str | None
    concept_code: str | None
    old_name: str | None
    new_name: str | None
    old_domain_id: str | None
    new_domain_id: str | None
    old_replacement_ids: str | None
    replacement_ids: str | None
    replacement_names: str | None


def vocabulary_changes(
    connection: psycopg.Connection[Any], *, before: int | None = None, after: int | None = None
) -> Iterator[ConceptChange]:
    """The changes from one release to another, by concept id; a few thousand at a time are in memory.

    Args:
        connection: in whose transaction the releases are compared, inside the database.
        before: number of a release; by default the kept one.
        after: number of a release; by default the active one.

    Raises:
        VocabularyError: no earlier release is kept, or the vocabulary is a CDM's.
    """
    check_own_schema()
    if before is None or after is None:
        releases = vocabulary_releases(connection)
        if len(releases) < 2:
            raise VocabularyError(
                "there is nothing to compare with, because no earlier release is kept: "
                "omop-emb vocabulary load PATH loads one, and keeps the one before it"
            )
        after, before = (release.release_id for release in releases)
    old, new = release_tables(before), release_tables(after)
    query = SQL(read("vocabulary_changes")).format(
        old_concept=old["concept"],
        new_concept=new["concept"],
        old_relationship=old["concept_relationship"],
        new_relationship=new["concept_relationship"],
    )
    return _rows(connection, query)


def concept_changes(
    connection: psycopg.Connection[Any], concept_id: int, *, before: int, after: int
) -> list[ConceptChange]:
    """What changed of one concept from a release to another; old and new replacements by their ids only."""
    old, new = release_tables(before), release_tables(after)
    query = SQL(read("vocabulary_changes")).format(
        old_concept=_ROWS_OF_CONCEPT.format(old["concept"]),
        new_concept=_ROWS_OF_CONCEPT.format(new["concept"]),
        old_relationship=_LINKS_OF_CONCEPT.format(old["concept_relationship"]),
        new_relationship=_LINKS_OF_CONCEPT.format(new["concept_relationship"]),
    )
    cursor = connection.cursor(row_factory=class_row(ConceptChange))
    return cursor.execute(query, {"concept_id": concept_id}).fetchall()


def _rows(connection: psycopg.Connection[Any], query: Any) -> Iterator[ConceptChange]:
    with connection.cursor("omop_emb_changes", row_factory=class_row(ConceptChange)) as cursor:
        cursor.itersize = _FETCHED_ROWS
        cursor.execute(query)
        yield from cursor
