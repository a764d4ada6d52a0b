"""Call hooks: a timeout for each call of a shared HTTP client, for the whole of its response."""

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
        """What to pass to the client's constructor."""
        return {"event_hooks": {"request": [self._before], "response": [self._after]}}

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of this thread's last response; names in lower case."""
        return getattr(self._call, "headers", {})

    @contextmanager
    def call(self, timeout_seconds: float) -> Iterator[None]:
        """Limit each request that this thread sends within the block, response included."""
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
            # The library's own timeout starts again with each chunk: a server that drips would hold a call
            # for ever.
            bounded_stream = _bounded_stream(type(response).__module__.partition(".")[0])
            response.stream = bounded_stream(response, time.monotonic() + seconds)


@cache
def _bounded_stream(library: str) -> Callable[[Any, float], Any]:
    """The stream class for responses of httpx or httpx2; both insist on a subclass of their own."""
    http = importlib.import_module(library)

    class BoundedStream(http.SyncByteStream):  # type: ignore[misc, name-defined] # known only at run time
        def __init__(self, response: Any, deadline: float) -> None:
            self._body, self._request, self._deadline = response.stream, response.request, deadline

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self._body:
                if time.monotonic() > self._deadline:
                    raise http.ReadTimeout("the whole response took too long", request=self._request)
                yield chunk

        def close(self) -> None:
            self._body.close()

    return BoundedStream
