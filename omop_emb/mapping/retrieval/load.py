"""The vocabulary and a space's vectors for a mapping job: from the cache folder, else from the database."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from omop_emb.arrays import Ints
from omop_emb.database import binary_format
from omop_emb.errors import VocabularyError
from omop_emb.mapping.retrieval import array_cache, idf_store
from omop_emb.mapping.retrieval.concept_attributes import Facts, gather
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexicon import Lexicon, build
from omop_emb.mapping.retrieval.standard_targets import FOLLOWED
from omop_emb.search import matrix
from omop_emb.spaces.registry import Space
from omop_emb.sql import read
from omop_emb.vocabulary import reader
from omop_emb.vocabulary.reader import VocabularyTables

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
    "where relationship_id in ({followed}) and coalesce(invalid_reason, '') = ''"
)
# Rows as text: a digest of all of them that does not depend on their order.
_DIGEST = sql.SQL("select count(*), sum(hashtextextended(rows::text, 0)::numeric) from ({rows}) rows")
_AMONG = sql.SQL("select * from ({rows}) rows where {key} = any({ids}::bigint[])")
_VECTORS = sql.SQL(
    "select concept_id, embedding from {rows} where standard = 'S' and valid order by concept_id"
)


def _frame(connection: psycopg.Connection[Any], query: sql.Composed, ids: tuple[str, ...]) -> pd.DataFrame:
    buffer = io.BytesIO()
    statement = sql.SQL("copy ({}) to stdout (format csv, header, encoding 'UTF8')").format(query)
    with connection.cursor().copy(statement) as copy:
        for piece in copy:
            buffer.write(piece)
    buffer.seek(0)
    return pd.read_csv(
        buffer,
        dtype=dict.fromkeys(ids, "int64") | _TEXTS,
        keep_default_na=False,
        na_values=[],
        quoting=csv.QUOTE_MINIMAL,
        encoding="utf-8",
    )


_TEXTS: dict[str, Any] = {
    "concept_name": "str",
    "concept_code": "str",
    "concept_synonym_name": "str",
    "relationship_id": "category",
    "domain_id": "str",
    "vocabulary_id": "str",
    "concept_class_id": "str",
    "standard_concept": "str",
    "invalid_reason": "str",
}


@dataclass(frozen=True, eq=False)
class VocabularyIndex:
    """A vocabulary, searchable.

    Attributes:
        lexical: its texts, with the lexicon.
        facts: what its names say.
        state: a name for what the database held.
    """

    lexical: LexicalIndex
    facts: Facts
    state: str


def kept_vocabulary(connection: psycopg.Connection[Any]) -> VocabularyIndex | None:
    """The vocabulary's index in the cache folder; None where none was made of the present state.

    Raises:
        VocabularyError: no vocabulary is loaded.
    """
    found: VocabularyIndex | None = array_cache.find(_name(state_of(connection, _tables(connection))))
    return found


def read_vocabulary(connection: psycopg.Connection[Any]) -> VocabularyIndex:
    """The vocabulary's index, made anew, and kept; its statistics stay in the database.

    Raises:
        VocabularyError: no vocabulary is loaded.
    """
    tables = _tables(connection)
    state = state_of(connection, tables)
    lexical = LexicalIndex(read_lexicon(connection))
    made = VocabularyIndex(lexical, gather(lexical.lexicon, lexical), state)
    # Each statement may have seen a later state of a CDM's tables.
    if state_of(connection, tables) != state:
        return made
    if tables.release_id is not None:
        idf_store.remember(connection, state, lexical.grams, lexical.words)
    return array_cache.keep(_name(state), made)


def _name(state: str) -> str:
    return array_cache.name_of("vocabulary", state)


def _tables(connection: psycopg.Connection[Any]) -> VocabularyTables:
    tables = reader.vocabulary_tables(connection)
    if tables is None:
        raise VocabularyError("no vocabulary is loaded to map to: run omop-emb vocabulary load PATH")
    return tables


def state_of(connection: psycopg.Connection[Any], tables: VocabularyTables) -> str:
    """A name for a vocabulary's rows: a release never changes; of a CDM, every row is looked at."""
    cursor = connection.cursor(row_factory=tuple_row)
    if tables.release_id is not None:
        files = cursor.execute(read("mapping_release_state"), {"release_id": tables.release_id}).fetchall()
        return repr(files)
    queries = [query for query in _queries(tables) if query is not None]
    return repr([cursor.execute(_DIGEST.format(rows=query)).fetchone() for query in queries])


