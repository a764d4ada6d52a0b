"""Build plans: previewed without writing, or applied as far as no model is needed, and partitioned."""

from __future__ import annotations

from dataclasses import dataclass, replace

from psycopg import sql
from sqlalchemy import Engine

from omop_emb.database import migrations
from omop_emb.database.fetch import fetch_value
from omop_emb.errors import MigrationError, SpaceError
from omop_emb.indexing import batch_job_table
from omop_emb.indexing.build_options import RecipeChange, SpaceOptions, resolve_recipe
from omop_emb.indexing.builders import Builder, has_other_builders, limit_idle_time
from omop_emb.indexing.connections import Connection, open_connection
from omop_emb.indexing.difference import (
    BuildPlan,
    check_recipe,
    create_plan_tables,
    preview_plan,
    sibling_rows,
)
from omop_emb.indexing.shrink import check_loss, describe_loss
from omop_emb.records import Fingerprint, IndexType
from omop_emb.search.build_hnsw import memory_limit_bytes
from omop_emb.search.vector_indexes import IndexSettings
from omop_emb.spaces import lifecycle, registry
from omop_emb.spaces.registry import Space
from omop_emb.spaces.upsert import record_write
from omop_emb.sql import read
from omop_emb.vocabulary import reader


@dataclass(frozen=True)
class BuildPreview:
    """What a build would do."""

    space: Space  # that it would build, which need not exist yet
    plan: BuildPlan
    sample: list[str]  # up to 1,000 of the distinct texts to embed, templates filled in, without a prefix
    vocabulary_concepts: int  # of the whole vocabulary, standard or not
    index_memory_limit_bytes: int  # the most that building an index may take


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
                "the schema omop_emb is from an older version, and a dry run must not change it: run "
                "omop-emb db migrate first"
            )
        proposed = lifecycle.propose_space(connection, fingerprint, index_type, **space.new_space)
        proposed = replace(proposed, partial=IndexSettings.resolve(proposed, None, space.partial).partial)
        resolved = resolve_recipe(connection, proposed, recipe)
        plan, sample = preview_plan(connection, proposed, resolved, limit=limit)
        if proposed.exists:
            plan = replace(plan, loss=describe_loss(connection, proposed, resolved, plan))
        concepts = fetch_value(
            connection,
            sql.SQL("select count(*) from {}").format(reader.require_vocabulary(connection).concept),
        )
        return BuildPreview(proposed, plan, sample, concepts, memory_limit_bytes(connection))


def plan_build(connection: Connection, builder: Builder) -> BuildPlan:
    """Plan a build in the caller's transaction, or join the one that other builders work on.

    An abandoned build is planned anew: what it has written counts as unchanged. It is a SpaceError if others
    build the space with other settings, and a ShrinkError if the space would lose too much.
    """
    space, recipe, limit = builder.space, builder.recipe, builder.options.limit
    limit_idle_time(connection, builder)
    lifecycle.lock_build(connection, space)
    settings = f"{recipe.settings} {builder.indexes}" + ("" if limit is None else f" limit {limit}")
    if has_other_builders(connection, builder):
        joined = _join(connection, space, settings)
        if joined is not None:
            return joined
    discard_plan(connection, space)
    batch_job_table.delete_cancelled(connection, space)
    vocabulary = check_recipe(connection, recipe)
    plan = create_plan_tables(connection, vocabulary, space, recipe, limit)
    plan = replace(plan, loss=describe_loss(connection, space, recipe, plan))
    check_loss(plan, allow_shrink=builder.options.allow_shrink)
    _apply_without_model(connection, space, plan)
    _partition(connection, space, builder.options.texts_per_chunk)
    connection.execute(
        "insert into omop_emb.build (space_id, settings, vocabulary_release, release_id, lease_until) "
        "values (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))",
        (space.space_id, settings, vocabulary.version, vocabulary.release_id, builder.options.lease_seconds),
    )
    connection.execute(
        _query("build_insert_chunks", space=sql.Literal(space.space_id), work=space.tables.work)
    )
    return plan


def discard_plan(connection: Connection, space: Space) -> None:
    """Delete the plan of a build; the rows that it has written stay."""
    connection.execute("delete from omop_emb.build where space_id = %s", (space.space_id,))
    connection.execute(sql.SQL("drop table if exists {}").format(space.tables.work))


def _apply_without_model(connection: Connection, space: Space, plan: BuildPlan) -> None:
    """Update details, delete withdrawn concepts and copy vectors that the database already has."""
    rows, texts = space.tables.rows, space.tables.texts
    connection.execute(_query("build_update_concepts", rows=rows, texts=texts))
    for table in (rows, texts):
        connection.execute(_query("build_delete_withdrawn", table=table))
    if plan.reused:
        for number, source in enumerate((sibling_rows(connection, space), rows)):
            connection.execute(
                _query(
                    "build_copy_vectors", rows=rows, texts=texts, source=source, number=sql.Literal(number)
                )
            )
    if plan.updated or plan.withdrawn or plan.reused:
        record_write(connection, space)


def _partition(connection: Connection, space: Space, chunk_texts: int) -> None:
    """Write the texts to embed into the work table, partitioned into chunks."""
    work = space.tables.work
    connection.execute(
        _query(
            "build_partition",
            work=work,
            chunk_texts=sql.Literal(chunk_texts),
            space=sql.Literal(space.space_id),
            key=batch_job_table.text_key_sql(connection, space),
        )
    )
    connection.execute(sql.SQL("create index on {} (chunk)").format(work))
    connection.execute(sql.SQL("analyze {}").format(work))


def _query(name: str, **parts: sql.Composable) -> sql.Composed:
    return sql.SQL(read(name)).format(**parts)


def _join(connection: Connection, space: Space, settings: str) -> BuildPlan | None:
    """What is left of the current build; None if it has just ended."""
    row = connection.execute(
        "select b.settings, b.vocabulary_release, coalesce(sum(c.texts), 0)::bigint, "
        "coalesce(sum(c.characters), 0)::bigint "
        "from omop_emb.build b left join omop_emb.build_chunk c using (space_id) where b.space_id = %s "
        "group by b.space_id",
        (space.space_id,),
    ).fetchone()
    if row is None:
        return None
    current_settings, release, texts, characters = row
    if current_settings != settings:
        raise SpaceError(
            f"space {space.name!r} is being built with other settings: wait until that build ends, "
            "or stop it and run this again"
        )
    return BuildPlan(release, to_embed=texts, distinct_texts=texts, characters=characters, joined=True)
