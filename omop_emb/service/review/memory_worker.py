"""Memory worker: live memory in the background, a thread for each review that somebody works on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import DatabaseError, InputError, OmopEmbError
from omop_emb.service.concept_finder import ConceptFinder
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.project_store import find_project
from omop_emb.service.review.reranking import Reranking

if TYPE_CHECKING:
    from sqlalchemy import Engine

_LOGGER = logging.getLogger("omop_emb.review")


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How much the work in the background may take from those who ask.

    Attributes:
        look_seconds: at least between two looks for new decisions.
        rest: how long it rests after a batch, in times of what the batch took.
        busy_seconds: how long it lets others go first at most.
        retry_seconds: after an error.
        idle_seconds: without a wake() after which a thread ends.
    """

    look_seconds: float = 2.0
    rest: float = 3.0
    busy_seconds: float = 1.0
    retry_seconds: float = 30.0
    idle_seconds: float = 600.0


class LiveMemory:
    """Keeps the memory of sites up to date with their reviews, and ranks open terms again.

    Args:
        engine: of the database.
        finder: maps terms of its site.
        site: the finder's; reviews of other sites get a finder of their own.
        is_busy: whether somebody waits for an answer, who then goes first.
        pace: how much the work may take.
    """

    def __init__(
        self,
        engine: Engine,
        finder: ConceptFinder,
        *,
        site: str,
        is_busy: Callable[[], bool] = lambda: False,
        pace: Pace | None = None,
    ) -> None:
        self._engine, self._finder, self._site = engine, finder, site
        self._is_busy, self._pace = is_busy, pace or Pace()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._woken: dict[int, float] = {}  # project -> when somebody last worked on it
        self._threads: dict[int, threading.Thread] = {}
        self._to_rank: set[int] = set()

    def wake(self, project_id: int, *, rank_all: bool = False) -> None:
        """Say that somebody works on a project: its thread begins, or goes on; returns at once.

        With rank_all all open terms are ranked again, as after another ranker came into use.
        """
        with self._lock:
            self._woken[project_id] = time.monotonic()
            if rank_all:
                self._to_rank.add(project_id)
            if project_id not in self._threads and not self._stop.is_set():
                # A daemon, as a batch may take seconds, and the process need not wait for it when it stops.
                thread = threading.Thread(
                    target=self._run, args=(project_id,), name="omop-emb-live-memory", daemon=True
                )
                self._threads[project_id] = thread
                thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Stop after the current batch; waits so long at most."""
        self._stop.set()
        with self._lock:
            threads = list(self._threads.values())
        until = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    @property
    def is_working(self) -> bool:
        """Whether a thread is alive."""
        with self._lock:
            return any(thread.is_alive() for thread in self._threads.values())

    def _run(self, project_id: int) -> None:
        with ExitStack() as stack:
            reranking: Reranking | None = None
            while not self._ends(project_id):
                wait = self._pace.retry_seconds
                try:
                    if reranking is None:
                        reranking = self._begin(project_id, stack)
                    wait = self._work(project_id, reranking)
                except InputError:  # the review was deleted
                    self._forget(project_id)
                    return
                except DatabaseError as error:
                    _LOGGER.debug("live memory waits for the database: %s", error)
                except OmopEmbError as error:
                    _LOGGER.warning("review %d is not ranked again: %s", project_id, error)
                except Exception as error:
                    _LOGGER.warning("live memory stopped for a while: unexpected %s", type(error).__name__)
                self._stop.wait(wait)

    def _begin(self, project_id: int, stack: ExitStack) -> Reranking:
        project = self._find(project_id)
        finder = self._finder
        if project.site != self._site:
            finder = stack.enter_context(ConceptFinder(self._engine, site=project.site))
        return Reranking(self._engine, finder, project)

    def _work(self, project_id: int, reranking: Reranking) -> float:
        """Look, and rank until it is time to look again; how long to wait now."""
        until = time.monotonic() + self._pace.look_seconds
        reranking.look()
        with self._lock:
            if project_id in self._to_rank:
                self._to_rank.discard(project_id)
                reranking.rank_all()
        while not self._stop.is_set() and time.monotonic() < until:
            self._let_others_go_first()
            begin = time.monotonic()
            if not reranking.step():
                break
            self._stop.wait((time.monotonic() - begin) * self._pace.rest)
        return max(0.0, until - time.monotonic())

    def _let_others_go_first(self) -> None:
        until = time.monotonic() + self._pace.busy_seconds
        while self._is_busy() and time.monotonic() < until and not self._stop.is_set():
            self._stop.wait(0.02)

    def _find(self, project_id: int) -> Project:
        with session_scope(self._engine) as session:
            return find_project(driver_connection(session), project_id)

    def _ends(self, project_id: int) -> bool:
        """Whether the thread is to end, which then is no longer the project's."""
        with self._lock:
            idle = time.monotonic() - self._woken[project_id] > self._pace.idle_seconds
            if idle:
                del self._threads[project_id]
            return idle or self._stop.is_set()

    def _forget(self, project_id: int) -> None:
        with self._lock:
            self._threads.pop(project_id, None)
