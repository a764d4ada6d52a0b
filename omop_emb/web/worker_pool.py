"""Worker pool: a bounded number of threads, and a bounded queue before them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar

from omop_emb.errors import BusyError

_Result = TypeVar("_Result")
_Parameters = ParamSpec("_Parameters")


class WorkerPool:
    """Runs blocking functions for an event loop; one too many is refused at once.

    Attributes:
        workers: threads.
        queue: calls that may wait for one.
        refused: calls refused so far.
    """

    def __init__(self, *, workers: int, queue: int) -> None:
        self.workers, self.queue, self.refused = workers, queue, 0
        self._threads = ThreadPoolExecutor(workers, "omop-emb-web")
        self._lock = threading.Lock()
        self._calls = 0

    @property
    def running(self) -> int:
        """Calls that a thread works on."""
        return min(self._calls, self.workers)

    @property
    def waiting(self) -> int:
        """Calls that wait for a thread."""
        return max(0, self._calls - self.workers)

    async def run(
        self, function: Callable[_Parameters, _Result], *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Result:
        """The function's result; a caller that is cancelled while it waits gives its place back.

        Raises:
            BusyError: as many calls wait as may wait, or the server stops.
        """
        return await self._submit(self.workers + self.queue, partial(function, *args, **kwargs))

    async def run_next(
        self, function: Callable[_Parameters, _Result], *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Result:
        """run() for the next part of a request whose first part was run: it queues, and is not refused."""
        return await self._submit(None, partial(function, *args, **kwargs))

    async def _submit(self, most: int | None, call: Callable[[], _Result]) -> _Result:
        with self._lock:
            if most is not None and self._calls >= most:
                self.refused += 1
                raise BusyError("the server is busy: try again in a moment")
            self._calls += 1
        try:
            future = self._threads.submit(copy_context().run, call)
        except RuntimeError as error:
            self._finish(None)
            raise BusyError("the server is stopping") from error
        future.add_done_callback(self._finish)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Take no more calls, and drop those that wait; those that run go on."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _finish(self, _: Future[Any] | None) -> None:
        with self._lock:
            self._calls -= 1
