"""Training runner: trains the rankers of reviews' sites in the background, one at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from omop_emb.database.engine import waiting_session
from omop_emb.errors import OmopEmbError
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.review_training import train_on_reviews

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from omop_emb.mapping.training.site_training import TrainedRanker

_LOGGER = logging.getLogger("omop_emb.review")


class TrainingState(Enum):
    """How far a training is."""

    NONE = "none"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class TrainingStatus:
    """A training of a site's ranker, and what it gained.

    Attributes:
        message: what it does, or why it failed.
        ranker: the name of the ranker that came of it.
        terms: with a match, that it learned from.
        figures: what cross-validation measured, by ranker: before, "shipped ranker with memory", and after,
            "own ranker with memory", among them.
        uses_own_trees: whether trees order candidates; if not, only probabilities are the site's own.
    """

    state: TrainingState = TrainingState.NONE
    message: str = ""
    ranker: str = ""
    terms: int = 0
    figures: Mapping[str, Mapping[str, float]] | None = None
    uses_own_trees: bool = False
    notes: Sequence[str] = ()


class TrainingRunner:
    """Trains on request.

    Args:
        engine: of the database.
        on_done: called with the project's id when a ranker is in use.
    """

    def __init__(self, engine: Engine, on_done: Callable[[int], None]) -> None:
        self._engine, self._on_done = engine, on_done
        self._lock, self._one_at_a_time = threading.Lock(), threading.Lock()
        self._statuses: dict[str, TrainingStatus] = {}

    def start(self, project: Project) -> TrainingStatus:
        """Begin to train for a project's site, unless that runs already; returns at once."""
        with self._lock:
            running = self._statuses.get(project.site)
            if running is not None and running.state is TrainingState.RUNNING:
                return running
            status = TrainingStatus(state=TrainingState.RUNNING, message="waiting for its turn")
            self._statuses[project.site] = status
        # A daemon: what it has not stored yet is lost when the process stops, and nothing else.
        threading.Thread(
            target=self._train, args=(project,), name="omop-emb-review-training", daemon=True
        ).start()
        return status

    def status(self, site: str) -> TrainingStatus:
        """How far the latest training of a site is."""
        with self._lock:
            return self._statuses.get(site, TrainingStatus())

    def _train(self, project: Project) -> None:
        try:
            with self._one_at_a_time, waiting_session(self._engine) as session:
                trained = train_on_reviews(
                    session, project, on_message=lambda message: self._say(project.site, message=message)
                )
        except OmopEmbError as error:
            self._say(project.site, state=TrainingState.FAILED, message=str(error))
        except Exception as error:
            _LOGGER.warning("training failed: unexpected %s", type(error).__name__)
            self._say(project.site, state=TrainingState.FAILED, message="it failed unexpectedly")
        else:
            self._finish(project, trained)

    def _finish(self, project: Project, trained: TrainedRanker) -> None:
        self._say(
            project.site,
            state=TrainingState.DONE,
            message="",
            ranker=trained.name,
            terms=trained.terms,
            figures={one.ranker: one.metrics for one in trained.cross_validations},
            uses_own_trees=trained.uses_own_trees,
            notes=tuple(trained.notes),
        )
        self._on_done(project.project_id)

    def _say(self, site: str, **changes: object) -> None:
        with self._lock:
            status = self._statuses.get(site, TrainingStatus())
            self._statuses[site] = replace(status, **changes)  # type: ignore[arg-type] # fields by name
