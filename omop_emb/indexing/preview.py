"""Build previews: what a build would do, read without writing anything."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Engine

from omop_emb.database import migrations
from omop_emb.errors import MigrationError
from omop_emb.indexing.build_options import RecipeChange, SpaceOptions, resolve_recipe
from omop_emb.indexing.connections import open_connection
from omop_emb.indexing.difference import BuildPlan, preview_plan
from omop_emb.indexing.vector_indexes import IndexSettings
from omop_emb.records import Fingerprint, IndexType
from omop_emb.spaces import lifecycle, registry
from omop_emb.spaces.registry import Space


@dataclass(frozen=True)
class BuildPreview:
    """What a build would do.

    Attributes:
        space: the space that it would build, which need not exist yet.
        plan: what there is to do.
        sample: up to 1,000 of the distinct texts to embed, templates filled in, without a prefix.
    """

    space: Space
    plan: BuildPlan
    sample: list[str]


def preview_build(
    engine: Engine,
    fingerprint: Fingerprint,
    *,
    index_type: IndexType,
    space: SpaceOptions | None = None,
    recipe: RecipeChange | None = None,
    limit: int | None = None,
) -> BuildPreview:
    """What build_index() would do with the model of that fingerprint. Read access is enough.

    Args:
        engine: the database.
        fingerprint: of the model.
        index_type: FLAT or HNSW.
        space: as for build_index().
        recipe: as for build_index().
        limit: count only so many concepts, those with the lowest ids.

    Raises:
        VocabularyError, UnknownValueError, SpaceError, DatabaseError: as build_index().
        MigrationError: the schema is of an older version, which cannot be read.
    """
    space = space or SpaceOptions()
    with open_connection(engine) as connection:
        connection.execute("set transaction read only")
        if registry.registry_exists(connection) and migrations.pending_migrations(connection):
            raise MigrationError(
                "the schema omop_emb is of an older version, and a preview must not change it: "
                "run omop-emb db migrate first"
            )
        proposed = lifecycle.propose_space(connection, fingerprint, index_type, **space.new_space)
        proposed = replace(proposed, partial=IndexSettings.resolve(proposed, None, space.partial).partial)
        plan, sample = preview_plan(
            connection, proposed, resolve_recipe(connection, proposed, recipe), limit=limit
        )
    return BuildPreview(proposed, plan, sample)
