"""Build finish: obsolete rows are deleted, indexes are created, and the space is ready for readers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Engine

from omop_emb.errors import DatabaseError
from omop_emb.indexing.build_plan import discard_plan
from omop_emb.indexing.builders import Builder, limit_idle_time
from omop_emb.indexing.connections import open_connection
from omop_emb.indexing.difference import require_vocabulary
from omop_emb.indexing.vector_indexes import IndexSettings, reconcile_indexes
from omop_emb.spaces import lifecycle, row_counts
from omop_emb.spaces.recipe import Recipe, filter_to_json
from omop_emb.spaces.registry import Space
from omop_emb.spaces.upsert import record_write
from omop_emb.sql import read

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinishResult:
    """What finish_build() did.

    Attributes:
        is_waiting: whether other builders still hold chunks; nothing was done then.
        index_made: whether an HNSW index was created.
        release_changed: whether another vocabulary release was loaded since the build was planned.
    """

    is_waiting: bool = False
    index_made: bool = False
    release_changed: bool = False


def finish_build(
    connection: psycopg.Connection[Any],
    space: Space,
    recipe: Recipe,
    indexes: IndexSettings,
    builder: Builder,
    *,
    is_limited: bool,
    on_begin: Callable[[], None],
) -> FinishResult:
    """Finish a build whose chunks are all written, or which another builder has finished, or wait.

    The caller commits, and readers see all of it or nothing. A build that is limited to some first concepts
    records no release. `on_begin` is called before what takes time.
    """
    limit_idle_time(connection, builder)
    lifecycle.lock_build(connection, space)
    build = connection.execute(
        "select vocabulary_release, release_id, exists ("
        "    select from omop_emb.build_chunk c where c.space_id = b.space_id"
        ") from omop_emb.build b where space_id = %s",
        (space.space_id,),
    ).fetchone()
    if build is None:
        return FinishResult()
    release, planned_id, has_chunks = build
    if has_chunks:
        return FinishResult(is_waiting=True)
    on_begin()
    _delete_obsolete(connection, space)
    _record_recipe(connection, space, recipe, release, is_limited)
    discard_plan(connection, space)
    index_made = prepare_for_readers(connection, space, indexes)
    return FinishResult(
        index_made=index_made, release_changed=require_vocabulary(connection).release_id != planned_id
    )


def prepare_for_readers(connection: psycopg.Connection[Any], space: Space, indexes: IndexSettings) -> bool:
    """Analyze and count a space's rows, create its indexes and activate it if no space is active.

    Returns:
        Whether an index was created.
    """
    connection.execute(sql.SQL("analyze {}, {}").format(space.tables.rows, space.tables.texts))
    row_counts.recount_rows(connection, space)
    index_made = reconcile_indexes(connection, space, indexes)
    lifecycle.activate_space(connection, space, only_if_none_is=True)
    return index_made


def vacuum(engine: Engine, space: Space) -> None:
    """Vacuum a space's tables, so that index-only scans need not visit rows; searches and writes go on.

    Optional: where it fails, or another process does it, the server's own vacuum will follow.
    """
    try:
        with open_connection(engine, autocommit=True) as connection:
            for table in (space.tables.rows, space.tables.texts):
                connection.execute(sql.SQL("vacuum (skip_locked) {}").format(table))
    except (psycopg.Error, DatabaseError) as error:
        logger.debug("space %s was not vacuumed: %s", space.name, type(error).__name__)


def _delete_obsolete(connection: psycopg.Connection[Any], space: Space) -> None:
    deleted = 0
    for table in (space.tables.rows, space.tables.texts):
        statement = sql.SQL(read("build_delete_obsolete")).format(table=table, work=space.tables.work)
        deleted += connection.execute(statement).rowcount
    if deleted:
        record_write(connection, space)
    statement = sql.SQL(read("build_clear_failures")).format(texts=space.tables.texts)
    connection.execute(statement, {"space": space.space_id})


def _record_recipe(
    connection: psycopg.Connection[Any], space: Space, recipe: Recipe, release: str | None, is_limited: bool
) -> None:
    connection.execute(
        "update omop_emb.space set texts = %(texts)s, template = %(template)s, "
        "synonym_languages = %(languages)s, selection = %(selection)s, "
        "vocabulary_release = case when %(limited)s then vocabulary_release else %(release)s end "
        "where space_id = %(space)s",
        {
            "texts": recipe.texts,
            "template": recipe.template,
            "languages": list(recipe.synonym_languages),
            "selection": json.dumps(filter_to_json(recipe.concept_filter)),
            "limited": is_limited,
            "release": release,
            "space": space.space_id,
        },
    )
