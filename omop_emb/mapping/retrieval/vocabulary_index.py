"""Vocabulary index: a vocabulary made searchable for mapping, from the cache folder or the database."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from omop_emb.arrays import HalfVectors, Ints
from omop_emb.database import binary_format
from omop_emb.errors import VocabularyError
from omop_emb.mapping.retrieval import array_cache, freed_memory
from omop_emb.mapping.retrieval.concept_attributes import ConceptAttributes, concept_attributes
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexicon import Lexicon, build_lexicon
from omop_emb.mapping.retrieval.relationships import TARGET_RELATIONSHIPS, VALUE_RELATIONSHIPS
from omop_emb.records import ConceptFilter
from omop_emb.search import matrix
from omop_emb.spaces.recipe import STANDARD_AND_VALID
from omop_emb.spaces.registry import Space
from omop_emb.sql import read
from omop_emb.vocabulary import reader
from omop_emb.vocabulary.reader import VocabularyTables

if TYPE_CHECKING:
    import pandas as pd

_CONCEPT = sql.SQL(
    "select concept_id, concept_name, domain_id, vocabulary_id, concept_class_id, "
    "coalesce(standard_concept, '') standard_concept, coalesce(concept_code, '') concept_code, "
    "coalesce(invalid_reason, '') invalid_reason from {table} where coalesce(concept_name, '') <> ''"
)
_SYNONYM = sql.SQL(
    "select concept_id, concept_synonym_name from {table} where concept_synonym_name is not null"
)
_RELATIONSHIP = sql.SQL(
    "select concept_id_1, concept_id_2, relationship_id from {table} "
    "where relationship_id in ({relationships}) and coalesce(invalid_reason, '') = ''"
)
# A digest of all rows that does not depend on their order.
_DIGEST = sql.SQL("select count(*), sum(hashtextextended(rows::text, 0)::numeric) from ({rows}) rows")
_VECTORS = sql.SQL("select concept_id, embedding from {rows} {condition} order by concept_id")
_STANDARD = sql.SQL("where standard = 'S' and valid")
_TEXT_COLUMNS = ("concept_name", "concept_code", "concept_synonym_name")
# Few values, in numbers: ten million concepts would need gigabytes for them as texts.
_LABEL_COLUMNS = (
    "domain_id", "vocabulary_id", "concept_class_id", "standard_concept", "invalid_reason",
    "relationship_id",
)  # fmt: skip
_COLUMN_TYPES: dict[str, Any] = {
    **dict.fromkeys(("concept_id", "concept_id_1", "concept_id_2"), "int64"),
    **dict.fromkeys(_TEXT_COLUMNS, "str"),
    **dict.fromkeys(_LABEL_COLUMNS, "category"),
}


@dataclass(frozen=True, eq=False)
class VocabularyIndex:
    """A searchable vocabulary."""

    lexical: LexicalIndex
    attributes: ConceptAttributes
    state: str  # identifies the contents of the vocabulary's tables


def needed_index(concept_filter: ConceptFilter) -> ConceptFilter:
    """Which concepts the index has that a filter needs; the filter's other limits apply inside each search.

    All standard and valid ones share an index. Of others, which are many more, it has the filter's
    vocabularies alone.
    """
    if concept_filter.standard_only and concept_filter.valid_only:
        return STANDARD_AND_VALID
    return replace(concept_filter, domains=None, concept_classes=None, concept_ids=None)


def open_vocabulary_index(
    connection: psycopg.Connection[Any], concept_filter: ConceptFilter = STANDARD_AND_VALID
) -> VocabularyIndex:
    """The index of the current vocabulary that a filter needs, from the cache or built and cached.

    Raises:
        VocabularyError: no vocabulary is loaded.
    """
    tables = reader.vocabulary_tables(connection)
    if tables is None:
        raise VocabularyError("no vocabulary is loaded to map to: run omop-emb vocabulary load PATH")
    concept_filter = needed_index(concept_filter)
    selection = "" if concept_filter == STANDARD_AND_VALID else repr(concept_filter)
    state = _state(connection, tables) + selection
    key = array_cache.cache_key("vocabulary", state)
    cached: VocabularyIndex | None = array_cache.load(key)
    if cached is not None:
        return cached
    index = _make_index(connection, tables, concept_filter, state)
    # Each statement may have seen a later state of a CDM's tables: then this index has no name.
    if _state(connection, tables) + selection == state:
        index = array_cache.store(key, index)
    freed_memory.give_back()
    return index


def _make_index(
    connection: psycopg.Connection[Any], tables: VocabularyTables, concept_filter: ConceptFilter, state: str
) -> VocabularyIndex:
    lexicon = read_lexicon(connection, tables, concept_filter)
    freed_memory.give_back()  # the tables' frames: gigabytes with ten million concepts
    lexical = LexicalIndex(lexicon)
    return VocabularyIndex(lexical, concept_attributes(lexical), state)


def _state(connection: psycopg.Connection[Any], tables: VocabularyTables) -> str:
    """The files of a release, which never changes; of a CDM's tables, digests of all rows."""
    cursor = connection.cursor(row_factory=tuple_row)
    if tables.release_id is not None:
        files = cursor.execute(read("mapping_release_state"), {"release_id": tables.release_id}).fetchall()
        return repr(files)
    queries = [query for query in _queries(tables) if query is not None]
    return repr([cursor.execute(_DIGEST.format(rows=query)).fetchone() for query in queries])


