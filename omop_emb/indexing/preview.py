"""What a build would find, read without writing anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Unpack

import psycopg
from sqlalchemy import Engine

from omop_emb.database import migrations
from omop_emb.errors import MigrationError
from omop_emb.indexing.difference import BuildPlan, preview_plan
from omop_emb.indexing.connections import open_connection
from omop_emb.indexing.vector_indexes import IndexSettings
from omop_emb.records import Fingerprint, IndexType
from omop_emb.spaces import lifecycle, registry
from omop_emb.spaces.lifecycle import SpaceSettings
from omop_emb.spaces.recipe import Recipe, filter_from_json
from omop_emb.spaces.registry import Space


@dataclass(frozen=True)
class BuildPreview:
    """What a build would find.

    Attributes:
        space: that it would work on; where it is not there yet, as it would be made.
        plan: what there is to do.
        sample: up to 1,000 of the different texts to embed, templates filled in, without a prefix.
    """

    space: Space
    plan: BuildPlan
    sample: list[str]


def preview_build(
    engine: Engine,
    fingerprint: Fingerprint,
    index_type: IndexType,
    parts: dict[str, Any],
    *,
    limit: int | None = None,
    partial: str | None = None,
    **made: Unpack[SpaceSettings],
) -> BuildPreview:
    """What a build would find.

    Nothing is written, and the right to read is enough: a space that is not there is only proposed.

    Args:
        engine: the database.
        fingerprint: of the model that would embed.
        index_type: FLAT or HNSW.
        parts: of the recipe, as for recipe_of().
        limit: only so many concepts, those with the lowest ids.
        partial: which domains shall have an index of their own, as build_index(); None is as the space is.
        made: what the space would be made with, as for spaces_lifecycle.proposed().

    Raises:
        VocabularyError, UnknownValueError, SpaceError, DatabaseError: as build_index().
        MigrationError: the schema is of an older version, which cannot be read.
    """
    with open_connection(engine) as connection:
        connection.execute("set transaction read only")
        if registry.registry_exists(connection) and migrations.pending_migrations(connection):
            raise MigrationError(
                "nothing may be written now, and the schema omop_emb is of an older version: "
                "run omop-emb db migrate first"
            )
        space = lifecycle.propose_space(connection, fingerprint, index_type, **made)
        space = replace(space, partial=IndexSettings.asked(space, None, partial).partial)
        found, sample = preview_plan(connection, space, resolve_recipe(connection, space, parts), limit=limit)
    return BuildPreview(space, found, sample)


def resolve_recipe(connection: psycopg.Connection[Any], space: Space, parts: dict[str, Any]) -> Recipe:
    """A recipe of the parts that are not None, and for the rest of what the space was last built from."""
    recorded: dict[str, Any] = {}
    row = None
    if space.is_there:
        row = connection.execute(
            "select selection from omop_emb.space where space_id = %s", (space.space_id,)
        ).fetchone()
    if row is not None and row[0] is not None:
        recorded = {
            "texts": space.texts,
            "template": space.template,
            "synonym_languages": space.synonym_languages,
            "concept_filter": filter_from_json(row[0]),
        }
    return Recipe(**{**recorded, **{part: value for part, value in parts.items() if value is not None}})
