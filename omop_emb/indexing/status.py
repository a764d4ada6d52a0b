"""What is known of each space besides its settings: rows, sizes, its index, whether it is being built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from omop_emb.indexing.vector_indexes import existing_indexes, index_state
from omop_emb.records import IndexType
from omop_emb.spaces import registry
from omop_emb.spaces.registry import Space
from omop_emb.sql import read


@dataclass(frozen=True, kw_only=True)
class SpaceStatus:
    """A space and its state.

    Attributes:
        space: the space.
        selection: which concepts it was last built from, without what sets no limit; None before a build.
        rows, concepts: embedded texts, and the concepts that they belong to.
        table_bytes, index_bytes: on disk; the vector indexes alone are index_bytes.
        partial_domains: names of the domains that have an index of their own.
        index: "valid", "invalid" (run index build to mend it), "none", or "exact" for a FLAT space.
        waiting: different texts that a build has yet to embed; None where none is under way or broken off.
        builders: how many builders hold pieces of it.
        failed: texts that the model refused.
        batch_jobs: that a provider works on for it, or that wait to be collected.
    """

    space: Space
    selection: dict[str, Any] | None
    rows: int
    concepts: int
    table_bytes: int
    index_bytes: int
    partial_domains: tuple[str, ...]
    index: str
    waiting: int | None
    builders: int
    failed: int
    batch_jobs: int


def space_status(connection: psycopg.Connection[Any], space: Space) -> SpaceStatus:
    """A space's state, counted now."""
    row = connection.execute(
        sql.SQL(read("space_status")).format(rows=space.tables.rows),
        {
            "space": space.space_id,
            "rows": space.tables.rows.as_string(connection),
            "texts": space.tables.texts.as_string(connection),
            "domains": list(space.partial_domains),
        },
    ).fetchone()
    assert row is not None  # noqa: S101 - a select without from has one row
    selection, rows, concepts, table_bytes, partial_domains, waiting, builders, failed, batch_jobs = row
    return SpaceStatus(
        space=space,
        selection=selection,
        rows=rows,
        concepts=concepts,
        table_bytes=table_bytes,
        index_bytes=sum(index.bytes for index in existing_indexes(connection, space)),
        partial_domains=tuple(partial_domains),
        index="exact" if space.index_type is IndexType.FLAT else index_state(connection, space),
        waiting=waiting,
        builders=builders,
        failed=failed,
        batch_jobs=batch_jobs,
    )


def space_statuses(connection: psycopg.Connection[Any]) -> list[SpaceStatus]:
    """The state of each space, oldest first."""
    return [space_status(connection, space) for space in registry.all_spaces(connection)]
