"""Server state: what all requests of a process share, and how they do work that blocks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from fastapi import Request

from omop_emb.database.engine import readable_errors, session_scope
from omop_emb.errors import OmopEmbError
from omop_emb.service.review.imports.import_runner import ImportRunner
from omop_emb.service.review.memory_worker import LiveMemory
from omop_emb.service.review.training_runner import TrainingRunner
from omop_emb.web.metrics import Metrics
from omop_emb.web.server_settings import ServerSettings
from omop_emb.web.worker_pool import WorkerPool

if TYPE_CHECKING:
    import sqlalchemy
    from sqlalchemy.orm import Session

    from omop_emb.service import ConceptFinder

_Result = TypeVar("_Result")
_Parameters = ParamSpec("_Parameters")
_LOGGER = logging.getLogger("omop_emb.web")


@dataclass(kw_only=True)
class ServerState:
    """What all requests share.

    Attributes:
        engine: connects to the database; each request has transactions of its own.
        finder: the warm search.
        settings: who may ask, and how much.
        pool: the threads for work that blocks.
        metrics: counters for /metrics.
        importer: reads and maps reviews in the background.
        live_memory: remembers what reviews approve, and ranks their open terms again.
        training: trains rankers of reviews' sites on request.
        is_warm: whether the finder has answered a question.
        problem: why it could not, "" for nothing.
    """

    engine: sqlalchemy.Engine
    finder: ConceptFinder
    settings: ServerSettings = field(default_factory=ServerSettings)
    pool: WorkerPool = field(init=False)
    metrics: Metrics = field(init=False)
    importer: ImportRunner = field(init=False)
    live_memory: LiveMemory = field(init=False)
    training: TrainingRunner = field(init=False)
    is_warm: bool = False
    problem: str = ""
    _warming: threading.Thread | None = None

    def __post_init__(self) -> None:
        limits = self.settings.limits
        self.pool = WorkerPool(workers=limits.workers, queue=limits.queue)
        self.metrics = Metrics(self.pool, lambda: self.finder.times_read)
        self.importer = ImportRunner(self.engine, self.finder, site=self.settings.site)
        self.live_memory = LiveMemory(
            self.engine, self.finder, site=self.settings.site, is_busy=lambda: self.pool.running > 0
        )
        self.training = TrainingRunner(
            self.engine, lambda project_id: self.live_memory.wake(project_id, rank_all=True)
        )

    async def run(
        self, function: Callable[_Parameters, _Result], *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Result:
        """The result of a function that blocks, from a thread of the pool.

        Raises:
            BusyError: too many wait already; becomes 503 with Retry-After.
        """
        return await self.pool.run(_readably(function), *args, **kwargs)

    async def run_next(
        self, function: Callable[_Parameters, _Result], *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Result:
        """run() for the next part of a request: it waits its turn behind others, and is not refused."""
        return await self.pool.run_next(_readably(function), *args, **kwargs)

    async def query(
        self,
        function: Callable[Concatenate[Session, _Parameters], _Result],
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> _Result:
        """run() for a function that takes a session first: it gets one for itself, and a limited time."""

        def call() -> _Result:
            with session_scope(
                self.engine, statement_seconds=self.settings.limits.request_seconds
            ) as session:
                return function(session, *args, **kwargs)

        return await self.run(call)

    def warm(self) -> None:
        """Begin to open the finder, if it is not open and nobody does so; returns at once."""
        if not self.is_warm and not self.is_warming:
            # A daemon, as it may take a minute, and the process need not wait for it when it is stopped.
            self._warming = threading.Thread(target=self._warm, name="omop-emb-warm", daemon=True)
            self._warming.start()

    @property
    def is_warming(self) -> bool:
        """Whether the finder is being opened."""
        return self._warming is not None and self._warming.is_alive()

    def _warm(self) -> None:
        try:
            _readably(self.finder.warm)()
        except OmopEmbError as error:
            if self.problem != str(error):
                _LOGGER.warning("not ready: %s", error)
            self.problem = str(error)
        except Exception as error:
            self.problem = f"unexpected {type(error).__name__}"
            _LOGGER.warning("not ready: %s", self.problem)
        else:
            self.is_warm, self.problem = True, ""

    def close(self) -> None:
        """Take no more work; what runs goes on."""
        self.pool.close()


def _readably(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """A function whose errors of the driver become DatabaseError."""

    @wraps(function)
    def call(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        with readable_errors():
            return function(*args, **kwargs)

    return call


def server_state(request: Request) -> ServerState:
    """The state of the server that a request came to; a dependency of routes."""
    state = request.app.state.server
    if not isinstance(state, ServerState):
        raise TypeError("create_app() puts a ServerState into app.state.server")
    return state
