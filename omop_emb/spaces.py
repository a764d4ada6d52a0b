"""The registry of embedding spaces: find, make, activate and drop them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypedDict, Unpack

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from omop_emb.errors import SpaceError, SpaceNotFoundError
from omop_emb.records import Fingerprint, IndexType
from omop_emb.sql import read
from omop_emb.tables import SpaceTables, check_hnsw_dimensions

DEFAULT_TEXTS = "name+synonyms"
ENGLISH = 4180186  # OMOP's concept id of the English language

Recall = tuple[tuple[int, int, float], ...]

_BUILD_HINT = "run omop-emb index build"


class Settings(TypedDict, total=False):
    """What a space is made with; see Space."""

    name: str | None
    hnsw_m: int
    hnsw_ef_construction: int
    texts: str
    template: str
    synonym_languages: tuple[int, ...]
    first_pass: str


@dataclass(frozen=True, kw_only=True)
class Space:
    """An embedding space as the registry records it.

    Attributes:
        space_id: its number, from 1; 0 for one that is not there yet (see proposed).
        texts: which texts of a concept are embedded: "name", "name+synonyms" or "name+synonyms+codes".
        template: what is made of each text before it is embedded; "" leaves it as it is.
        vocabulary_release: the release that the rows were last brought up to; None before a build.
        first_pass: what the HNSW index is over: "" the vectors, a number its first dimensions, "binary"
            the signs of their values.
        partial: which domains should have an HNSW index of their own: "auto", "none", or their names.
        partial_domains: codes of the domains that have one.
        recall: what was measured of the HNSW index, as (k, ef_search, recall at k); empty if nothing was.
        partial_recall: the same of the domains' own indexes, by the domain's code.
        has_index: whether its HNSW index is there.
        is_whole: False while its first build is not finished: some of its concepts are missing.
    """

    space_id: int
    name: str
    fingerprint: Fingerprint
    index_type: IndexType
    hnsw_m: int
    hnsw_ef_construction: int
    texts: str
    template: str
    synonym_languages: tuple[int, ...]
    vocabulary_release: str | None
    is_active: bool
    first_pass: str = ""
    partial: str = "auto"
    partial_domains: tuple[int, ...] = ()
    recall: Recall = ()
    partial_recall: Mapping[int, Recall] = field(default_factory=dict)
    has_index: bool = False
    is_whole: bool = True

    @property
    def is_there(self) -> bool:
        """Whether it has been made."""
        return self.space_id > 0

    @property
    def tables(self) -> SpaceTables:
        """The space's own tables."""
        return SpaceTables(self.space_id, self.fingerprint.dimensions)


def exists(connection: psycopg.Connection) -> bool:
    """Whether the registry is there at all; a fresh database has none."""
    row = connection.execute("select to_regclass('omop_emb.space') is not null").fetchone()
    return row is not None and bool(row[0])


def listed(connection: psycopg.Connection) -> list[Space]:
    """All spaces, oldest first; none in a fresh database."""
    if not exists(connection):
        return []
    with connection.cursor(row_factory=dict_row) as cursor:
        return [_space(row) for row in cursor.execute(read("spaces"))]


def find(connection: psycopg.Connection, fingerprint: Fingerprint, index_type: IndexType) -> Space | None:
    """The space that bears a fingerprint and an index type; None where there is none."""
    return next(
        (
            space
            for space in listed(connection)
            if space.fingerprint == fingerprint and space.index_type is index_type
        ),
        None,
    )


def get(
    connection: psycopg.Connection, fingerprint: Fingerprint, index_type: IndexType | None = None
) -> Space:
    """The space that bears a fingerprint and an index type; None takes either, a whole one and HNSW first.

    Raises:
        SpaceNotFoundError: there is none; the message says what there is and what differs.
    """
    return fitting(listed(connection), fingerprint, index_type)


def fitting(there: list[Space], fingerprint: Fingerprint, index_type: IndexType | None) -> Space:
    """The space of these that get() gives.

    Raises:
        SpaceNotFoundError: as there.
    """
    found = [
        space
        for space in there
        if space.fingerprint == fingerprint and index_type in (None, space.index_type)
    ]
    if found:
        return max(found, key=lambda space: (space.is_whole, space.index_type is IndexType.HNSW))
    wanted = f"{fingerprint.provider}:{fingerprint.model}"
    if not there:
        raise SpaceNotFoundError(f"nothing is embedded here yet for {wanted}: {_BUILD_HINT}")
    raise SpaceNotFoundError(
        f"no {index_type.name + ' ' if index_type else ''}space for this client ({wanted}); "
        + "; ".join(
            f"space {space.name!r} has {_difference(space, fingerprint, index_type)}" for space in there
        )
        + f"; use its settings, or {_BUILD_HINT}"
        + (f" --index-type {index_type.value}" if index_type else "")
    )


