"""MCP backend: how tools reach the search and the database, here for a process without an HTTP server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from omop_emb.database.engine import session_scope
from omop_emb.errors import OmopEmbError
from omop_emb.machine import processors
from omop_emb.web.worker_pool import WorkerPool

if TYPE_CHECKING:
    import sqlalchemy
    from sqlalchemy.orm import Session

    from omop_emb.service import ConceptFinder

_Result = TypeVar("_Result")
_Parameters = ParamSpec("_Parameters")
_QUEUE = 64  # calls that may wait
_STATEMENT_SECONDS = 60
_LOGGER = logging.getLogger("omop_emb.web")


class Backend(Protocol):
    """What tools need of a process; ServerState is one."""

    @property
    def finder(self) -> ConceptFinder:
        """The search."""

    async def run(
        self, function: Callable[_Parameters, _Result], *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Result:
        """The result of a function that blocks."""

    async def query(
        self,
        function: Callable[Concatenate[Session, _Parameters], _Result],
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> _Result:
        """run() for a function that takes a session first."""


class LocalBackend:
    """The backend of a process that serves one assistant."""

    def __init__(self, engine: sqlalchemy.Engine, finder: ConceptFinder) -> None:
        self.finder = finder
        self._engine = engine
        self._pool = WorkerPool(workers=max(2, processors()), queue=_QUEUE)

    async def run(
        self, function: Callable[_Parameters, _Result], *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Result:
        """The result of a function that blocks, from a thread."""
        return await self._pool.run(function, *args, **kwargs)

    async def query(
        self,
        function: Callable[Concatenate[Session, _Parameters], _Result],
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> _Result:
        """run() for a function that takes a session first: it gets one for itself."""

        def call() -> _Result:
            with session_scope(self._engine, statement_seconds=_STATEMENT_SECONDS) as session:
                return function(session, *args, **kwargs)

        return await self.run(call)

    def warm(self) -> None:
        """Begin to open the search in the background; a problem is logged, and met again by a question."""
        threading.Thread(target=self._warm, name="omop-emb-warm", daemon=True).start()

    def close(self) -> None:
        """Take no more calls."""
        self._pool.close()

    def _warm(self) -> None:
        try:
            self.finder.warm()
        except OmopEmbError as error:
            _LOGGER.warning("not ready: %s", error)
        except Exception as error:
            _LOGGER.warning("not ready: unexpected %s", type(error).__name__)
