"""The registry of embedding spaces: what each is, how to look one up, and which one readers use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import psycopg
from psycopg.rows import dict_row

from omop_emb.database.fetch import fetch_value
from omop_emb.errors import SpaceError, SpaceNotFoundError
from omop_emb.records import Fingerprint, IndexType
from omop_emb.spaces.recipe import DEFAULT_TEXTS, ENGLISH
from omop_emb.spaces.tables import SpaceTables
from omop_emb.sql import read

Recall = tuple[tuple[int, int, float], ...]

_BUILD_HINT = "run omop-emb index build"


@dataclass(frozen=True, kw_only=True)
class Space:
    """An embedding space as the registry records it."""

    space_id: int  # from 1; 0 for one that does not exist yet (see lifecycle.propose_space)
    name: str
    fingerprint: Fingerprint
    index_type: IndexType
    hnsw_m: int = 16
    hnsw_ef_construction: int = 64
    texts: str = DEFAULT_TEXTS  # one of recipe.TEXT_CHOICES
    template: str = ""  # what each text is embedded as; "" leaves it unchanged
    synonym_languages: tuple[int, ...] = (ENGLISH,)
    vocabulary_release: str | None = None  # of the last build
    is_active: bool = False
    # What the HNSW index is over: "" the vectors, a number their first dimensions, "binary" their signs.
    first_pass: str = ""
    partial: str = "auto"  # which domains should have an HNSW index of their own: "auto", "none", or names
    partial_domains: tuple[int, ...] = ()  # codes of the domains that have one
    recall: Recall = ()  # measured on the HNSW index: (k, ef_search, recall at k)
    partial_recall: Mapping[int, Recall] = field(default_factory=dict)  # by domain code
    has_index: bool = False  # whether the HNSW index exists
    is_complete: bool = True  # False until the first build is finished: some concepts are missing

    @property
    def exists(self) -> bool:
        """Whether it has been created."""
        return self.space_id > 0

    @property
    def tables(self) -> SpaceTables:
        """The space's own tables."""
        return SpaceTables(self.space_id, self.fingerprint.dimensions)


def registry_exists(connection: psycopg.Connection) -> bool:
    """Whether the database has the registry's table; a fresh one does not."""
    return fetch_value(connection, "select to_regclass('omop_emb.space')") is not None


def all_spaces(connection: psycopg.Connection) -> list[Space]:
    """All spaces, oldest first; [] in a fresh database."""
    if not registry_exists(connection):
        return []
    with connection.cursor(row_factory=dict_row) as cursor:
        return [_space(row) for row in cursor.execute(read("spaces"))]


def space_by_fingerprint(
    connection: psycopg.Connection, fingerprint: Fingerprint, index_type: IndexType | None = None
) -> Space:
    """choose_space() among all spaces."""
    return choose_space(all_spaces(connection), fingerprint, index_type)


def choose_space(spaces: list[Space], fingerprint: Fingerprint, index_type: IndexType | None) -> Space:
    """The space of a fingerprint and an index type; None takes either, complete ones and HNSW first.

    If there is none, SpaceNotFoundError says which spaces exist and how they differ.
    """
    matches = [
        space
        for space in spaces
        if space.fingerprint == fingerprint and index_type in (None, space.index_type)
    ]
    if matches:
        return max(matches, key=lambda space: (space.is_complete, space.index_type is IndexType.HNSW))
    model = f"{fingerprint.provider}:{fingerprint.model}"
    if not spaces:
        raise SpaceNotFoundError(f"nothing is embedded here yet for {model}: {_BUILD_HINT}")
    raise SpaceNotFoundError(
        f"no {index_type.name + ' ' if index_type else ''}space for this client ({model}); "
        + "; ".join(
            f"space {space.name!r} has {_difference(space, fingerprint, index_type)}" for space in spaces
        )
        + f"; use its settings, or {_BUILD_HINT}"
        + (f" --index-type {index_type.value}" if index_type else "")
    )


def check_complete(space: Space) -> None:
    """Raise SpaceError if the space's first build is not finished, so that concepts are missing."""
    if not space.is_complete:
        raise SpaceError(
            f"space {space.name!r} is incomplete: its first build is running or was interrupted; "
            "see omop-emb index list, or run omop-emb index build to finish it"
        )


def active_space(connection: psycopg.Connection) -> Space:
    """choose_active_space() among all spaces."""
    return choose_active_space(all_spaces(connection))


def choose_active_space(spaces: list[Space]) -> Space:
    """The active space; if there is none, SpaceNotFoundError names the spaces that exist."""
    for space in spaces:
        if space.is_active:
            return space
    if not spaces:
        raise SpaceNotFoundError(f"nothing is embedded here yet: {_BUILD_HINT}")
    names = ", ".join(repr(space.name) for space in spaces)
    raise SpaceNotFoundError(f"no space is active; there are {names}: run omop-emb index activate NAME")


def space_by_name(connection: psycopg.Connection, name: str) -> Space:
    """The space of that name; if there is none, SpaceNotFoundError names those that exist."""
    spaces = all_spaces(connection)
    for space in spaces:
        if space.name == name:
            return space
    names = ", ".join(repr(space.name) for space in spaces)
    existing = f"there are {names}" if spaces else f"there is none at all: {_BUILD_HINT}"
    raise SpaceNotFoundError(f"there is no space {name!r}; {existing}")


def _space(row: dict[str, Any]) -> Space:
    converted = {
        "fingerprint": Fingerprint(**{entry.name: row.pop(entry.name) for entry in fields(Fingerprint)}),
        "index_type": IndexType(row["index_type"]),
        "synonym_languages": tuple(row["synonym_languages"]),
        "partial_domains": tuple(row["partial_domains"]),
        "recall": _recall(row["recall"]),
        "partial_recall": {int(code): _recall(rows) for code, rows in row["partial_recall"].items()},
    }
    return Space(**{**row, **converted})


def _recall(rows: Iterable[tuple[int, int, float]]) -> Recall:
    return tuple((k, ef_search, recall) for k, ef_search, recall in rows)


def _difference(space: Space, fingerprint: Fingerprint, index_type: IndexType | None) -> str:
    differences = space.fingerprint.differences(fingerprint)
    if index_type not in (None, space.index_type):
        differences.append(f"index type {space.index_type.name}, not {index_type and index_type.name}")
    return ", ".join(differences)
