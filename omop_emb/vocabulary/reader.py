"""Vocabulary reader: concepts and values of the loaded release, or of a CDM's tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row, tuple_row
from psycopg.sql import SQL, Identifier

from omop_emb import config
from omop_emb.database.binary_format import array_literal
from omop_emb.database.fetch import fetch_value
from omop_emb.errors import UnknownValueError, VocabularyError
from omop_emb.records import Concept, ConceptFilter
from omop_emb.sql import read
from omop_emb.vocabulary.cdm_schema import cdm_tables
from omop_emb.vocabulary.layout import LAYOUTS, release_tables
from omop_emb.vocabulary.spelling import closest_values

# Kind of value -> the table that defines it, its column.
_KINDS = {
    "domain": ("domain", "domain_id"),
    "vocabulary": ("vocabulary", "vocabulary_id"),
    "concept class": ("concept_class", "concept_class_id"),
}
_MAX_BIGINT = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class VocabularyTables:
    """The vocabulary's tables; those that a CDM lacks are None."""

    schema: str
    release_id: int | None  # None for the tables of a CDM
    version: str | None  # such as "v5.0 30-AUG-24"; None where the vocabulary does not say
    concept: Identifier
    concept_synonym: Identifier | None
    concept_relationship: Identifier | None
    concept_ancestor: Identifier | None
    vocabulary: Identifier | None
    domain: Identifier | None
    concept_class: Identifier | None
    relationship: Identifier | None


@dataclass(frozen=True, kw_only=True)
class VocabularyStatus:
    """The vocabulary's version, origin and size."""

    schema: str  # "omop_emb" for one that was loaded, else the CDM's schema
    version: str | None  # such as "v5.0 30-AUG-24"; None where the vocabulary does not say
    source: str | None  # name of the folder or zip that was loaded; None for a CDM
    loaded_at: datetime | None  # None for a CDM
    rows: Mapping[str, int | None]  # by existing table; of a CDM's, only concept is counted
    blank_names: int  # concepts without a name, which are not embedded
    has_trigrams: bool  # whether an index searches names by spelling


def vocabulary_tables(connection: psycopg.Connection[Any]) -> VocabularyTables | None:
    """The tables to read, None where no vocabulary was loaded.

    They are those of OMOP_EMB_VOCABULARY_SCHEMA, or of the active release, which stays unchanged until the
    caller's transaction ends, whatever is loaded meanwhile.
    """
    schema = config.variable("OMOP_EMB_VOCABULARY_SCHEMA")
    if schema is not None:
        return _schema_tables(connection, schema.strip())
    if not fetch_value(connection, read("vocabulary_is_migrated")):
        return None
    release_id = fetch_value(connection, "select omop_emb.pin_vocabulary()")
    if release_id is None:
        return None
    query = "select version from omop_emb.vocabulary_release where release_id = %s"
    version = fetch_value(connection, query, (release_id,))
    return VocabularyTables(
        schema="omop_emb", release_id=release_id, version=version, **release_tables(release_id)
    )


def schema_state(connection: psycopg.Connection[Any]) -> list[tuple[object, ...]]:
    """Differs once a CDM's tables were written to, see the query; [] for a release, which never changes."""
    schema = config.variable("OMOP_EMB_VOCABULARY_SCHEMA")
    if schema is None:
        return []
    parameters = {"schema": schema.strip(), "tables": [layout.name for layout in LAYOUTS]}
    cursor = connection.cursor(row_factory=tuple_row)
    return cursor.execute(read("vocabulary_schema_state"), parameters).fetchall()


def require_vocabulary(connection: psycopg.Connection[Any]) -> VocabularyTables:
    """vocabulary_tables(); VocabularyError if there are none."""
    tables = vocabulary_tables(connection)
    if tables is None:
        raise VocabularyError("no vocabulary is loaded: run omop-emb vocabulary load PATH")
    return tables


def vocabulary_status(connection: psycopg.Connection[Any]) -> VocabularyStatus | None:
    """The vocabulary's status, None where there is no vocabulary."""
    tables = vocabulary_tables(connection)
    if tables is None:
        return None
    if tables.release_id is None:
        return _schema_status(connection, tables)
    return _release_status(connection, tables)


def concepts_by_id(connection: psycopg.Connection[Any], concept_ids: Iterable[int]) -> dict[int, Concept]:
    """Concept id -> concept, for the ids that the vocabulary has; a blank name is ""."""
    tables = vocabulary_tables(connection)
    if tables is None:
        return {}
    cursor = connection.cursor(row_factory=class_row(Concept))
    query = SQL(read("vocabulary_concepts")).format(concept=tables.concept)
    valid_ids = [concept_id for concept_id in set(concept_ids) if abs(concept_id) <= _MAX_BIGINT]
    rows = cursor.execute(query, {"concept_ids": array_literal(valid_ids)})
    return {concept.concept_id: concept for concept in rows}


def concepts_by_code(
    connection: psycopg.Connection[Any], codes: Iterable[str], *, vocabularies: Iterable[str] | None = None
) -> list[Concept]:
    """The concepts with any of some codes, the best of each code first; vocabularies: None for all.

    Of several concepts with a code, a valid and standard one comes first, then the lowest id.
    """
    tables = vocabulary_tables(connection)
    if tables is None:
        return []
    query = SQL(read("vocabulary_concepts_by_code")).format(concept=tables.concept)
    cursor = connection.cursor(row_factory=class_row(Concept))
    names = None if vocabularies is None else list(vocabularies)
    return cursor.execute(query, {"codes": list(codes), "vocabularies": names}).fetchall()