def _queries(
    tables: VocabularyTables,
) -> tuple[sql.Composed, sql.Composed | None, sql.Composed | None]:
    """Queries for concepts, synonyms and relationships; None for a table that does not exist."""
    synonym, relationship = tables.concept_synonym, tables.concept_relationship
    relationships = sql.SQL(", ").join(map(sql.Literal, (*TARGET_RELATIONSHIPS, *VALUE_RELATIONSHIPS)))
    return (
        _CONCEPT.format(table=tables.concept),
        _SYNONYM.format(table=synonym) if synonym else None,
        _RELATIONSHIP.format(table=relationship, relationships=relationships) if relationship else None,
    )


def read_lexicon(
    connection: psycopg.Connection[Any],
    tables: VocabularyTables,
    concept_filter: ConceptFilter = STANDARD_AND_VALID,
) -> Lexicon:
    """The lexicon of a vocabulary's tables."""
    concept, synonym, relationship = (_read_frame(connection, query) for query in _queries(tables))
    return build_lexicon(concept, synonym, relationship, concept_filter)


def _read_frame(connection: psycopg.Connection[Any], query: sql.Composed | None) -> pd.DataFrame:
    import pandas as pd  # only where an index is built: it costs as much as a search

    if query is None:
        return pd.DataFrame({column: [] for column in _COLUMN_TYPES})
    statement = sql.SQL("copy ({}) to stdout (format csv, header, encoding 'UTF8')").format(query)
    with connection.cursor().copy(statement) as copy, io.BufferedReader(_CopyStream(copy), 1 << 20) as rows:
        return pd.read_csv(rows, dtype=_COLUMN_TYPES, keep_default_na=False, na_values=[], encoding="utf-8")


class _CopyStream(io.RawIOBase):
    """What COPY sends, as a file that is read once."""

    def __init__(self, copy: Iterable[bytes | bytearray | memoryview]) -> None:
        self._chunks, self._rest = iter(copy), memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        into = memoryview(buffer)
        size = min(len(into), len(self._rest))
        into[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def open_dense_index(connection: psycopg.Connection[Any], space: Space, index: VocabularyIndex) -> DenseIndex:
    """A space's vectors of an index's concepts: its matrix, or a copy in memory if there can be none."""
    lexicon = index.lexical.lexicon
    try:
        rows = matrix.open_matrix(connection, space)
    except matrix.MatrixUnavailableError:
        return DenseIndex(lexicon, *_copy_vectors(connection, space, lexicon))
    is_searched = (rows.keys["standard"] == b"S") & rows.keys["valid"]
    if not lexicon.is_standard:
        is_searched = np.ones(len(is_searched), bool)
    key = array_cache.cache_key("integers", rows.state, index.state)
    return DenseIndex(lexicon, np.where(is_searched, rows.concept_ids, -1), rows.vectors, cache_key=key)


def _copy_vectors(
    connection: psycopg.Connection[Any], space: Space, lexicon: Lexicon
) -> tuple[Ints, HalfVectors]:
    """(concept ids, vectors) as this transaction sees them; 0.24 GB for 304,000 of 384 dimensions."""
    dimensions = space.fingerprint.dimensions
    layout = binary_format.row_dtype([("concept_id", ">i4"), ("embedding", (">f2", dimensions))])
    condition = _STANDARD if lexicon.is_standard else sql.SQL("")
    query = _VECTORS.format(rows=space.tables.rows, condition=condition)
    statement = sql.SQL("copy ({}) to stdout (format binary)").format(query)
    ids, vectors = [np.zeros(0, np.int64)], [np.zeros((0, dimensions), np.float16)]
    with connection.cursor().copy(statement) as copy:
        for block in binary_format.decode_rows(iter(copy), layout):
            ids.append(block["concept_id"].astype(np.int64))
            vectors.append(block["embedding"].astype(np.float16))
    return np.concatenate(ids), np.concatenate(vectors)
