"""The plan of a build: what needs no vector is done at once, the rest is laid out as claimable pieces."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from omop_emb.errors import SpaceError
from omop_emb.indexing import batch_job_table
from omop_emb.indexing.builders import Builder, has_other_builders, limit_idle_time
from omop_emb.indexing.difference import BuildPlan, check_recipe, create_plan_tables, sibling_rows
from omop_emb.indexing.vector_indexes import IndexSettings
from omop_emb.spaces import lifecycle
from omop_emb.spaces.recipe import Recipe
from omop_emb.spaces.registry import Space
from omop_emb.spaces.upsert import record_write
from omop_emb.sql import read

CHUNK_TEXTS = 512  # a commit's worth, and what an interruption can cost


def plan_build(
    connection: psycopg.Connection[Any],
    space: Space,
    recipe: Recipe,
    builder: Builder,
    indexes: IndexSettings,
    *,
    limit: int | None = None,
    chunk_texts: int = CHUNK_TEXTS,
) -> BuildPlan:
    """Do what needs no vector and lay out the rest as claimable pieces; or join a build that is under way.

    Everything happens in the caller's transaction. A build that nobody is at is planned anew: what it has
    written is found as unchanged.

    Raises:
        SpaceError: others are building this space with other settings.
        VocabularyError: there is no vocabulary.
        UnknownValueError: the filter names what the vocabulary does not have.
    """
    limit_idle_time(connection, builder)
    lifecycle.lock_build(connection, space)
    settings = f"{recipe.settings} {indexes}" + ("" if limit is None else f" limit {limit}")
    joined = _join(connection, space, settings) if has_other_builders(connection, space, builder) else None
    if joined is not None:
        return joined
    discard_plan(connection, space)
    batch_job_table.delete_cancelled(connection, space)
    release = check_recipe(connection, recipe)
    found = create_plan_tables(connection, release, space, recipe, limit)
    tables = space.tables
    connection.execute(_query("build_update_concepts", rows=tables.rows, texts=tables.texts))
    for table in (tables.rows, tables.texts):
        connection.execute(_query("build_delete_withdrawn", table=table))
    if found.reused:
        for number, source in enumerate((sibling_rows(connection, space), tables.rows)):
            connection.execute(
                _query(
                    "build_copy_vectors",
                    rows=tables.rows,
                    texts=tables.texts,
                    source=source,
                    number=sql.Literal(number),
                )
            )
    if found.updated or found.withdrawn or found.reused:
        record_write(connection, space)
    work = tables.work
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
    connection.execute(
        "insert into omop_emb.build (space_id, settings, vocabulary_release, release_id, lease_until) "
        "values (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))",
        (space.space_id, settings, release.version, release.release_id, builder.lease_seconds),
    )
    connection.execute(_query("build_insert_chunks", space=sql.Literal(space.space_id), work=work))
    return found


def discard_plan(connection: psycopg.Connection[Any], space: Space) -> None:
    """Forget the plan of a build; what it has written stays."""
    connection.execute("delete from omop_emb.build where space_id = %s", (space.space_id,))
    connection.execute(sql.SQL("drop table if exists {}").format(space.tables.work))


def _query(name: str, **parts: sql.Composable) -> sql.Composed:
    return sql.SQL(read(name)).format(**parts)


def _join(connection: psycopg.Connection[Any], space: Space, settings: str) -> BuildPlan | None:
    row = connection.execute(
        "select b.settings, b.vocabulary_release, coalesce(sum(c.texts), 0)::bigint, "
        "coalesce(sum(c.characters), 0)::bigint "
        "from omop_emb.build b left join omop_emb.build_chunk c using (space_id) where b.space_id = %s "
        "group by b.space_id",
        (space.space_id,),
    ).fetchone()
    if row is None:
        return None
    found, release, texts, characters = row
    if found != settings:
        raise SpaceError(
            f"space {space.name!r} is being built with other settings just now: wait until that is done, "
            "or stop it and run this again"
        )
    return BuildPlan(release, to_embed=texts, to_embed_different=texts, characters=characters, joined=True)
