"""The life of a space: proposed, created, activated, dropped; nothing is committed."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from itertools import chain, count
from typing import Any, TypedDict, Unpack

import psycopg
from psycopg import sql

from omop_emb.errors import SpaceError, SpaceNotFoundError
from omop_emb.records import Fingerprint, IndexType
from omop_emb.spaces.registry import Space, all_spaces, space_by_name
from omop_emb.spaces.release import holds_release
from omop_emb.spaces.tables import check_hnsw_dimensions
from omop_emb.vocabulary.reader import VocabularyTables


class SpaceSettings(TypedDict, total=False):
    """What a new space may be created with; see Space."""

    name: str | None
    hnsw_m: int
    hnsw_ef_construction: int
    texts: str
    template: str
    synonym_languages: tuple[int, ...]
    first_pass: str
    partial: str


def propose_space(
    connection: psycopg.Connection,
    fingerprint: Fingerprint,
    index_type: IndexType,
    **settings: Unpack[SpaceSettings],
) -> Space:
    """The space of that fingerprint and index type, or the one that ensure_space() would create."""
    name = settings.pop("name", None)
    spaces = all_spaces(connection)
    for space in spaces:
        if space.fingerprint == fingerprint and space.index_type is index_type:
            if name not in (None, space.name):
                raise SpaceError(
                    f"this model, prefixes and index type are already in space {space.name!r}, not "
                    f"{name!r}: leave out --name, or drop that space first with omop-emb index drop "
                    f"{space.name}"
                )
            return space
    if index_type is IndexType.HNSW:
        check_hnsw_dimensions(fingerprint.dimensions, settings.get("first_pass", ""))
    taken = {space.name for space in spaces}
    if name in taken:
        raise SpaceError(
            f"space {name!r} was built with another model, prefixes or index type: choose another --name"
        )
    space = Space(
        space_id=0,
        name=name or _free_name(fingerprint, index_type, taken),
        fingerprint=fingerprint,
        index_type=index_type,
    )
    columns: dict[str, Any] = {**settings}
    return replace(space, **columns)


def ensure_space(
    connection: psycopg.Connection,
    fingerprint: Fingerprint,
    index_type: IndexType,
    *,
    with_index: bool = True,
    **settings: Unpack[SpaceSettings],
) -> tuple[Space, bool]:
    """The space of that fingerprint and index type, created if need be, and whether it was created.

    The schema must have been migrated. Nothing is committed. `with_index=False` leaves the vector index
    to be created after a bulk load.
    """
    space = propose_space(connection, fingerprint, index_type, **settings)
    if not space.exists:
        # Of two creators, the second waits here until the first has committed, and then finds the space.
        connection.execute("select pg_advisory_xact_lock(hashtext('omop_emb.space'))")
        space = propose_space(connection, fingerprint, index_type, **settings)
    if space.exists:
        return space, False
    columns = {
        **{name: getattr(space, name) for name in SpaceSettings.__annotations__},
        "synonym_languages": list(space.synonym_languages),
        **asdict(fingerprint),
        "fingerprint": fingerprint.digest,
        "index_type": index_type.value,
    }
    connection.execute(
        sql.SQL("insert into omop_emb.space ({}) values ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(map(sql.Placeholder, columns)),
        ),
        columns,
    )
    space = space_by_name(connection, space.name)
    space.tables.create(connection)
    if index_type is IndexType.HNSW and with_index:
        space.tables.create_hnsw(
            connection,
            m=space.hnsw_m,
            ef_construction=space.hnsw_ef_construction,
            first_pass=space.first_pass,
        )
        space = replace(space, has_index=True)
    return space, True


def lock_build(connection: psycopg.Connection, space: Space) -> None:
    """Wait until nobody plans or finishes a build of this space; held until the transaction ends."""
    connection.execute("select pg_advisory_xact_lock(hashtext('omop_emb.build'), %s)", (space.space_id,))


def activate_space(connection: psycopg.Connection, space: Space, *, only_if_none_is: bool = False) -> None:
    """Make a space the one that readers use.

    If it was dropped meanwhile, SpaceNotFoundError is raised, and the caller must roll back.
    """
    connection.execute("select pg_advisory_xact_lock(hashtext('omop_emb.space'))")
    if only_if_none_is and any(other.is_active for other in all_spaces(connection)):
        return
    connection.execute(
        "update omop_emb.space set is_active = false where is_active and space_id <> %s", (space.space_id,)
    )
    activated = connection.execute(
        "update omop_emb.space set is_active = true where space_id = %s", (space.space_id,)
    ).rowcount
    if not activated:
        space_by_name(connection, space.name)
        raise SpaceNotFoundError(f"space {space.name!r} was dropped and created again: run this again")


def activate_built(connection: psycopg.Connection, space: Space, tables: VocabularyTables) -> Space | None:
    """Activate a space that was built from these tables if the active one holds another release of its model.

    Returns:
        The space that was active until then; None if it stays, or none was.
    """
    connection.execute("select pg_advisory_xact_lock(hashtext('omop_emb.space'))")
    for active in all_spaces(connection):
        if active.is_active and active.fingerprint == space.fingerprint and active.space_id != space.space_id:
            if not holds_release(connection, active, tables):
                activate_space(connection, space)
                return active
    return None


def check_droppable(space: Space) -> None:
    """Raise SpaceError if the space is active."""
    if space.is_active:
        raise SpaceError(
            f"space {space.name!r} is active: run omop-emb index activate NAME with another space first"
        )


def drop_space(connection: psycopg.Connection, space: Space) -> None:
    """Drop a space with its rows and its build; raise SpaceError if it is active."""
    # In the order in which builders lock: build_chunk, then rows, then space_write.
    lock_build(connection, space)
    connection.execute("select pg_advisory_xact_lock(hashtext('omop_emb.space'))")
    current = space_by_name(connection, space.name)
    check_droppable(current)
    connection.execute("delete from omop_emb.build where space_id = %s", (current.space_id,))
    current.tables.drop(connection)
    connection.execute("delete from omop_emb.space where space_id = %s", (current.space_id,))


def _free_name(fingerprint: Fingerprint, index_type: IndexType, taken: set[str]) -> str:
    model = re.sub(r"[^A-Za-z0-9.]+", "-", fingerprint.model.rsplit("/", 1)[-1]).strip("-") or "space"
    base = f"{model}-{index_type.value}"
    names = chain([base], (f"{base}-{number}" for number in count(2)))
    return next(name for name in names if name not in taken)
