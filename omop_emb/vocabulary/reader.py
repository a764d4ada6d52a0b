"""Reading the vocabulary: the release that was loaded, or the tables of a CDM."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row, tuple_row
from psycopg.sql import SQL, Identifier

from omop_emb import config
from omop_emb.database.binary_format import array_literal
from omop_emb.errors import UnknownValueError, VocabularyError
from omop_emb.records import Concept, ConceptFilter
from omop_emb.sql import read
from omop_emb.vocabulary.layout import LAYOUTS, release_tables

# Kind of value -> table that defines it, column that bears it.
_KINDS = {
    "domain": ("domain", "domain_id"),
    "vocabulary": ("vocabulary", "vocabulary_id"),
    "concept class": ("concept_class", "concept_class_id"),
}
_LARGEST_BIGINT = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class VocabularyTables:
    """Where the vocabulary stands; tables that a CDM lacks are None.

    Attributes:
        schema: the schema that they are in.
        release_id: number of the loaded release; None for the tables of a CDM.
        version: such as "v5.0 30-AUG-24"; None where the vocabulary does not say.
    """

    schema: str
    release_id: int | None
    version: str | None
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
    """What vocabulary there is.

    Attributes:
        schema: "omop_emb" for one that was loaded, else the CDM's schema.
        version: such as "v5.0 30-AUG-24"; None where the vocabulary does not say.
        source: name of the folder or zip that was loaded; None for a CDM.
        loaded_at: when; None for a CDM.
        rows: table to number of rows, for the tables that are there; of a CDM's, only concept is counted.
        blank_names: concepts without a name, which are not embedded.
        has_trigrams: whether names can be searched by spelling with an index.
    """

    schema: str
    version: str | None
    source: str | None
    loaded_at: datetime | None
    rows: Mapping[str, int | None]
    blank_names: int
    has_trigrams: bool


def vocabulary_tables(connection: psycopg.Connection[Any]) -> VocabularyTables | None:
    """The tables to read, None where no vocabulary was loaded.

    With OMOP_EMB_VOCABULARY_SCHEMA they are that schema's. Otherwise they are the active release's, and
    stay, unchanged, until the caller's transaction ends, whatever is loaded meanwhile.

    Raises:
        VocabularyError: the schema named by the variable has no `concept`, or a table lacks a column.
    """
    schema = config.text_or_none("OMOP_EMB_VOCABULARY_SCHEMA")
    if schema is not None:
        return _tables_of_schema(connection, schema.strip())
    cursor = connection.cursor(row_factory=tuple_row)
    row = cursor.execute(read("vocabulary_is_migrated")).fetchone()
    if row is None or not row[0]:
        return None
    row = cursor.execute("select omop_emb.pin_vocabulary()").fetchone()
    if row is None or row[0] is None:
        return None
    (release_id,) = row
    row = cursor.execute(
        "select version from omop_emb.vocabulary_release where release_id = %s", (release_id,)
    ).fetchone()
    version = row[0] if row is not None else None
    return VocabularyTables(
        schema="omop_emb", release_id=release_id, version=version, **release_tables(release_id)
    )


def vocabulary_status(connection: psycopg.Connection[Any]) -> VocabularyStatus | None:
    """What vocabulary there is; None where there is none."""
    found = vocabulary_tables(connection)
    if found is None:
        return None
    return (
        _status_of_schema(connection, found)
        if found.release_id is None
        else _status_of_release(connection, found)
    )


def concepts_by_id(connection: psycopg.Connection[Any], concept_ids: Iterable[int]) -> dict[int, Concept]:
    """Concept id to concept, for those of the ids that the vocabulary has; a blank name is ""."""
    found = vocabulary_tables(connection)
    if found is None:
        return {}
    cursor = connection.cursor(row_factory=class_row(Concept))
    query = SQL(read("vocabulary_concepts")).format(concept=found.concept)
    wanted = [concept_id for concept_id in set(concept_ids) if abs(concept_id) <= _LARGEST_BIGINT]
    rows = cursor.execute(query, {"concept_ids": array_literal(wanted)})
    return {concept.concept_id: concept for concept in rows}


def concept_by_code(
    connection: psycopg.Connection[Any], vocabulary_id: str, concept_code: str
) -> Concept | None:
    """The concept that a vocabulary has under a code, None where it has none.

    The vocabulary may be written in any case. Where a code was given to several concepts, a valid and
    standard one goes before others, then the lowest id.
    """
    found = vocabulary_tables(connection)
    if found is None:
        return None
    query = SQL(read("vocabulary_concept_by_code")).format(concept=found.concept)
    cursor = connection.cursor(row_factory=class_row(Concept))
    parameters = {"vocabulary_id": vocabulary_id, "concept_code": concept_code}
    return cursor.execute(query, parameters).fetchone()


def existing_values(connection: psycopg.Connection[Any], kind: str) -> list[str]:
    """The values of a kind ("domain", "vocabulary" or "concept class") that the vocabulary knows, sorted.

    [] where no vocabulary is loaded.
    """
    defining, column = _KINDS[kind]
    found = vocabulary_tables(connection)
    if found is None:
        return []
    cursor = connection.cursor(row_factory=tuple_row)
    if found.release_id is not None:
        rows = cursor.execute(
            "select value from omop_emb.vocabulary_value where release_id = %s and kind = %s",
            (found.release_id, kind),
        )
    else:
        sources = [found.concept, *filter(None, [getattr(found, defining)])]
        each = SQL("select distinct {column} from {table} where {column} <> ''")
        selects = [each.format(column=Identifier(column), table=source) for source in sources]
        rows = cursor.execute(SQL(" union ").join(selects))
    return sorted(value for (value,) in rows)


def check_filter(connection: psycopg.Connection[Any], concept_filter: ConceptFilter) -> None:
    """Let a filter pass if the vocabulary knows the domains, vocabularies and classes that it names.

    Raises:
        UnknownValueError: it does not know one, and names the nearest that it knows.
    """
    wanted: Mapping[str, tuple[str, ...] | None] = {
        "domain": concept_filter.domains,
        "vocabulary": concept_filter.vocabularies,
        "concept class": concept_filter.concept_classes,
    }
    for kind, values in wanted.items():
        if values:
            known = existing_values(connection, kind)
            for value in values:
                if value not in known:
                    raise UnknownValueError(kind, value, closest_values(value, known))


def closest_values(value: str, known: Iterable[str]) -> list[str]:
    """Up to three of the known values that are spelled most like a value, best first, whatever their case."""
    spellings: dict[str, str] = {}
    for name in known:
        spellings.setdefault(name.casefold(), name)
    close = difflib.get_close_matches(value.strip().casefold(), spellings, n=3, cutoff=0.5)
    return [spellings[name] for name in close]


def _tables_of_schema(connection: psycopg.Connection[Any], schema: str) -> VocabularyTables:
    columns = _columns_of_schema(connection, schema)
    if "concept" not in columns:
        raise VocabularyError(
            f"schema {schema!r} (OMOP_EMB_VOCABULARY_SCHEMA) has no table concept in database "
            f"{connection.info.dbname!r}: name the schema that holds the vocabulary, or unset the variable"
        )
    for layout in LAYOUTS:
        missing = [name for name in layout.required if name not in columns.get(layout.name, layout.required)]
        if missing:
            raise VocabularyError(
                f"table {schema}.{layout.name} has no column {' and '.join(missing)}: "
                "omop-emb reads the tables of OMOP CDM 5"
            )
    found = {layout.name: Identifier(schema, layout.name) for layout in LAYOUTS if layout.name in columns}
    version = None
    if "vocabulary" in found:
        cursor = connection.cursor(row_factory=tuple_row)
        row = cursor.execute(
            SQL(read("vocabulary_version")).format(vocabulary=found["vocabulary"])
        ).fetchone()
        version = row[0] if row is not None else None
    return VocabularyTables(
        schema=schema,
        release_id=None,
        version=version,
        concept=found["concept"],
        **{layout.name: found.get(layout.name) for layout in LAYOUTS if layout.name != "concept"},
    )


def _columns_of_schema(connection: psycopg.Connection[Any], schema: str) -> dict[str, list[str]]:
    cursor = connection.cursor(row_factory=tuple_row)
    parameters = {"schema": schema, "tables": [layout.name for layout in LAYOUTS]}
    return dict(cursor.execute(read("vocabulary_schema_columns"), parameters).fetchall())


def _status_of_release(connection: psycopg.Connection[Any], found: VocabularyTables) -> VocabularyStatus:
    release = connection.cursor(row_factory=dict_row).execute(read("vocabulary_release"), (found.release_id,))
    files = connection.cursor(row_factory=tuple_row).execute(
        "select table_name, row_count from omop_emb.vocabulary_file where release_id = %s",
        (found.release_id,),
    )
    counts: dict[str, int] = dict(files.fetchall())
    return VocabularyStatus(
        schema=found.schema,
        version=found.version,
        rows={layout.name: counts[layout.name] for layout in LAYOUTS if layout.name in counts},
        has_trigrams=_has_trigrams(connection, found.schema, f"concept_{found.release_id}"),
        **(release.fetchone() or {}),
    )


def _status_of_schema(connection: psycopg.Connection[Any], found: VocabularyTables) -> VocabularyStatus:
    cursor = connection.cursor(row_factory=tuple_row)
    query = SQL(read("vocabulary_count_concepts")).format(concept=found.concept)
    concept_count, blank_names = cursor.execute(query).fetchone() or (0, 0)
    there = [layout.name for layout in LAYOUTS if getattr(found, layout.name) is not None]
    return VocabularyStatus(
        schema=found.schema,
        version=found.version,
        source=None,
        loaded_at=None,
        rows={name: concept_count if name == "concept" else None for name in there},
        blank_names=blank_names,
        has_trigrams=_has_trigrams(connection, found.schema, "concept"),
    )


def _has_trigrams(connection: psycopg.Connection[Any], schema: str, table: str) -> bool:
    cursor = connection.cursor(row_factory=tuple_row)
    row = cursor.execute(read("vocabulary_has_trigrams"), {"schema": schema, "table": table}).fetchone()
    return row is not None and bool(row[0])
