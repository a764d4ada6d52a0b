"""The end of a build: what is obsolete leaves, the index is made, readers may come."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import psycopg
from psycopg import sql

from omop_emb.indexing.build_plan import discard_plan
from omop_emb.indexing.builders import Builder, limit_idle_time
from omop_emb.indexing.difference import require_vocabulary
from omop_emb.indexing.vector_indexes import IndexSettings, reconcile_indexes
from omop_emb.spaces import lifecycle, registry, row_counts
from omop_emb.spaces.recipe import Recipe, filter_to_json
from omop_emb.spaces.registry import Space
from omop_emb.spaces.upsert import record_write
from omop_emb.sql import read


class FinishState(Enum):
    """How far a build is."""

    DONE = "finished here"
    WAIT = "other builders hold pieces of it"
    GONE = "finished or given up elsewhere"


@dataclass(frozen=True)
class FinishResult:
    """What finishing a build did.

    Attributes:
        outcome: DONE, or why nothing was done.
        index_made: whether an HNSW index was made.
        activated: whether the space became the active one, as there was none.
        release_changed: whether another vocabulary release was loaded since the build was planned.
    """

    outcome: FinishState
    index_made: bool = False
    activated: bool = False
    release_changed: bool = False


def finish_build(
    connection: psycopg.Connection[Any],
    space: Space,
    recipe: Recipe,
    indexes: IndexSettings,
    builder: Builder,
    *,
    is_whole: bool,
    on_begin: Callable[[], None],
) -> FinishResult:
    """Finish a build whose pieces are all written; the caller commits, and readers see all of it or nothing.

    Args:
        connection: in whose transaction it happens.
        space: what was built.
        recipe: what it was built from.
        indexes: which vector indexes it is to have.
        builder: who finishes it.
        is_whole: False for a build that was limited to some first concepts; no release is recorded then.
        on_begin: is called if all pieces are written, before what takes time.
    """
    limit_idle_time(connection, builder)
    lifecycle.lock_build(connection, space)
    row = connection.execute(
        "select vocabulary_release, release_id from omop_emb.build where space_id = %s", (space.space_id,)
    ).fetchone()
    if row is None:
        return FinishResult(FinishState.GONE)
    left = connection.execute(
        "select exists (select from omop_emb.build_chunk where space_id = %s)", (space.space_id,)
    ).fetchone()
    if left is None or left[0]:
        return FinishResult(FinishState.WAIT)
    on_begin()
    release, planned_id = row
    deleted = 0
    for table in (space.tables.rows, space.tables.texts):
        statement = sql.SQL(read("build_delete_obsolete")).format(table=table, work=space.tables.work)
        deleted += connection.execute(statement).rowcount
    if deleted:
        record_write(connection, space)
    connection.execute(
        sql.SQL(read("build_clear_failures")).format(texts=space.tables.texts), {"space": space.space_id}
    )
    connection.execute(
        "update omop_emb.space set texts = %(texts)s, template = %(template)s, "
        "synonym_languages = %(languages)s, selection = %(selection)s, "
        "vocabulary_release = case when %(whole)s then %(release)s else vocabulary_release end "
        "where space_id = %(space)s",
        {
            "texts": recipe.texts,
            "template": recipe.template,
            "languages": list(recipe.synonym_languages),
            "selection": json.dumps(filter_to_json(recipe.concept_filter)),
            "whole": is_whole,
            "release": release,
            "space": space.space_id,
        },
    )
    discard_plan(connection, space)
    connection.execute(sql.SQL("analyze {}, {}").format(space.tables.rows, space.tables.texts))
    row_counts.recount_rows(connection, space)
    index_made = reconcile_indexes(connection, space, indexes)
    had_active = any(other.is_active for other in registry.all_spaces(connection))
    lifecycle.activate_space(connection, space, only_if_none_is=True)
    return FinishResult(
        FinishState.DONE,
        index_made=index_made,
        activated=not had_active,
        release_changed=require_vocabulary(connection).release_id != planned_id,
    )
