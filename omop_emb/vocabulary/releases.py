"""Vocabulary releases: the active one, the one before it, and the way back."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg import errors as postgres
from psycopg.rows import class_row, tuple_row
from psycopg.sql import SQL

from omop_emb import config
from omop_emb.database.fetch import fetch_value
from omop_emb.database.migrations import migrate
from omop_emb.database.transactions import atomic
from omop_emb.errors import VocabularyError
from omop_emb.sql import read
from omop_emb.vocabulary.layout import LAYOUTS, release_tables

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MOST_LOCK_SECONDS, _LOCK_PAUSE_SECONDS = 10.0, 0.1
_LOOK_EVERY = "1s"  # how often the server looks whether the process that loads is still there
_DATE = re.compile(r"\b(\d{1,2})-([A-Z]{3})-(\d{4}|\d{2})\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Release:
    """A loaded vocabulary whose tables exist."""

    release_id: int  # the number in its tables' names
    version: str | None  # such as "v5.0 30-AUG-24"; None where the download does not say
    source: str  # name of the folder or zip
    is_active: bool  # whether readers use it; otherwise it is the one before
    loaded_at: datetime
    concepts: int
    bytes: int  # on disk, with its indexes

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return self.version or f"the vocabulary of {self.source}"


def vocabulary_releases(connection: psycopg.Connection[Any]) -> list[Release]:
    """The active release and the one before it, in this order, as far as they exist."""
    if not fetch_value(connection, read("vocabulary_is_migrated")):
        return []
    cursor = connection.cursor(row_factory=class_row(Release))
    tables = "|".join(layout.name for layout in LAYOUTS)
    return cursor.execute(read("vocabulary_releases"), {"tables": tables}).fetchall()


def active_release(connection: psycopg.Connection[Any]) -> Release | None:
    """The release that readers use, None if none was loaded."""
    return next((release for release in vocabulary_releases(connection) if release.is_active), None)


def rollback_vocabulary(connection: psycopg.Connection[Any]) -> tuple[Release, Release]:
    """Make the release before the active one active, and keep the other; the caller commits.

    Doing it twice changes nothing. Readers use the one or the other, complete, and nobody waits.

    Returns:
        The release that is active now, and the one that was.

    Raises:
        VocabularyError: no earlier release is kept, or a load is running.
    """
    check_own_schema()
    migrate(connection)
    lock_releases(connection)
    releases = vocabulary_releases(connection)
    if len(releases) < 2:
        raise VocabularyError(
            "no earlier release is kept: omop-emb vocabulary load PATH loads one, and keeps the one before it"
        )
    active, previous = releases
    # In this order there are never two active ones, or two previous ones.
    for release, state in ((previous, "retired"), (active, "previous"), (previous, "active")):
        _set_state(connection, release.release_id, state)
    active, previous = vocabulary_releases(connection)
    return active, previous


def replace_active(connection: psycopg.Connection[Any], release_id: int, *, keep_previous: bool) -> bool:
    """Make a release active, and whether the one before it is kept; the caller commits.

    A release that was loaded from the same files is not kept but replaced: the one before it stays.
    """
    before = active_release(connection)
    is_kept = (
        keep_previous and before is not None and not same_files(connection, before.release_id, release_id)
    )
    replaced = ["active"]
    if is_kept or not keep_previous:
        replaced.append("previous")
    connection.execute(
        "update omop_emb.vocabulary_release set state = 'retired' where state = any(%s)", (replaced,)
    )
    if is_kept and before is not None:
        _set_state(connection, before.release_id, "previous")
    _set_state(connection, release_id, "active")
    return is_kept


def same_files(connection: psycopg.Connection[Any], one: int, other: int) -> bool:
    """Whether two releases were loaded from the same files."""
    return one == other or bool(
        fetch_value(connection, read("vocabulary_same_files"), {"one": one, "other": other})
    )


def drop_retired(connection: psycopg.Connection[Any]) -> list[int]:
    """Drop the tables of releases that are not kept and return their numbers; the caller commits.

    Those that somebody is reading stay until the next call.
    """
    cursor = connection.cursor(row_factory=tuple_row)
    retired = cursor.execute(read("vocabulary_retired_releases")).fetchall()
    dropped = []
    for (release_id,) in retired:
        names = SQL(", ").join(release_tables(release_id).values())
        try:
            with atomic(connection):
                # Waiting for a reader would make every later reader wait behind us.
                connection.execute(SQL("lock table {} in access exclusive mode nowait").format(names))
                connection.execute(SQL("drop table {}").format(names))
                _set_state(connection, release_id, "dropped")
        except postgres.LockNotAvailable:
            continue
        dropped.append(release_id)
    return dropped


def check_own_schema() -> None:
    """Raise VocabularyError if the vocabulary is a CDM's, where nothing is ever written."""
    schema = config.variable("OMOP_EMB_VOCABULARY_SCHEMA")
    if schema is not None:
        raise VocabularyError(
            f"the vocabulary is read from schema {schema!r} (OMOP_EMB_VOCABULARY_SCHEMA), where nothing is "
            "ever written: unset the variable to use omop-emb's own schema"
        )


def lock_releases(connection: psycopg.Connection[Any]) -> None:
    """Let nobody else change releases until the transaction ends; VocabularyError if somebody does.

    A load whose process was killed counts until the server notices, for which is waited.
    """
    give_up = time.monotonic() + _MOST_LOCK_SECONDS
    while not fetch_value(connection, read("vocabulary_lock")):
        if time.monotonic() > give_up:
            raise VocabularyError(
                "another load into this database is running: wait for it to end, then try again"
            )
        time.sleep(_LOCK_PAUSE_SECONDS)
    # Not every server can: one on Windows never looks.
    with suppress(psycopg.Error), atomic(connection):
        connection.execute("select set_config('client_connection_check_interval', %s, true)", (_LOOK_EVERY,))


def is_older(version: str | None, than: str | None) -> bool:
    """Whether a version's date is before another's; False if one of them has none."""
    first, second = _release_date(version), _release_date(than)
    return first is not None and second is not None and first < second


def _release_date(version: str | None) -> date | None:
    match = _DATE.search(version or "")
    if match is None or match[2].upper() not in _MONTHS:
        return None
    year = int(match[3]) + (2000 if len(match[3]) == 2 else 0)
    try:
        return date(year, _MONTHS.index(match[2].upper()) + 1, int(match[1]))
    except ValueError:
        return None


def _set_state(connection: psycopg.Connection[Any], release_id: int, state: str) -> None:
    connection.execute(
        "update omop_emb.vocabulary_release set state = %s where release_id = %s", (state, release_id)
    )
