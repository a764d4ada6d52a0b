"""Hooks for the HTTP clients inside the SDKs: each call has its own timeout, for the whole of its answer."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any


class CallHooks:
    """Request and response hooks of one httpx or httpx2 client; each thread has its own call."""

    def __init__(self) -> None:
        self._call = threading.local()

    @property
    def client_arguments(self) -> dict[str, Any]:
        """What the client must be made with."""
        return {"event_hooks": {"request": [self._before], "response": [self._after]}}

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the last answer that this thread has had; names in lower case."""
        return getattr(self._call, "headers", {})

    @contextmanager
    def call(self, timeout_seconds: float) -> Iterator[None]:
        """Requests of this thread within the block take at most so long, each of them as a whole."""
        self._call.seconds, self._call.headers = timeout_seconds, {}
        try:
            yield
        finally:
            self._call.seconds = None

    def _before(self, request: Any) -> None:
        seconds = getattr(self._call, "seconds", None)
        if seconds is not None:
            request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), seconds)

    def _after(self, response: Any) -> None:
        self._call.headers = {name.lower(): value for name, value in response.headers.items()}
        seconds = getattr(self._call, "seconds", None)
        if seconds is not None:
            _bound(response, seconds)


def _bound(response: Any, seconds: float) -> None:
    """Let a body take so long as a whole.

    The libraries' own timeout starts anew with each piece, so that a server that drips holds a call for ever.
    """
    bounded = _bounded_stream(type(response).__module__.partition(".")[0])
    response.stream = bounded(response, time.monotonic() + seconds)


@cache
def _bounded_stream(library: str) -> Callable[[Any, float], Any]:
    """The stream class for responses of httpx or httpx2; both insist on a subclass of their own."""
    http = importlib.import_module(library)

    class BoundedStream(http.SyncByteStream):  # type: ignore[misc, name-defined] # known only when it runs
        def __init__(self, response: Any, ends: float) -> None:
            self._body, self._request, self._ends = response.stream, response.request, ends

        def __iter__(self) -> Iterator[bytes]:
            for piece in self._body:
                if time.monotonic() > self._ends:
                    raise http.ReadTimeout("the whole answer took too long", request=self._request)
                yield piece

        def close(self) -> None:
            self._body.close()

    return BoundedStream
