"""The vocabulary tables of a CDM's schema: which there are, and what to do about those that do not fit."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from omop_emb.database.fetch import fetch_value
from omop_emb.errors import VocabularyError
from omop_emb.records import MAX_CONCEPT_ID
from omop_emb.sql import read
from omop_emb.vocabulary.layout import LAYOUTS

_LOWER_CASE = (
    "omop-emb reads names in lower case: make views of them in another schema, as docs/how-to/cdm-schema.md "
    "shows, and set OMOP_EMB_VOCABULARY_SCHEMA to that schema"
)


def cdm_tables(connection: psycopg.Connection[Any], schema: str) -> dict[str, Identifier | None]:
    """Table name -> its table in the schema, None for one that the schema lacks; never for concept."""
    parameters = {"schema": schema, "tables": [layout.name for layout in LAYOUTS]}
    cursor = connection.cursor(row_factory=tuple_row)
    rows = cursor.execute(read("vocabulary_schema_columns"), parameters).fetchall()
    columns: dict[str, list[str]] = {table: names for table, names, _ in rows}
    renamed = [name for name in sorted(columns) if name.lower() not in columns]
    if renamed:
        raise VocabularyError(
            f"schema {schema!r} (OMOP_EMB_VOCABULARY_SCHEMA) has {_quoted(renamed)}: {_LOWER_CASE}"
        )
    if "concept" not in columns:
        raise VocabularyError(_without_concept(connection, schema))
    for layout in LAYOUTS:
        found = columns.get(layout.name, layout.columns)
        renamed = [name for name in found if name.lower() in layout.columns and name.lower() not in found]
        if renamed:
            raise VocabularyError(
                f"table {schema}.{layout.name} has columns {_quoted(renamed)}: {_LOWER_CASE}"
            )
        missing = [name for name in layout.required if name not in found]
        if missing:
            raise VocabularyError(
                f"table {schema}.{layout.name} has no column {' and '.join(missing)}: "
                "omop-emb reads the tables of OMOP CDM 5"
            )
    if any(may_be_large for table, _, may_be_large in rows if table == "concept"):
        _refuse_large_ids(connection, schema)
    return {
        layout.name: Identifier(schema, layout.name) if layout.name in columns else None for layout in LAYOUTS
    }


def _refuse_large_ids(connection: psycopg.Connection[Any], schema: str) -> None:
    query = SQL("select max(concept_id) from {}").format(Identifier(schema, "concept"))
    largest = fetch_value(connection, query)
    if largest is not None and largest > MAX_CONCEPT_ID:
        raise VocabularyError(
            f"table {schema}.concept has concept {largest}, but a concept id is at most {MAX_CONCEPT_ID}: "
            "renumber it, or leave it out by a view, see docs/how-to/cdm-schema.md"
        )


def _without_concept(connection: psycopg.Connection[Any], schema: str) -> str:
    query = "select nspname from pg_namespace where lower(nspname) = lower(%s) order by nspname"
    cursor = connection.cursor(row_factory=tuple_row)
    schemas = [name for (name,) in cursor.execute(query, (schema.strip('"'),))]
    database = connection.info.dbname
    if schemas and schema not in schemas:
        return (
            f"there is no schema {schema!r} (OMOP_EMB_VOCABULARY_SCHEMA) in database {database!r}, but "
            f"{schemas[0]!r}: set the variable to that, without quotation marks"
        )
    return (
        f"schema {schema!r} (OMOP_EMB_VOCABULARY_SCHEMA) has no table concept in database "
        f"{database!r}: name the schema that holds the vocabulary, or unset the variable"
    )


def _quoted(names: list[str]) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