def _queries(
    tables: VocabularyTables,
) -> tuple[sql.Composed, sql.Composed | None, sql.Composed | None]:
    """What is read of concepts, synonyms and relationships; None for a table that is not there."""
    synonym, relationship = tables.concept_synonym, tables.concept_relationship
    followed = sql.SQL(", ").join(map(sql.Literal, FOLLOWED))
    return (
        _CONCEPT.format(table=tables.concept),
        _SYNONYM.format(table=synonym) if synonym else None,
        _RELATIONSHIP.format(table=relationship, followed=followed) if relationship else None,
    )


def read_lexicon(connection: psycopg.Connection[Any], concept_ids: Iterable[int] | None = None) -> Lexicon:
    """The vocabulary's standard concepts with everything that they can be found by.

    Args:
        connection: in whose transaction it is read.
        concept_ids: the concepts that are read, others that lead to them included; None: all.

    Raises:
        VocabularyError: no vocabulary is loaded.
    """
    concepts, synonyms, relationships = _queries(_tables(connection))
    if concept_ids is not None:
        ids = sql.Literal(binary_format.array_literal(concept_ids))
        concepts = _AMONG.format(rows=concepts, key=sql.Identifier("concept_id"), ids=ids)
        if synonyms is not None:
            synonyms = _AMONG.format(rows=synonyms, key=sql.Identifier("concept_id"), ids=ids)
        if relationships is not None:
            relationships = _AMONG.format(rows=relationships, key=sql.Identifier("concept_id_1"), ids=ids)
    synonym = pd.DataFrame({"concept_id": [], "concept_synonym_name": []})
    if synonyms is not None:
        synonym = _frame(connection, synonyms, ("concept_id",))
    relationship = pd.DataFrame({"concept_id_1": [], "concept_id_2": [], "relationship_id": []})
    if relationships is not None:
        relationship = _frame(connection, relationships, ("concept_id_1", "concept_id_2"))
    return build(_frame(connection, concepts, ("concept_id",)), synonym, relationship)


def read_vectors(connection: psycopg.Connection[Any], space: Space, index: VocabularyIndex) -> DenseIndex:
    """A space's vectors of standard concepts: its matrix on the disk; in memory where there can be none."""
    lexicon = index.lexical.lexicon
    try:
        rows = matrix.open_matrix(connection, space)
    except matrix.MatrixUnavailableError:
        return DenseIndex(lexicon, *_copied(connection, space))
    taken = (rows.keys["standard"] == b"S") & rows.keys["valid"]
    concept_ids = np.where(taken, rows.concept_ids, -1)
    return DenseIndex(
        lexicon, concept_ids, rows.vectors, name=array_cache.name_of("integers", rows.state, index.state)
    )


def read_vectors_of(connection: psycopg.Connection[Any], space: Space, index: VocabularyIndex) -> DenseIndex:
    """A space's vectors of a few standard concepts, out of the database."""
    lexicon = index.lexical.lexicon
    return DenseIndex(lexicon, *_copied(connection, space, lexicon.concept_id.tolist()))


def _copied(
    connection: psycopg.Connection[Any], space: Space, concept_ids: Iterable[int] | None = None
) -> tuple[Ints, npt.NDArray[np.float16]]:
    """(concept ids, vectors) as this transaction sees them; 0.24 GB for 304,000 of 384 dimensions."""
    dimensions = space.fingerprint.dimensions
    row = binary_format.row_dtype([("concept_id", ">i4"), ("embedding", (">f2", dimensions))])
    ids: list[np.ndarray[Any, Any]] = []
    vectors: list[np.ndarray[Any, Any]] = []
    left = b""
    header = len(binary_format.COPY_HEADER)
    query: sql.Composed = _VECTORS.format(rows=space.tables.rows)
    if concept_ids is not None:
        wanted = sql.Literal(binary_format.array_literal(concept_ids))
        query = _AMONG.format(rows=query, key=sql.Identifier("concept_id"), ids=wanted)
    statement = sql.SQL("copy ({}) to stdout (format binary)").format(query)
    with connection.cursor().copy(statement) as copy:
        pieces: list[bytes] = []
        size = 0
        for piece in copy:
            pieces.append(bytes(piece))
            size += len(pieces[-1])
            if size > 1 << 22:
                left = _rows(b"".join([left, *pieces])[header:], row, ids, vectors)
                pieces, size, header = [], 0, 0
        _rows(b"".join([left, *pieces])[header:], row, ids, vectors)
    if not ids:
        return np.zeros(0, np.int64), np.zeros((0, dimensions), np.float16)
    return np.concatenate(ids), np.concatenate(vectors)


def _rows(data: bytes, row: np.dtype[np.void], ids: list[Any], vectors: list[Any]) -> bytes:
    count = len(data) // row.itemsize
    if count:
        block = np.frombuffer(data, row, count)
        ids.append(block["concept_id"].astype(np.int64))
        vectors.append(block["embedding"].astype(np.float16))
    return data[count * row.itemsize :]
