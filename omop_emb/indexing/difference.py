"""The difference between a vocabulary and a space, found inside the database.

Nothing is compared on the client: names, synonyms and hashes are worked out in SQL, so that ten million
concepts cost a build no memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from omop_emb.errors import VocabularyError
from omop_emb.spaces import registry
from omop_emb.spaces.recipe import Recipe, template_sql, texts_query
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import KEY_COLUMNS, TEXT_COLUMNS
from omop_emb.sql import read
from omop_emb.vocabulary import reader

_TABLES = ("desired_texts", "missing_texts", "surplus_texts", "reusable_vectors")
_SAMPLE_TEXTS = 1000
# In place of the tables of a space that is not there yet.
_NO_ROWS = sql.SQL(
    "(select 0 as concept_id, ''::\"char\" as text_kind, 0::bigint as text_hash{} where false)"
)
_NO_TEXTS = _NO_ROWS.format(
    sql.SQL("").join(
        sql.SQL(", null::text as {}").format(sql.Identifier(column))
        for column in TEXT_COLUMNS
        if column not in KEY_COLUMNS
    )
)


@dataclass(frozen=True)
class BuildPlan:
    """What a build changes, in texts (rows of the space) unless said otherwise.

    Attributes:
        vocabulary_release: the release that is built from; None where the vocabulary does not say.
        unchanged: there already, with their vectors.
        to_embed: missing, so that a vector is needed.
        to_embed_different: how many different texts these are; each is embedded once.
        characters: of the different texts.
        new_concepts: concepts of which the space has no text yet.
        changed_concepts: concepts of which the space has some texts and lacks others.
        reused: missing, but their vector stands in this database already.
        updated: rows of concepts whose name, domain, class, code, standard flag or validity changed.
        withdrawn_concepts: concepts that leave the space.
        withdrawn: their texts.
        obsolete: texts that are no longer among those of their concept; they leave at the end.
        domain_rows: texts that the space has afterwards, by their concept's domain ("" where it has none).
        joined: whether other builders are at this build already; what is left to do is counted then.
    """

    vocabulary_release: str | None
    unchanged: int = 0
    to_embed: int = 0
    to_embed_different: int = 0
    characters: int = 0
    new_concepts: int = 0
    changed_concepts: int = 0
    reused: int = 0
    updated: int = 0
    withdrawn_concepts: int = 0
    withdrawn: int = 0
    obsolete: int = 0
    domain_rows: Mapping[str, int] = field(default_factory=dict)
    joined: bool = False


def create_plan_tables(
    connection: psycopg.Connection[Any],
    tables: reader.VocabularyTables,
    space: Space,
    recipe: Recipe,
    limit: int | None,
) -> BuildPlan:
    """Fill the temporary tables of _TABLES, create the view texts_to_embed, and count.

    All is read from the vocabulary's `tables`, those of one release, whatever is loaded meanwhile.
    """
    connection.execute("drop view if exists pg_temp.texts_to_embed")
    connection.execute(
        "drop table if exists pg_temp.desired_texts, pg_temp.missing_texts, pg_temp.surplus_texts, "
        "pg_temp.reusable_vectors"
    )
    places = {name: sql.Identifier("pg_temp", name) for name in (*_TABLES, "texts_to_embed")}
    parts = _parts(connection, tables, space, recipe, limit, places)
    for name in _TABLES:
        connection.execute(
            sql.SQL("create temporary table {} on commit drop as {}").format(
                sql.Identifier(name), parts[name]
            )
        )
        connection.execute(sql.SQL("analyze {}").format(places[name]))
    connection.execute(read("build_insert_labels"))
    connection.execute(sql.SQL("create temporary view texts_to_embed as {}").format(parts["texts_to_embed"]))
    row = connection.execute(parts["counts"]).fetchone()
    assert row is not None  # noqa: S101 - aggregates have one row
    return BuildPlan(tables.version, *row)


def preview_plan(
    connection: psycopg.Connection[Any], space: Space, recipe: Recipe, *, limit: int | None = None
) -> tuple[BuildPlan, list[str]]:
    """What fill_tables() would find, and a sample of the texts to embed; the right to read is enough.

    The space need not be there (see spaces_lifecycle.proposed). The sample is of up to 1,000 different texts,
    templates filled in, without a prefix; the same ones each time.

    Raises:
        VocabularyError, UnknownValueError: as check().
    """
    tables = check_recipe(connection, recipe)
    places = {name: sql.Identifier(name) for name in (*_TABLES, "texts_to_embed")}
    parts = _parts(connection, tables, space, recipe, limit, places)
    statement = sql.SQL(
        "with {}, counts as ({}) select counts.*, sample.* from counts, ({}) as sample"
    ).format(
        sql.SQL(", ").join(
            sql.SQL("{} as materialized ({})").format(places[name], parts[name]) for name in places
        ),
        parts["counts"],
        sql.SQL(read("build_sample_texts")).format(texts=sql.Literal(_SAMPLE_TEXTS)),
    )
    row = connection.execute(statement).fetchone()
    assert row is not None  # noqa: S101 - aggregates have one row
    *counts, sample = row
    return BuildPlan(tables.version, *counts), sample or []


def check_recipe(connection: psycopg.Connection[Any], recipe: Recipe) -> reader.VocabularyTables:
    """Where the vocabulary stands, if a build can start from the recipe.

    Raises:
        VocabularyError: there is no vocabulary.
        UnknownValueError: the filter names what the vocabulary does not have.
    """
    tables = require_vocabulary(connection)
    reader.check_filter(connection, recipe.concept_filter)
    return tables


def require_vocabulary(connection: psycopg.Connection[Any]) -> reader.VocabularyTables:
    """Where the vocabulary stands that a build would read now; after a load, that is another release.

    Raises:
        VocabularyError: there is none.
    """
    tables = reader.vocabulary_tables(connection)
    if tables is None:
        raise VocabularyError("no vocabulary is loaded: run omop-emb vocabulary load PATH")
    return tables


def sibling_rows(connection: psycopg.Connection[Any], space: Space) -> sql.Composable:
    """The rows of the other space of the same fingerprint; the space's own where there is none."""
    for other in registry.all_spaces(connection):
        if other.fingerprint == space.fingerprint and other.space_id != space.space_id:
            return other.tables.rows
    return space.tables.rows if space.is_there else _NO_ROWS.format(sql.SQL(""))


def _parts(
    connection: psycopg.Connection[Any],
    tables: reader.VocabularyTables,
    space: Space,
    recipe: Recipe,
    limit: int | None,
    places: dict[str, sql.Identifier],
) -> dict[str, sql.Composed]:
    """The queries whose results are called as `places` says, each of which reads those before it."""
    texts = space.tables.texts if space.is_there else _NO_TEXTS
    # Of a space that holds more than the first few concepts, a build of these leaves the rest as it is.
    limited: sql.Composable = sql.SQL("true")
    if limit is not None:
        limited = sql.SQL("t.concept_id <= (select max(concept_id) from {desired_texts})").format(**places)
    names: dict[str, sql.Composable] = {
        **places,
        "texts": texts,
        "concept": tables.concept,
        "input": template_sql(recipe.template),
        "limited": limited,
        "sibling_rows": sibling_rows(connection, space),
    }
    queries = {
        name: sql.SQL(read(f"build_{name}")).format(**names)
        for name in ("missing_texts", "surplus_texts", "reusable_vectors", "texts_to_embed", "counts")
    }
    desired = texts_query(recipe, concept=tables.concept, concept_synonym=tables.concept_synonym, limit=limit)
    return {"desired_texts": desired, **queries}