def check_whole(space: Space) -> None:
    """Refuse to read a space whose first build is not finished.

    Raises:
        SpaceError: concepts are missing in it.
    """
    if not space.is_whole:
        raise SpaceError(
            f"space {space.name!r} is not whole yet: its first build is under way, or was interrupted; "
            "see omop-emb index list, or run omop-emb index build again to finish it"
        )


def active(connection: psycopg.Connection) -> Space:
    """The space that readers use unless told otherwise.

    Raises:
        SpaceNotFoundError: no space is active; the message says which there are.
    """
    return active_of(listed(connection))


def active_of(there: list[Space]) -> Space:
    """The active space of these.

    Raises:
        SpaceNotFoundError: as active().
    """
    for space in there:
        if space.is_active:
            return space
    if not there:
        raise SpaceNotFoundError(f"nothing is embedded here yet: {_BUILD_HINT}")
    names = ", ".join(repr(space.name) for space in there)
    raise SpaceNotFoundError(f"no space is active; there are {names}: run omop-emb index activate NAME")


def by_name(connection: psycopg.Connection, name: str) -> Space:
    """The space of that name.

    Raises:
        SpaceNotFoundError: there is none; the message names those that there are.
    """
    there = listed(connection)
    for space in there:
        if space.name == name:
            return space
    names = ", ".join(repr(space.name) for space in there)
    found = f"there are {names}" if there else f"there is none at all: {_BUILD_HINT}"
    raise SpaceNotFoundError(f"there is no space {name!r}; {found}")


def proposed(
    connection: psycopg.Connection,
    fingerprint: Fingerprint,
    index_type: IndexType,
    *,
    name: str | None = None,
    hnsw_m: int = 16,
    hnsw_ef_construction: int = 64,
    texts: str = DEFAULT_TEXTS,
    template: str = "",
    synonym_languages: tuple[int, ...] = (ENGLISH,),
    first_pass: str = "",
) -> Space:
    """The space of that fingerprint and index type, or the one that ensure() would make, which is not there.

    Raises:
        SpaceError: as ensure().
    """
    space = find(connection, fingerprint, index_type)
    if space is not None:
        if name is not None and space.name != name:
            raise SpaceError(
                f"this model, prefixes and index type are already in space {space.name!r}, not {name!r}: "
                f"leave --name out, or drop it first with omop-emb index drop {space.name}"
            )
        return space
    if index_type is IndexType.HNSW:
        check_hnsw_dimensions(fingerprint.dimensions, first_pass)
    taken = {other.name for other in listed(connection)}
    if name in taken:
        raise SpaceError(
            f"space {name!r} was built with another model, prefixes or index type: choose another --name"
        )
    return Space(
        space_id=0,
        name=name or _free_name(fingerprint, index_type, taken),
        fingerprint=fingerprint,
        index_type=index_type,
        hnsw_m=hnsw_m,
        hnsw_ef_construction=hnsw_ef_construction,
        texts=texts,
        template=template,
        synonym_languages=synonym_languages,
        vocabulary_release=None,
        is_active=False,
        first_pass=first_pass,
    )


def ensure(
    connection: psycopg.Connection,
    fingerprint: Fingerprint,
    index_type: IndexType,
    *,
    with_index: bool = True,
    **settings: Unpack[Settings],
) -> tuple[Space, bool]:
    """The space of that fingerprint and index type, made if need be, and whether it was made.

    The schema must have been migrated. Nothing is committed. `with_index=False` leaves the vector index
    to be made after a bulk load; `settings` are those of proposed().

    Raises:
        SpaceError: another space bears the name, or this one bears another, or HNSW cannot index that
            many dimensions.
    """
    space = proposed(connection, fingerprint, index_type, **settings)
    if not space.is_there:
        # Two makers of one space: the second waits here until the first has committed, and then finds it.
        connection.execute("select pg_advisory_xact_lock(hashtext('omop_emb.space'))")
        space = proposed(connection, fingerprint, index_type, **settings)
    if space.is_there:
        return space, False
    columns = {
        "name": space.name,
        "fingerprint": fingerprint.digest,
        **{entry.name: getattr(fingerprint, entry.name) for entry in fields(Fingerprint)},
        "index_type": index_type.value,
        "hnsw_m": space.hnsw_m,
        "hnsw_ef_construction": space.hnsw_ef_construction,
        "texts": space.texts,
        "template": space.template,
        "synonym_languages": list(space.synonym_languages),
        "first_pass": space.first_pass,
    }
    statement = sql.SQL("insert into omop_emb.space ({}) values ({}) returning *").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(", ").join(map(sql.Placeholder, columns))
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(statement, columns).fetchone()
    assert row is not None  # noqa: S101 - insert … returning gives a row or raises
    space = _space(row)
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


