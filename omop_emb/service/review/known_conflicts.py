"""Known conflicts: those of the latest reviews, so that each page of their list needs no new search."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from omop_emb.errors import BusyError
from omop_emb.service.review.conflict_records import Conflict
from omop_emb.sql import read
from omop_emb.vocabulary import reader

_MOST_REVIEWS = 4


class KnownConflicts:
    """Conflicts by the state of a review: its decisions and votes, the vocabulary. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, list[Conflict]] = OrderedDict()
        self._searched: set[Hashable] = set()

    def find(
        self,
        connection: psycopg.Connection[Any],
        project_id: int,
        find: Callable[[psycopg.Connection[Any], int], list[Conflict]],
    ) -> list[Conflict]:
        """What `find` finds, or found in this state; always anew with a CDM's vocabulary.

        Raises:
            BusyError: another thread is finding them: of 100,000 terms that takes seconds.
        """
        state = _state(connection, project_id)
        with self._lock:
            if state in self._known:
                self._known.move_to_end(state)
                return self._known[state]
            if state is not None and state in self._searched:
                raise BusyError("the conflicts are being computed: ask again in a moment")
            self._searched.add(state)
        try:
            found = find(connection, project_id)
        finally:
            with self._lock:
                self._searched.discard(state)
        if state is not None:
            with self._lock:
                self._known[state] = found
                while len(self._known) > _MOST_REVIEWS:
                    self._known.popitem(last=False)
        return found


def _state(connection: psycopg.Connection[Any], project_id: int) -> Hashable | None:
    tables = reader.vocabulary_tables(connection)
    if tables is not None and tables.release_id is None:
        return None
    row = (
        connection.cursor(row_factory=tuple_row)
        .execute(read("review_conflict_state"), {"project": project_id})
        .fetchone()
    )
    info = connection.info
    release = None if tables is None else (tables.release_id, tables.version)
    return None if row is None else (info.host, info.port, info.dbname, project_id, release, *row)
