"""Languages of synonyms: OMOP's concept of a language by name or ISO code, and the other way round."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.sql import SQL

from omop_emb.errors import InputError, UnknownValueError
from omop_emb.records import parse_concept_id
from omop_emb.sql import read
from omop_emb.vocabulary.reader import VocabularyTables

ENGLISH = 4180186
"""OMOP's concept id of the English language, which names are in."""
ALL_LANGUAGES = "all"
"""Stands for every language that the vocabulary has synonyms in."""


@dataclass(frozen=True)
class Language:
    """A language.

    Attributes:
        code: ISO 639-1, such as "fi".
        name: in English.
        concept_id: OMOP's concept of it; None where only a vocabulary can say.
    """

    code: str
    name: str
    concept_id: int | None


@cache
def known_languages() -> tuple[Language, ...]:
    """The languages that can be named by their code, by code."""
    text = (resources.files("omop_emb") / "data" / "languages.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader((line for line in text.splitlines() if not line.startswith("#")), delimiter="\t")
    return tuple(
        Language(row["code"], row["name"], int(row["concept_id"]) if row["concept_id"] else None)
        for row in rows
    )


def language_name(concept_name: str) -> str:
    """The name of a language in that of its concept: "Finnish" of "Finnish language"."""
    return concept_name.removesuffix(" language").strip()


def language_code(concept_id: int | None, concept_name: str | None) -> str | None:
    """The ISO code of a language's concept, by its id or its name; None if it is not known."""
    name = language_name((concept_name or "").lower())
    for language in known_languages():
        if (concept_id is not None and language.concept_id == concept_id) or language.name.lower() == name:
            return language.code
    return None


def synonym_languages(connection: psycopg.Connection[Any], tables: VocabularyTables) -> dict[int, int]:
    """Concept id of a language -> number of synonyms in it, the most first; 0: the language is not said."""
    if tables.concept_synonym is None:
        return {}
    query = SQL(read("vocabulary_synonym_languages")).format(concept_synonym=tables.concept_synonym)
    return dict(connection.cursor(row_factory=tuple_row).execute(query).fetchall())


def language_names(
    connection: psycopg.Connection[Any], tables: VocabularyTables | None, concept_ids: Iterable[int]
) -> list[str]:
    """The names of languages' concepts, in the same order: "Spanish", "language 123" if it is not known."""
    concept_ids = list(concept_ids)
    names = {known.concept_id: known.name for known in known_languages() if known.concept_id is not None}
    if unknown := [concept_id for concept_id in concept_ids if concept_id not in names]:
        found = _language_concepts(connection, tables, concept_ids=unknown)
        names |= {concept_id: language_name(name) for concept_id, name in reversed(found)}
    names.setdefault(0, "not said")
    return [names.get(concept_id) or f"language {concept_id}" for concept_id in concept_ids]


def resolve_languages(
    connection: psycopg.Connection[Any], tables: VocabularyTables, wanted: Sequence[int | str]
) -> tuple[int, ...]:
    """OMOP's concept ids of languages, each once, in the order given.

    Args:
        connection: of the vocabulary.
        tables: the vocabulary's.
        wanted: names ("Finnish"), ISO 639-1 codes ("fi") or concept ids, which are taken as they are;
            "all" is every language that the vocabulary has synonyms in.

    Raises:
        UnknownValueError: there is no such language; the error names what is like it.
        InputError: the vocabulary has no synonyms in a language that is named, and it is not English.
    """
    existing = synonym_languages(connection, tables)
    result: dict[int, None] = {}
    for value in wanted:
        if isinstance(value, str) and value.strip().lower() == ALL_LANGUAGES:
            result |= dict.fromkeys((ENGLISH, *existing))
            continue
        concept_id = value if isinstance(value, int) else parse_concept_id(value)
        if concept_id is None:
            concept_id = _named_language(connection, tables, str(value), existing)
        result[concept_id] = None
    return tuple(result)


def _named_language(
    connection: psycopg.Connection[Any], tables: VocabularyTables, value: str, existing: Mapping[int, int]
) -> int:
    """The concept of a language by its name or code, which is English or has synonyms."""
    concept_id = _language_concept(connection, tables, value, existing)
    if concept_id == ENGLISH or concept_id in existing:
        return concept_id
    held = ", ".join(language_names(connection, tables, existing)) or "none"
    raise InputError(
        f"the vocabulary has no synonyms in {language_names(connection, tables, [concept_id])[0]}; "
        f"those that it has are in: {held}"
    )


def _language_concept(
    connection: psycopg.Connection[Any], tables: VocabularyTables, value: str, existing: Mapping[int, int]
) -> int:
    written = language_name(value.strip().lower())
    known = {
        name: language for language in known_languages() for name in (language.code, language.name.lower())
    }
    language = known.get(written)
    name = written if language is None else language.name.lower()
    # A vocabulary's own concept first, and of several the one that its synonyms name.
    concepts = _language_concepts(connection, tables, names=[name, f"{name} language"])
    ids = [concept_id for concept_id, _ in concepts]
    if language is not None and language.concept_id is not None:
        ids.append(language.concept_id)
    if ids:
        return next((concept_id for concept_id in ids if concept_id in existing), ids[0])
    if language is not None:
        raise InputError(
            f"the vocabulary has no concept of the language {language.name}: give its OMOP concept id"
        )
    names = [known_language.name for known_language in known_languages()]
    raise UnknownValueError("language", value, difflib.get_close_matches(value.title(), names, 2))


def _language_concepts(
    connection: psycopg.Connection[Any],
    tables: VocabularyTables | None,
    *,
    concept_ids: Sequence[int] = (),
    names: Sequence[str] = (),
) -> list[tuple[int, str]]:
    """(concept id, name) of concepts by id, and of languages by name; the best first."""
    if tables is None:
        return []
    query = SQL(read("vocabulary_language_concepts")).format(concept=tables.concept)
    cursor = connection.cursor(row_factory=tuple_row)
    return cursor.execute(query, {"concept_ids": list(concept_ids), "names": list(names)}).fetchall()
