"""The registry of embedding spaces: what each is, how one is found, and which one readers use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import psycopg
from psycopg.rows import dict_row

from omop_emb.errors import SpaceError, SpaceNotFoundError
from omop_emb.records import Fingerprint, IndexType
from omop_emb.spaces.tables import SpaceTables
from omop_emb.sql import read

Recall = tuple[tuple[int, int, float], ...]

_BUILD_HINT = "run omop-emb index build"


@dataclass(frozen=True, kw_only=True)
class Space:
    """An embedding space as the registry records it.

    Attributes:
        space_id: its number, from 1; 0 for one that is not there yet (see spaces_lifecycle.proposed).
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


def registry_exists(connection: psycopg.Connection) -> bool:
    """Whether the registry is there at all; a fresh database has none."""
    row = connection.execute("select to_regclass('omop_emb.space') is not null").fetchone()
    return row is not None and bool(row[0])


def all_spaces(connection: psycopg.Connection) -> list[Space]:
    """All spaces, oldest first; none in a fresh database."""
    if not registry_exists(connection):
        return []
    with connection.cursor(row_factory=dict_row) as cursor:
        return [_space(row) for row in cursor.execute(read("spaces"))]


def find_space(
    connection: psycopg.Connection, fingerprint: Fingerprint, index_type: IndexType
) -> Space | None:
    """The space that bears a fingerprint and an index type; None where there is none."""
    return next(
        (
            space
            for space in all_spaces(connection)
            if space.fingerprint == fingerprint and space.index_type is index_type
        ),
        None,
    )


def space_by_fingerprint(
    connection: psycopg.Connection, fingerprint: Fingerprint, index_type: IndexType | None = None
) -> Space:
    """The space that bears a fingerprint and an index type; None takes either, a whole one and HNSW first.

    Raises:
        SpaceNotFoundError: there is none; the message says what there is and what differs.
    """
    return fitting(all_spaces(connection), fingerprint, index_type)


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


def check_complete(space: Space) -> None:
    """Refuse to read a space whose first build is not finished.

    Raises:
        SpaceError: concepts are missing in it.
    """
    if not space.is_whole:
        raise SpaceError(
            f"space {space.name!r} is not whole yet: its first build is under way, or was interrupted; "
            "see omop-emb index list, or run omop-emb index build again to finish it"
        )


def active_space(connection: psycopg.Connection) -> Space:
    """The space that readers use unless told otherwise.

    Raises:
        SpaceNotFoundError: no space is active; the message says which there are.
    """
    return active_of(all_spaces(connection))


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


def space_by_name(connection: psycopg.Connection, name: str) -> Space:
    """The space of that name.

    Raises:
        SpaceNotFoundError: there is none; the message names those that there are.
    """
    there = all_spaces(connection)
    for space in there:
        if space.name == name:
            return space
    names = ", ".join(repr(space.name) for space in there)
    found = f"there are {names}" if there else f"there is none at all: {_BUILD_HINT}"
    raise SpaceNotFoundError(f"there is no space {name!r}; {found}")


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
        first_pass=row["first_pass"],
        partial=row["partial"],
        partial_domains=tuple(row["partial_domains"]),
        recall=_recall(row["recall"]),
        partial_recall={int(code): _recall(found) for code, found in row["partial_recall"].items()},
        has_index=row["has_index"],
        is_whole=row["is_whole"],
    )


def _recall(rows: Iterable[tuple[int, int, float]]) -> Recall:
    return tuple((k, ef_search, recall) for k, ef_search, recall in rows)


def _difference(space: Space, fingerprint: Fingerprint, index_type: IndexType | None) -> str:
    differences = space.fingerprint.differences(fingerprint)
    if index_type not in (None, space.index_type):
        differences.append(f"index type {space.index_type.name}, not {index_type and index_type.name}")
    return ", ".join(differences)
