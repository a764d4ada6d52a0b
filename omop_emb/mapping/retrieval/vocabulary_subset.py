"""A few terms' part of a vocabulary: what is near them by spelling and by vectors; nothing else is read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from omop_emb.database import binary_format
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.retrieval import idf_store
from omop_emb.mapping.retrieval.candidates import Embed
from omop_emb.mapping.retrieval.concept_attributes import gather
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.load import VocabularyIndex, read_lexicon, state_of
from omop_emb.mapping.retrieval.standard_targets import FOLLOWED
from omop_emb.mapping.terms.normalise import forms
from omop_emb.records import ConceptFilter
from omop_emb.search import search
from omop_emb.search.options import SearchOptions
from omop_emb.spaces.registry import Space
from omop_emb.sql import read
from omop_emb.vocabulary import reader
from omop_emb.vocabulary.reader import VocabularyTables

FEW = 20
"""So many terms are looked up one by one, in a third of the time of reading 300,000 concepts."""

_K = 100
_LEADING_HERE = ("Mapped from", "Value mapped from", "Concept replaces")


def suits(terms: Sequence[SourceTerm]) -> bool:
    """Whether terms can be looked up one by one: few, by their names alone, in any domain."""
    return len(terms) <= FEW and not any(term.source_vocabulary or term.domain for term in terms)


def read_near(
    connection: psycopg.Connection[Any],
    space: Space,
    terms: Sequence[SourceTerm],
    approved: Collection[int],
    embed: Embed,
    *,
    rules: Collection[str],
    limit: int,
) -> VocabularyIndex | None:
    """The concepts near some terms, in the measures of the whole vocabulary; None where that cannot be had.

    It takes statistics.py's figures, which whoever reads the whole vocabulary leaves in the database, and
    pg_trgm's index on the names of standard concepts.

    Args:
        connection: in whose transaction it is read.
        space: whose vectors are searched.
        terms: see suits().
        approved: ids of the concepts that the site has approved for other terms.
        embed: texts -> (n, dimensions) unit rows, for the role of a query.
        rules: by which terms get their forms (see normalise.forms).
        limit: how many forms of a name at most.
    """
    tables = reader.vocabulary_tables(connection)
    if tables is None or tables.release_id is None:
        return None
    schema = _trigram_schema(connection, tables.release_id)
    state = state_of(connection, tables)
    known = idf_store.find(connection, state)
    if schema is None or known is None:
        return None
    texts = list(
        dict.fromkeys(
            form.text
            for term in terms
            for name in (term.name, *term.further_names)
            for form in forms(name, rules=rules, limit=limit)
            if form.text
        )
    )
    ids = _similar(connection, tables, schema, texts) | _nearest(connection, space, texts, embed)
    ids |= _reached(connection, tables, [text.lower() for text in texts], approved, FOLLOWED)
    ids |= _units(connection, tables)
    ids |= _reached(connection, tables, [], ids, _LEADING_HERE)
    lexical = LexicalIndex(read_lexicon(connection, ids), known)
    return VocabularyIndex(lexical, gather(lexical.lexicon, lexical), state)


def _trigram_schema(connection: psycopg.Connection[Any], release_id: int) -> str | None:
    """Where pg_trgm is; None where it is not, or has no index on a release's names."""
    cursor = connection.cursor(row_factory=tuple_row)
    table = {"schema": "omop_emb", "table": f"concept_{release_id}"}
    has_index = cursor.execute(read("vocabulary_has_trigrams"), table).fetchone()
    schema = cursor.execute(read("trigram_schema")).fetchone()
    return schema[0] if schema is not None and has_index is not None and has_index[0] else None


def _similar(
    connection: psycopg.Connection[Any], tables: VocabularyTables, schema: str, texts: Sequence[str]
) -> set[int]:
    query = sql.SQL(read("mapping_similar_names")).format(
        concept=tables.concept, schema=sql.Identifier(schema)
    )
    cursor = connection.cursor(row_factory=tuple_row)
    return {key for text in texts for (key,) in cursor.execute(query, {"text": text, "k": _K}).fetchall()}


def _nearest(
    connection: psycopg.Connection[Any], space: Space, texts: Sequence[str], embed: Embed
) -> set[int]:
    if not texts:
        return set()
    options = SearchOptions(k=_K, concept_filter=ConceptFilter(standard_only=True, valid_only=True))
    matches = search.search(connection, space, embed(list(texts)), options).matches
    return {match.concept_id for found in matches for match in found}


def _reached(
    connection: psycopg.Connection[Any],
    tables: VocabularyTables,
    names: Sequence[str],
    ids: Collection[int],
    relationships: Sequence[str],
) -> set[int]:
    assert tables.concept_relationship is not None  # noqa: S101 - read_near looked
    query = sql.SQL(read("mapping_reachable_concepts")).format(
        concept=tables.concept, relationship=tables.concept_relationship
    )
    parameters = {
        "names": list(names),
        "ids": binary_format.array_literal(ids),
        "relationships": list(relationships),
    }
    cursor = connection.cursor(row_factory=tuple_row)
    return {key for (key,) in cursor.execute(query, parameters).fetchall()}


def _units(connection: psycopg.Connection[Any], tables: VocabularyTables) -> set[int]:
    """All units: they are found by a key that no index of names knows."""
    query = sql.SQL("select concept_id from {concept} where domain_id = 'Unit' and standard_concept = 'S'")
    cursor = connection.cursor(row_factory=tuple_row)
    return {key for (key,) in cursor.execute(query.format(concept=tables.concept)).fetchall()}
