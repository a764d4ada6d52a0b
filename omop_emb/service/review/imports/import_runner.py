"""Import runner: one thread of a process that imports reviews in the background, one after the other."""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from typing import TYPE_CHECKING

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import DatabaseError, OmopEmbError
from omop_emb.service.concept_finder import ConceptFinder
from omop_emb.service.review.imports.import_job import import_review, unfinished_reviews

if TYPE_CHECKING:
    from sqlalchemy import Engine

_LOGGER = logging.getLogger("omop_emb.review")
_LOOK_SECONDS = 30.0  # between looks for reviews that others began, or left unfinished
_RETRY_SECONDS = 2.0  # after an error of the database; twice as long after each further one


class ImportRunner:
    """Imports what is unfinished, and what is added; a killed import of any process is continued.

    Args:
        engine: of the database.
        finder: maps terms of its site.
        site: the finder's; reviews of other sites get a finder of their own while they are mapped.
    """

    def __init__(self, engine: Engine, finder: ConceptFinder, *, site: str) -> None:
        self._engine, self._finder, self._site = engine, finder, site
        self._stop, self._wake = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._failed: set[int] = set()  # not tried again before somebody asks
        self._thread: threading.Thread | None = None
        self.is_working = False

    def start(self) -> None:
        """Begin to work in the background; returns at once."""
        # A daemon, as a batch may take seconds, and the process need not wait for it when it is stopped.
        self._thread = threading.Thread(target=self._run, name="omop-emb-review-import", daemon=True)
        self._thread.start()

    def wake(self, project_id: int | None = None) -> None:
        """Look for work now; a review that has failed before is tried again."""
        with self._lock:
            if project_id is not None:
                self._failed.discard(project_id)
        self._wake.set()

    def close(self, seconds: float = 5.0) -> None:
        """Stop after the current batch; waits so long at most."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        retry = _RETRY_SECONDS
        while not self._stop.is_set():
            self._wake.clear()
            wait = _LOOK_SECONDS
            try:
                self._import_all()
                retry = _RETRY_SECONDS
            except DatabaseError as error:
                _LOGGER.debug("imports wait for the database: %s", error)
                wait, retry = retry, min(2 * retry, _LOOK_SECONDS)
            except Exception as error:
                _LOGGER.warning("an import stopped: unexpected %s", type(error).__name__)
            self.is_working = False
            self._wake.wait(wait)

    def _import_all(self) -> None:
        with session_scope(self._engine) as session:
            unfinished = unfinished_reviews(driver_connection(session))
        for project in unfinished:
            if self._stop.is_set():
                return
            with self._lock:
                has_failed = project.project_id in self._failed
            if not has_failed:
                self.is_working = True
                self._import(project.project_id, project.site)

    def _import(self, project_id: int, site: str) -> None:
        try:
            if site == self._site:
                import_review(self._engine, project_id, self._finder, self._stop)
                return
            with closing(ConceptFinder(self._engine, site=site)) as finder:
                import_review(self._engine, project_id, finder, self._stop)
        except DatabaseError:
            raise
        except OmopEmbError as error:
            _LOGGER.warning("review %d is not mapped: %s", project_id, error)
            with self._lock:
                self._failed.add(project_id)
