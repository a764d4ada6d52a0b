"""Vocabulary list: the vocabularies, domains and classes of a release, with their concepts and versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row, tuple_row
from psycopg.sql import SQL, Identifier, Literal

from omop_emb.database.fetch import fetch_value
from omop_emb.sql import read
from omop_emb.vocabulary import reader
from omop_emb.vocabulary.reader import VocabularyTables


@dataclass(frozen=True, kw_only=True)
class ListedVocabulary:
    """A vocabulary that a release names, whether or not any concept of it is loaded.

    Attributes:
        name: what it is called, such as "Logical Observation Identifiers Names and Codes (LOINC)".
        version: its own version as OMOP writes it; None where the release does not say.
        concept_id: the concept that stands for it; None where the release does not say.
    """

    vocabulary_id: str
    name: str | None = None
    version: str | None = None
    concept_id: int | None = None


def listed_vocabularies(
    connection: psycopg.Connection[Any], tables: VocabularyTables
) -> Mapping[str, ListedVocabulary]:
    """Vocabulary id -> vocabulary, by id."""
    if tables.vocabulary is None:
        ids = reader.existing_values(connection, "vocabulary")
        return {vocabulary_id: ListedVocabulary(vocabulary_id=vocabulary_id) for vocabulary_id in ids}
    query = SQL(read("terminology_vocabularies")).format(vocabulary=tables.vocabulary)
    cursor = connection.cursor(row_factory=class_row(ListedVocabulary))
    return {row.vocabulary_id: row for row in cursor.execute(query)}


def values_with_concepts(
    connection: psycopg.Connection[Any], tables: VocabularyTables, kind: str
) -> list[str]:
    """The domains or vocabularies that have concepts; of a CDM, all that it names."""
    if tables.release_id is None:
        return reader.existing_values(connection, kind)
    rows = connection.cursor(row_factory=tuple_row).execute(
        "select value from omop_emb.vocabulary_value "
        "where release_id = %s and kind = %s and concept_count > 0 order by value",
        (tables.release_id, kind),
    )
    return [value for (value,) in rows]


def concept_id_of(
    connection: psycopg.Connection[Any], table: Identifier | None, kind: str, value: str
) -> int | None:
    """The concept that stands for a domain or concept class; kind: "domain" or "concept_class"."""
    if table is None:
        return None
    query = SQL("select (to_jsonb(t) ->> {concept})::bigint from {table} t where {column} = {value}").format(
        concept=Literal(f"{kind}_concept_id"),
        table=table,
        column=Identifier(f"{kind}_id"),
        value=Literal(value),
    )
    found = fetch_value(connection, query)
    return None if found is None else int(found)
