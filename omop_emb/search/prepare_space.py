"""Space preparation: after a load, count rows, create indexes and measure their recall."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from omop_emb.database.fetch import fetch_value
from omop_emb.errors import SpaceError
from omop_emb.search.vector_indexes import IndexSettings, reconcile_indexes
from omop_emb.spaces import lifecycle, registry, row_counts
from omop_emb.spaces.registry import Space


def prepare_loaded_space(connection: psycopg.Connection[Any], space: Space) -> bool:
    """prepare_for_readers() of a space that was filled by upserts; nothing is committed.

    Whether an index was created. Two that prepare a space wait for each other. If a build of the space is not
    finished, SpaceError is raised: the build prepares it.
    """
    lifecycle.lock_build(connection, space)
    space = registry.space_by_name(connection, space.name)
    unfinished = "select exists (select from omop_emb.build where space_id = %s)"
    if fetch_value(connection, unfinished, (space.space_id,)):
        raise SpaceError(
            f"space {space.name!r} is being built, or its build was interrupted, and the build finishes it: "
            f"wait for it, or run {registry.build_command(space.name)}"
        )
    return prepare_for_readers(connection, space, IndexSettings.resolve(space, None, None))


def prepare_for_readers(connection: psycopg.Connection[Any], space: Space, indexes: IndexSettings) -> bool:
    """Analyze and count a space's rows, activate it if no space is, and reconcile_indexes()."""
    connection.execute(sql.SQL("analyze {}, {}").format(space.tables.rows, space.tables.texts))
    row_counts.recount_rows(connection, space)
    index_made = reconcile_indexes(connection, space, indexes)
    lifecycle.activate_space(connection, space, only_if_none_is=True)
    return index_made