def activate(connection: psycopg.Connection, space: Space, *, only_if_none_is: bool = False) -> None:
    """Make a space the one that readers use; nothing is committed.

    Raises:
        SpaceNotFoundError: it was dropped meanwhile; the caller must roll back.
    """
    connection.execute("select pg_advisory_xact_lock(hashtext('omop_emb.space'))")
    if only_if_none_is and any(other.is_active for other in listed(connection)):
        return
    connection.execute(
        "update omop_emb.space set is_active = false where is_active and space_id <> %s", (space.space_id,)
    )
    activated = connection.execute(
        "update omop_emb.space set is_active = true where space_id = %s", (space.space_id,)
    ).rowcount
    if not activated:
        by_name(connection, space.name)
        raise SpaceNotFoundError(f"space {space.name!r} was dropped and made anew: run this again")


def check_droppable(space: Space) -> None:
    """Let a space pass that may be dropped.

    Raises:
        SpaceError: it is the active one.
    """
    if space.is_active:
        raise SpaceError(
            f"space {space.name!r} is the active one: run omop-emb index activate NAME with another first"
        )


def drop(connection: psycopg.Connection, space: Space) -> None:
    """Drop a space with its rows, and give up its build if there is one; nothing is committed.

    Raises:
        SpaceError: it is the active one.
    """
    # Locks are taken in the order of builders, who write their piece, then rows, then that they wrote.
    lock_build(connection, space)
    connection.execute("select pg_advisory_xact_lock(hashtext('omop_emb.space'))")
    current = by_name(connection, space.name)
    check_droppable(current)
    connection.execute("delete from omop_emb.build where space_id = %s", (current.space_id,))
    current.tables.drop(connection)
    connection.execute("delete from omop_emb.space where space_id = %s", (current.space_id,))


def _space(row: dict[str, Any]) -> Space:
    return Space(
        space_id=row["space_id"],
        name=row["name"],
        fingerprint=Fingerprint(**{entry.name: row[entry.name] for entry in fields(Fingerprint)}),
        index_type=IndexType(row["index_type"]),
        hnsw_m=row["hnsw_m"],
        hnsw_ef_construction=row["hnsw_ef_construction"],
        texts=row["texts"],
        template=row["template"],
        synonym_languages=tuple(row["synonym_languages"]),
        vocabulary_release=row["vocabulary_release"],
        is_active=row["is_active"],
        first_pass=row.get("first_pass", ""),
        partial=row.get("partial", "auto"),
        partial_domains=tuple(row.get("partial_domains", ())),
        recall=_recall(row.get("recall", ())),
        partial_recall={int(code): _recall(found) for code, found in row.get("partial_recall", {}).items()},
        has_index=row.get("has_index", False),
        is_whole=row.get("is_whole", True),
    )


def _recall(rows: Iterable[tuple[int, int, float]]) -> Recall:
    return tuple((k, ef_search, recall) for k, ef_search, recall in rows)


def _difference(space: Space, fingerprint: Fingerprint, index_type: IndexType | None) -> str:
    differences = space.fingerprint.differences(fingerprint)
    if index_type not in (None, space.index_type):
        differences.append(f"index type {space.index_type.name}, not {index_type and index_type.name}")
    return ", ".join(differences)


def _free_name(fingerprint: Fingerprint, index_type: IndexType, taken: set[str]) -> str:
    model = re.sub(r"[^A-Za-z0-9.]+", "-", fingerprint.model.rsplit("/", 1)[-1]).strip("-") or "space"
    base = f"{model}-{index_type.value}"
    number = 1
    while (name := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return name
