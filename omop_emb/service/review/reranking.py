"""Reranking: open terms of a review mapped again after approvals, those first that gain most from them."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import tuple_row

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.mapping.settings import Settings
from omop_emb.service.review.live_memory import sync_memory
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.project_store import read_terms
from omop_emb.service.review.similar_names import SimilarNames
from omop_emb.service.review.suggestion_store import store_suggestions
from omop_emb.sql import read

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from omop_emb.service.concept_finder import ConceptFinder

BATCH_TERMS = 8
"""Few, so that nobody who asks meanwhile waits long."""

_CANDIDATES = 10
SETTINGS = Settings(candidates=_CANDIDATES, explain=_CANDIDATES)
"""As a review's terms are mapped at first."""

_SIMILAR = 40  # terms that are ranked again for a name
_NEXT = 24  # terms of the queue that are ranked again before others
_NEXT_OTHERS = 3  # of these, so many in a batch that are like no approved name
_LOOK_AT = 200
_QUEUE_SECONDS = 60.0
_AHEAD = 500  # terms of the queue that are ranked again at all, unless all are to be


class Reranking:
    """What is to be ranked again in a project, and how far it is. For one thread at a time.

    Args:
        engine: of the database.
        finder: maps terms of the project's site.
        project: whose open terms are ranked again.

    Attributes:
        ranked: how many terms were ranked again so far.
        changed: how many got another first candidate.
    """

    def __init__(self, engine: Engine, finder: ConceptFinder, project: Project) -> None:
        self._engine, self._finder, self._project = engine, finder, project
        self._names: SimilarNames | None = None
        self._seen = 0  # the memory knows all decisions up to this one
        self._generation = 0  # of the memory
        self._ranked_in: dict[int, int] = {}  # position -> the generation in which it was ranked
        self._similar: OrderedDict[int, None] = OrderedDict()
        self._queue: list[int] = []  # positions in order, some of which may have been decided
        self._queue_until = 0.0
        self._ranks_all = False
        self.ranked = self.changed = 0

    def look(self) -> int:
        """Bring the site's memory up to date with the decisions; how many names have changed.

        Only decisions that this object has not seen are looked at, the first time all of them.
        """
        with session_scope(self._engine) as session:
            connection = driver_connection(session)
            changes = sync_memory(connection, self._project, after=self._seen)
            if changes.names and self._names is None:
                self._names = SimilarNames(self._keys(connection))
        is_first, self._seen = self._seen == 0, changes.settled
        if not changes.names or self._names is None:
            return 0
        self._generation += 1
        # The latest approvals first: they are what the person is busy with.
        for name in reversed(changes.names[-_AHEAD:] if is_first else changes.names):
            for position in self._names.find(name, _SIMILAR):
                self._similar[position] = None
        return len(changes.names)

    def rank_all(self) -> None:
        """Rank all open terms again, as after another ranker came into use."""
        self._generation += 1
        self._ranks_all = True

    def step(self) -> int:
        """Rank the next few terms again; how many, 0 if there is nothing to do.

        No transaction is open while the model embeds.
        """
        if self._generation == 0:
            return 0
        with session_scope(self._engine) as session:
            connection = driver_connection(session)
            positions = self._next(connection)
            terms = read_terms(connection, self._project.project_id, positions) if positions else []
        if not terms:
            return 0
        generation = self._generation
        mapped = self._finder.map([one.term for one in terms], settings=SETTINGS)
        results = {term.position: result for term, result in zip(terms, mapped, strict=True)}
        with session_scope(self._engine) as session:
            connection = driver_connection(session)
            # What was decided meanwhile keeps the suggestion that the person saw.
            still_open = self._open(connection, list(results), None)
            self.changed += store_suggestions(
                connection,
                self._project.project_id,
                [(position, results[position]) for position in sorted(still_open)],
            )
        self._ranked_in.update(dict.fromkeys(results, generation))
        self.ranked += len(results)
        return len(results)

    def _next(self, connection: psycopg.Connection[Any]) -> list[int]:
        """A few positions: of what is next in the queue and what is like an approved name, then the rest."""
        upcoming = self._upcoming(connection)
        due = [position for position in upcoming if self._is_due(position)]
        similar = [position for position in self._similar if self._is_due(position)]
        chosen = [position for position in due if position in self._similar]
        chosen = list(dict.fromkeys([*chosen, *due[:_NEXT_OTHERS]]))[:BATCH_TERMS]
        if len(chosen) < BATCH_TERMS and similar:
            opened = set(self._open(connection, similar, None))
            similar = [position for position in similar if position in opened]
            chosen = list(dict.fromkeys([*chosen, *similar]))[:BATCH_TERMS]
        self._similar = OrderedDict.fromkeys(one for one in similar if one not in chosen)
        if not chosen:
            chosen = due[:BATCH_TERMS] or self._rest(connection)
        return chosen

    def _upcoming(self, connection: psycopg.Connection[Any]) -> list[int]:
        """The next terms of the queue. Its order is read once a minute: that takes long in a large review."""
        if not self._queue or time.monotonic() > self._queue_until:
            self._queue = self._open(connection, None, None)
            self._queue_until = time.monotonic() + _QUEUE_SECONDS
        while self._queue:
            part = self._queue[:_LOOK_AT]
            opened = set(self._open(connection, part, None))
            found = [position for position in part if position in opened]
            self._queue[: len(part)] = found
            if len(found) >= _NEXT or len(self._queue) <= len(found):
                return found[:_NEXT]
        return []

    def _rest(self, connection: psycopg.Connection[Any]) -> list[int]:
        chosen: list[int] = []
        ahead = self._queue if self._ranks_all else self._queue[:_AHEAD]
        for position in ahead:
            if len(chosen) == BATCH_TERMS:
                return self._open(connection, chosen, None)
            if self._is_due(position):
                chosen.append(position)
        self._ranks_all = False
        return self._open(connection, chosen, None) if chosen else []

    def _is_due(self, position: int) -> bool:
        return self._ranked_in.get(position, 0) < self._generation

    def _open(
        self, connection: psycopg.Connection[Any], positions: list[int] | None, limit: int | None
    ) -> list[int]:
        """Positions of open terms with a suggestion, in the order of the queue."""
        rows = connection.cursor(row_factory=tuple_row).execute(
            read("review_next_open"),
            {"project": self._project.project_id, "positions": positions, "limit": limit},
        )
        return [position for (position,) in rows]

    def _keys(self, connection: psycopg.Connection[Any]) -> list[tuple[int, str]]:
        return (
            connection.cursor(row_factory=tuple_row)
            .execute(
                "select position, text_key from omop_emb.review_term where project_id = %s",
                (self._project.project_id,),
            )
            .fetchall()
        )
