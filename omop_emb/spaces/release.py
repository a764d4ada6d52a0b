"""Release of a space: whether it is the loaded one, and what to run if it is not."""

from __future__ import annotations

from typing import Any

import psycopg

from omop_emb.spaces.registry import Space, all_spaces, build_command
from omop_emb.vocabulary import reader
from omop_emb.vocabulary.reader import VocabularyTables
from omop_emb.vocabulary.releases import same_files


def holds_release(connection: psycopg.Connection[Any], space: Space, tables: VocabularyTables) -> bool:
    """Whether a space was last built from the vocabulary of these tables."""
    if space.release_id is not None and tables.release_id is not None:
        return same_files(connection, space.release_id, tables.release_id)
    return space.vocabulary_release == tables.version


def holds_same_release(connection: psycopg.Connection[Any], one: Space, other: Space) -> bool:
    """Whether two spaces were last built from the same vocabulary."""
    if one.release_id is not None and other.release_id is not None:
        return same_files(connection, one.release_id, other.release_id)
    return one.vocabulary_release == other.vocabulary_release


def release_difference(connection: psycopg.Connection[Any], space: Space) -> str | None:
    """How a space's release differs from the loaded one, such as "holds A, but B is loaded"; None if not."""
    tables = reader.vocabulary_tables(connection)
    if tables is None or holds_release(connection, space, tables):
        return None
    held, loaded = space.vocabulary_release or "no whole release", tables.version or "another vocabulary"
    if held == loaded:
        held, loaded = f"an earlier download of {held}", "a later one"
    return f"holds {held}, but {loaded} is loaded"


def release_warning(connection: psycopg.Connection[Any], space: Space) -> str | None:
    """One line that says so and what to run; None if the releases are the same."""
    difference = release_difference(connection, space)
    return difference and f"space {space.name!r} {difference}: run {build_command(space.name)}"


def active_space_warning(connection: psycopg.Connection[Any]) -> str | None:
    """release_warning() of the active space; None if no space is active."""
    for space in all_spaces(connection):
        if space.is_active:
            return release_warning(connection, space)
    return None