def concepts_by_undotted_code(
    connection: psycopg.Connection[Any], vocabulary_id: str, code: str
) -> list[Concept]:
    """The concepts of a vocabulary whose code is this one but for dots and case, the best of each first."""
    tables = vocabulary_tables(connection)
    if tables is None:
        return []
    query = SQL(read("vocabulary_concepts_by_undotted_code")).format(concept=tables.concept)
    cursor = connection.cursor(row_factory=class_row(Concept))
    return cursor.execute(query, {"vocabulary_id": vocabulary_id, "code": code}).fetchall()


def has_concepts(connection: psycopg.Connection[Any], vocabulary_id: str) -> bool:
    """Whether any concept of a vocabulary is loaded; a download names many more vocabularies than it has."""
    tables = vocabulary_tables(connection)
    if tables is None:
        return False
    query = SQL("select exists (select from {concept} where vocabulary_id = %s)").format(
        concept=tables.concept
    )
    return bool(fetch_value(connection, query, (vocabulary_id,)))


def is_empty(connection: psycopg.Connection[Any], table: Identifier) -> bool:
    """Whether a table has no row: a download may lack its file."""
    return not fetch_value(connection, SQL("select exists (select from {})").format(table))


def existing_values(connection: psycopg.Connection[Any], kind: str) -> list[str]:
    """The vocabulary's values of a kind ("domain", "vocabulary" or "concept class"), sorted."""
    defining_table, column = _KINDS[kind]
    tables = vocabulary_tables(connection)
    if tables is None:
        return []
    cursor = connection.cursor(row_factory=tuple_row)
    if tables.release_id is not None:
        rows = cursor.execute(
            "select value from omop_emb.vocabulary_value where release_id = %s and kind = %s",
            (tables.release_id, kind),
        )
    else:
        sources = [tables.concept, *filter(None, [getattr(tables, defining_table)])]
        select = SQL("select distinct {column} from {table} where {column} <> ''")
        selects = [select.format(column=Identifier(column), table=source) for source in sources]
        rows = cursor.execute(SQL(" union ").join(selects))
    return sorted(value for (value,) in rows)


def filter_values(connection: psycopg.Connection[Any]) -> dict[str, list[str]]:
    """Kind -> existing_values(), for every kind that a filter may name."""
    return {kind: existing_values(connection, kind) for kind in _KINDS}


def check_filter(connection: psycopg.Connection[Any], concept_filter: ConceptFilter) -> None:
    """Raise UnknownValueError if the vocabulary lacks a domain, vocabulary or class that the filter names."""
    kinds = [kind for kind, values in _named_values(concept_filter).items() if values]
    check_values({kind: existing_values(connection, kind) for kind in kinds}, concept_filter)


def check_values(existing: Mapping[str, Sequence[str]], concept_filter: ConceptFilter) -> None:
    """check_filter() with filter_values() that were read before."""
    for kind, values in _named_values(concept_filter).items():
        for value in values or ():
            if value not in existing[kind]:
                raise UnknownValueError(kind, value, closest_values(value, existing[kind]))


def _named_values(concept_filter: ConceptFilter) -> dict[str, tuple[str, ...] | None]:
    return {
        "domain": concept_filter.domains,
        "vocabulary": concept_filter.vocabularies,
        "concept class": concept_filter.concept_classes,
    }


def _schema_tables(connection: psycopg.Connection[Any], schema: str) -> VocabularyTables:
    tables = cdm_tables(connection, schema)
    version = None
    if tables["vocabulary"] is not None:
        query = SQL(read("vocabulary_version")).format(vocabulary=tables["vocabulary"])
        version = fetch_value(connection, query)
    # "concept" is never None.
    return VocabularyTables(schema=schema, release_id=None, version=version, **tables)  # type: ignore[arg-type]


def _release_status(connection: psycopg.Connection[Any], tables: VocabularyTables) -> VocabularyStatus:
    release = connection.cursor(row_factory=dict_row).execute(
        read("vocabulary_release"), (tables.release_id,)
    )
    files = connection.cursor(row_factory=tuple_row).execute(
        "select table_name, row_count from omop_emb.vocabulary_file where release_id = %s",
        (tables.release_id,),
    )
    counts: dict[str, int] = dict(files.fetchall())
    return VocabularyStatus(
        schema=tables.schema,
        version=tables.version,
        rows={layout.name: counts[layout.name] for layout in LAYOUTS if layout.name in counts},
        has_trigrams=_has_trigrams(connection, tables.schema, f"concept_{tables.release_id}"),
        **(release.fetchone() or {}),
    )


def _schema_status(connection: psycopg.Connection[Any], tables: VocabularyTables) -> VocabularyStatus:
    cursor = connection.cursor(row_factory=tuple_row)
    query = SQL(read("vocabulary_count_concepts")).format(concept=tables.concept)
    concept_count, blank_names = cursor.execute(query).fetchone() or (0, 0)
    names = [layout.name for layout in LAYOUTS if getattr(tables, layout.name) is not None]
    return VocabularyStatus(
        schema=tables.schema,
        version=tables.version,
        source=None,
        loaded_at=None,
        rows={name: concept_count if name == "concept" else None for name in names},
        blank_names=blank_names,
        has_trigrams=_has_trigrams(connection, tables.schema, "concept"),
    )


def _has_trigrams(connection: psycopg.Connection[Any], schema: str, table: str) -> bool:
    return bool(fetch_value(connection, read("vocabulary_has_trigrams"), {"schema": schema, "table": table}))
