"""The texts of the vocabulary's concepts, in order and a batch at a time, however many there are."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Composed

from omop_emb.errors import InputError, VocabularyError
from omop_emb.records import Concept, ConceptFilter, TextKind
from omop_emb.sql import read
from omop_emb.vocabulary import tables

ENGLISH = 4180186
_IN_VOCABULARY = (TextKind.NAME, TextKind.SYNONYM, TextKind.CODE)
_CONCEPT_FIELDS = 8
_CLAUSES = {
    "domains": SQL("domain_id = any(cast(%(domains)s as text[]))"),
    "vocabularies": SQL("vocabulary_id = any(cast(%(vocabularies)s as text[]))"),
    "concept_classes": SQL("concept_class_id = any(cast(%(concept_classes)s as text[]))"),
    "concept_ids": SQL("concept_id = any(cast(%(concept_ids)s as bigint[]))"),
    "standard_only": SQL("standard_concept = 'S'"),
    "valid_only": SQL("coalesce(invalid_reason, '') = ''"),
    "after": SQL("concept_id > cast(%(after)s as bigint)"),
}
_NO_SYNONYMS = SQL(
    "(select 0 as concept_id, '' as concept_synonym_name, 0 as language_concept_id where false) as none"
)


class ConceptText(NamedTuple):
    """A text of a concept."""

    concept: Concept
    kind: TextKind
    text: str


def count_texts(
    connection: psycopg.Connection[Any],
    concept_filter: ConceptFilter | None = None,
    kinds: Collection[TextKind] = (TextKind.NAME, TextKind.SYNONYM),
    *,
    synonym_languages: Collection[int] | None = (ENGLISH,),
    after: int | None = None,
) -> int:
    """How many texts `stream_texts` yields for the same arguments."""
    query, parameters = _query(
        connection, "vocabulary_texts_count", concept_filter, kinds, synonym_languages, after
    )
    row = connection.cursor(row_factory=tuple_row).execute(query, parameters).fetchone()
    return 0 if row is None else int(row[0])


def stream_texts(
    connection: psycopg.Connection[Any],
    concept_filter: ConceptFilter | None = None,
    kinds: Collection[TextKind] = (TextKind.NAME, TextKind.SYNONYM),
    *,
    synonym_languages: Collection[int] | None = (ENGLISH,),
    after: int | None = None,
    batch_rows: int = 2000,
) -> Iterator[list[ConceptText]]:
    """Batches of texts, ordered by concept id, then name, synonyms, code.

    A concept's texts are never split between batches, which therefore are a little longer than batch_rows
    at times. Synonyms equal to the name and repeated ones are left out, and so is a concept whose name is
    blank. All batches are of one state of the vocabulary, whatever is loaded or committed meanwhile.

    Args:
        connection: it may commit between batches: the cursor outlives the transaction.
        concept_filter: which concepts; None is every one.
        kinds: which texts; aliases are not the vocabulary's.
        synonym_languages: concept ids of the languages of synonyms; None is every one.
        after: only concepts with larger ids, for going on where an earlier run ended.
        batch_rows: texts a batch, about.

    Raises:
        VocabularyError: no vocabulary is loaded.
        InputError: a kind is not the vocabulary's.
    """
    query, parameters = _query(
        connection, "vocabulary_texts_rows", concept_filter, kinds, synonym_languages, after
    )
    name = f"omop_emb_{uuid4().hex}"
    with connection.cursor(name, row_factory=tuple_row, withhold=True) as cursor:
        cursor.itersize = batch_rows
        cursor.execute(query, parameters)
        batch: list[ConceptText] = []
        while rows := cursor.fetchmany(batch_rows):
            for row in rows:
                if batch and batch[-1].concept.concept_id == row[0]:
                    concept = batch[-1].concept
                else:
                    if len(batch) >= batch_rows:
                        yield batch
                        batch = []
                    concept = Concept(*row[:_CONCEPT_FIELDS])
                batch.append(ConceptText(concept, TextKind(row[_CONCEPT_FIELDS]), row[_CONCEPT_FIELDS + 1]))
        if batch:
            yield batch


def _query(
    connection: psycopg.Connection[Any],
    ending: str,
    concept_filter: ConceptFilter | None,
    kinds: Collection[TextKind],
    synonym_languages: Collection[int] | None,
    after: int | None,
) -> tuple[Composed, dict[str, Any]]:
    unknown = [kind.name for kind in kinds if kind not in _IN_VOCABULARY]
    if unknown:
        raise InputError(
            f"the vocabulary has no texts of kind {', '.join(unknown)}: take NAME, SYNONYM or CODE"
        )
    found = tables(connection)
    if found is None:
        raise VocabularyError("no vocabulary is loaded: run omop-emb vocabulary load PATH")
    condition, parameters = _condition(concept_filter or ConceptFilter(), after)
    parameters["kinds"] = [kind.value for kind in kinds]
    parameters["languages"] = None if synonym_languages is None else list(synonym_languages)
    query = SQL(read("vocabulary_texts") + read(ending)).format(
        concept=found.concept,
        concept_synonym=_NO_SYNONYMS if found.concept_synonym is None else found.concept_synonym,
        condition=condition,
    )
    return query, parameters


def _condition(concept_filter: ConceptFilter, after: int | None) -> tuple[Composed, dict[str, Any]]:
    limits = {
        "domains": concept_filter.domains,
        "vocabularies": concept_filter.vocabularies,
        "concept_classes": concept_filter.concept_classes,
        "concept_ids": concept_filter.concept_ids,
        "standard_only": concept_filter.standard_only or None,
        "valid_only": concept_filter.valid_only or None,
        "after": after,
    }
    asked = {name: value for name, value in limits.items() if value is not None}
    clauses = [SQL("true"), *(_CLAUSES[name] for name in asked)]
    parameters = {name: list(value) if isinstance(value, tuple) else value for name, value in asked.items()}
    return SQL(" and ").join(clauses), parameters
