"""The registry of embedding spaces: what each is, how to look one up, and which one readers use."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import psycopg
from psycopg.rows import dict_row

from omop_emb import config
from omop_emb.database.fetch import fetch_value
from omop_emb.errors import SpaceError, SpaceNotFoundError
from omop_emb.records import Fingerprint, IndexType
from omop_emb.spaces.recipe import DEFAULT_TEXTS, ENGLISH
from omop_emb.spaces.tables import SpaceTables
from omop_emb.sql import read

Recall = tuple[tuple[int, int, float], ...]

_BUILD_HINT = "run omop-emb index build"


def build_command(space_name: str) -> str:
    """The command, quoted for a shell, that brings a space up to the loaded vocabulary."""
    return f"omop-emb index build --name {shlex.quote(space_name)}"


def finish_command(space_name: str) -> str:
    """The command, quoted for a shell, that creates and measures the indexes of a space that has its rows."""
    return f"omop-emb index finish {shlex.quote(space_name)}"


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
    release_id: int | None = None  # the same as a number; None for a CDM or an import
    is_active: bool = False
    # What the HNSW index is over: "" the vectors, a number their first dimensions, "binary" their signs.
    first_pass: str = ""
    partial: str = "auto"  # which domains should have an HNSW index of their own: "auto", "none", or names
    partial_domains: tuple[int, ...] = ()  # codes of the domains that have one
    recall: Recall = ()  # measured on the HNSW index: (k, ef_search, recall at k)
    partial_recall: Mapping[int, Recall] = field(default_factory=dict)  # of searches in a domain, by its code
    # The same where only standard and valid concepts may be found, and some are not; None: in all domains.
    standard_recall: Mapping[int | None, Recall] = field(default_factory=dict)
    has_index: bool = False  # whether the HNSW index exists
    vector_schema: str = "public"  # where the database has pgvector
    is_complete: bool = True  # False until the first build is finished: some concepts are missing

    @property
    def exists(self) -> bool:
        """Whether it has been created."""
        return self.space_id > 0

    @property
    def tables(self) -> SpaceTables:
        """The space's own tables."""
        return SpaceTables(self.space_id, self.fingerprint.dimensions, self.vector_schema)


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


def choose_space(
    spaces: list[Space], fingerprint: Fingerprint | None = None, index_type: IndexType | None = None
) -> Space:
    """The space that answers: the active one, or, if a fingerprint is given, the best of that fingerprint.

    Of a fingerprint and index type (None: either), the active space comes first, then complete ones, then
    HNSW. If there is none, SpaceNotFoundError says which spaces exist and how they differ.
    """
    if fingerprint is None:
        return _active_space(spaces)
    matches = [
        space
        for space in spaces
        if space.fingerprint == fingerprint and index_type in (None, space.index_type)
    ]
    if matches:
        return max(matches, key=lambda s: (s.is_active, s.is_complete, s.index_type is IndexType.HNSW))
    model = f"{fingerprint.provider}:{fingerprint.model}"
    if not spaces:
        raise SpaceNotFoundError(f"nothing is embedded here yet for {model}: {_BUILD_HINT}")
    raise SpaceNotFoundError(
        f"no {index_type.name + ' ' if index_type else ''}space for this client ({model}); "
        + "; ".join(
            f"space {space.name!r} has {_difference(space, fingerprint, index_type)}" for space in spaces
        )
        + f"; use its settings, or run {_new_space_command(fingerprint, index_type)}"
    )


def check_complete(space: Space) -> None:
    """Raise SpaceError if the space's first build is not finished, so that concepts are missing."""
    if not space.is_complete:
        raise SpaceError(
            f"space {space.name!r} is incomplete: its first build is running or was interrupted; "
            f"see omop-emb index list, or finish it: run {build_command(space.name)}"
        )


def answering_space(
    connection: psycopg.Connection, fingerprint: Fingerprint | None = None, name: str | None = None
) -> Space:
    """choose_space() among all spaces, or the space of a name; SpaceError if it is incomplete."""
    spaces = all_spaces(connection)
    space = choose_space(spaces, fingerprint) if name is None else _named_space(spaces, name)
    check_complete(space)
    return space


def active_space(connection: psycopg.Connection) -> Space:
    """The active space; if there is none, SpaceNotFoundError names the spaces that exist."""
    return _active_space(all_spaces(connection))


def _active_space(spaces: list[Space]) -> Space:
    for space in spaces:
        if space.is_active:
            return space
    if not spaces:
        raise SpaceNotFoundError(f"nothing is embedded here yet: {_BUILD_HINT}")
    names = ", ".join(repr(space.name) for space in spaces)
    name = shlex.quote(spaces[0].name) if len(spaces) == 1 else "NAME"
    raise SpaceNotFoundError(f"no space is active; there are {names}: run omop-emb index activate {name}")


def space_by_name(connection: psycopg.Connection, name: str) -> Space:
    """The space of that name; if there is none, SpaceNotFoundError names those that exist."""
    return _named_space(all_spaces(connection), name)


def _named_space(spaces: list[Space], name: str) -> Space:
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
        "standard_recall": {
            int(code) if code else None: _recall(rows)
            for code, rows in (row["standard_recall"] or {}).items()
        },
    }
    return Space(**{**row, **converted})


def variables_of(fingerprint: Fingerprint) -> dict[str, str]:
    """The value of each of config.SPACE_VARIABLES that leads to a fingerprint."""
    values = (
        f"{fingerprint.provider}:{fingerprint.model}",
        str(fingerprint.dimensions),
        fingerprint.document_prefix,
        fingerprint.query_prefix,
        fingerprint.document_task,
        fingerprint.query_task,
    )
    return dict(zip(config.SPACE_VARIABLES, values, strict=True))


def _new_space_command(fingerprint: Fingerprint, index_type: IndexType | None) -> str:
    """The command, quoted for a shell, that builds the space of a fingerprint."""
    variables = {
        name: value
        for name, value in variables_of(fingerprint).items()
        if value or not name.endswith("_TASK")  # most models have none
    }
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    return f"{settings} omop-emb index build --index-type {(index_type or IndexType.HNSW).value}"


def _recall(rows: Iterable[tuple[int, int, float]]) -> Recall:
    return tuple((k, ef_search, recall) for k, ef_search, recall in rows)


def _difference(space: Space, fingerprint: Fingerprint, index_type: IndexType | None) -> str:
    differences = space.fingerprint.differences(fingerprint)
    if index_type not in (None, space.index_type):
        differences.append(f"index type {space.index_type.name}, not {index_type and index_type.name}")
    return ", ".join(differences)
