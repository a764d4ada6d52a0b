"""Details of a concept that searches do not need: its validity, and its synonyms with their languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
from psycopg.rows import class_row, tuple_row
from psycopg.sql import SQL

from omop_emb.sql import read
from omop_emb.vocabulary.reader import VocabularyTables


@dataclass(frozen=True, kw_only=True)
class Synonym:
    """Another name of a concept.

    Attributes:
        text: the name.
        language_concept_id: OMOP's concept of its language, 4180186 for English; None if it is not said.
        language: the name of its language, such as "German language"; None for English or if it is not said.
    """

    text: str
    language_concept_id: int | None
    language: str | None


def validities(
    connection: psycopg.Connection[Any], tables: VocabularyTables, concept_ids: Sequence[int]
) -> dict[int, tuple[date | None, date | None]]:
    """Concept id -> the first and the last day on which it is valid; None where the table does not say."""
    cursor = connection.cursor(row_factory=tuple_row)
    query = SQL(read("vocabulary_validity")).format(concept=tables.concept)
    return {row[0]: row[1:] for row in cursor.execute(query, {"concept_ids": list(concept_ids)})}


def validity(
    connection: psycopg.Connection[Any], tables: VocabularyTables, concept_id: int
) -> tuple[date | None, date | None]:
    """validities() of one concept."""
    return validities(connection, tables, [concept_id]).get(concept_id, (None, None))


def synonyms(connection: psycopg.Connection[Any], tables: VocabularyTables, concept_id: int) -> list[Synonym]:
    """A concept's synonyms, English ones first, then by language and text."""
    if tables.concept_synonym is None:
        return []
    cursor = connection.cursor(row_factory=class_row(Synonym))
    query = SQL(read("vocabulary_synonyms")).format(
        concept=tables.concept, concept_synonym=tables.concept_synonym
    )
    return cursor.execute(query, {"concept_id": concept_id}).fetchall()
