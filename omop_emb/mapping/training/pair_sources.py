"""Pair sources: texts and names to tune a model on, from a vocabulary, a site's approvals and files."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.sql import SQL

from omop_emb.embeddings.tuning.training_pairs import TrainingPair
from omop_emb.errors import InputError
from omop_emb.mapping.approvals.approval_store import stored_approvals
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.read_options import ReadOptions
from omop_emb.mapping.files.table_file import TableFile
from omop_emb.mapping.terms.text_key import text_key
from omop_emb.sql import read
from omop_emb.vocabulary import reader

VOCABULARY_SOURCES = ("synonyms", "maps-to", "brands", "units")
"""What a vocabulary has: synonyms (LOINC's short names are some), names of non-standard concepts that map to
a standard one, brand names of ingredients, codes of UCUM."""

# For tables that a CDM lacks.
_NO_SYNONYMS = SQL("(select concept_id, concept_name as concept_synonym_name from {} limit 0)")
_NO_RELATIONSHIPS = SQL(
    "(select concept_id as concept_id_1, concept_id as concept_id_2, concept_name as relationship_id, "
    "invalid_reason from {} limit 0)"
)
_LONGEST_TEXT = 1_000


def vocabulary_pairs(
    connection: psycopg.Connection[Any], sources: Collection[str] = VOCABULARY_SOURCES
) -> Iterator[TrainingPair]:
    """The pairs of the loaded vocabulary's valid standard concepts, by concept; some of VOCABULARY_SOURCES.

    Raises:
        VocabularyError: no vocabulary is loaded.
    """
    tables = reader.require_vocabulary(connection)
    synonym = tables.concept_synonym or _NO_SYNONYMS.format(tables.concept)
    relationship = tables.concept_relationship or _NO_RELATIONSHIPS.format(tables.concept)
    query = SQL(read("tuning_pairs")).format(
        concept=tables.concept, concept_synonym=synonym, concept_relationship=relationship
    )
    for source, text, name, concept_id in connection.cursor(row_factory=tuple_row).execute(query):
        if source in sources:
            yield TrainingPair(text=text, name=name, group=str(concept_id))


def approved_pairs(connection: psycopg.Connection[Any], site: str) -> Iterator[TrainingPair]:
    """A site's approved names, each with the name of its concept."""
    approvals = stored_approvals(connection, site)
    concepts = reader.concepts_by_id(connection, {one.concept_id for one in approvals})
    for one in approvals:
        concept = concepts.get(one.concept_id)
        if concept is not None and concept.concept_name:
            yield TrainingPair(text=one.source_name, name=concept.concept_name, group=str(one.concept_id))


def file_pairs(connection: psycopg.Connection[Any], path: str | Path) -> Iterator[TrainingPair]:
    """The pairs of a CSV, TSV, Excel or Parquet file: the first column has texts, the second what they mean.

    That is a concept id, for which the vocabulary's name is taken, or a name. A further column may have a
    name that is alike and means something else. Rows with an empty cell, or an id that the vocabulary lacks,
    are passed over.
    """
    rows = _rows(path, 2)
    ids = [int(row[1]) for row in rows if row[1].isdecimal()]
    concepts = reader.concepts_by_id(connection, ids) if len(ids) == len(rows) else None
    for text, meaning, *others in rows:
        negative = others[0].strip() if others else ""
        if concepts is None:
            yield TrainingPair(text=text, name=meaning, group=text_key(meaning), negative=negative)
        elif (concept := concepts.get(int(meaning))) is not None and concept.concept_name:
            yield TrainingPair(text=text, name=concept.concept_name, group=meaning, negative=negative)


def evaluated_keys(paths: Iterable[str | Path]) -> set[str]:
    """The text keys of all cells of files whose terms are measured: no such text may be learned from."""
    return {text_key(cell) for path in paths for row in _rows(path, 1) for cell in row if cell.strip()}


def usable_pairs(
    pairs: Iterable[TrainingPair], evaluated: Collection[str], most: int
) -> tuple[list[TrainingPair], int]:
    """(distinct pairs to train on, how many were left out because their text is evaluated).

    A text that equals its name but for case and spaces teaches nothing. Of more than `most` pairs a sample is
    taken, the same one each time.
    """
    distinct: dict[tuple[str, str], TrainingPair] = {}
    left_out = 0
    for pair in pairs:
        key = text_key(pair.text)
        if not key or key == text_key(pair.name) or len(pair.text) > _LONGEST_TEXT:
            continue
        if key in evaluated:
            left_out += 1
        else:
            distinct.setdefault((key, pair.group), pair)
    chosen = sorted(distinct, key=_digest)[:most] if len(distinct) > most else list(distinct)
    return [distinct[key] for key in chosen], left_out


def _digest(key: Sequence[str]) -> bytes:
    return hashlib.sha256("\n".join(key).encode(errors="replace")).digest()


def _rows(path: str | Path, columns: int) -> list[list[str]]:
    with InputFile(path) as source:
        table = TableFile(source, ReadOptions(header_row=None))
        if len(table.headers) < columns:
            raise InputError(f"{source.name} has one column; it needs two, with texts and what they mean")
        rows = [row.values for row in table.rows()]
    return [row for row in rows if all(value.strip() for value in row[:columns])] if columns > 1 else rows
