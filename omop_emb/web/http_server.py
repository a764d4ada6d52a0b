"""HTTP server: uvicorn over a socket of ours, with bounds for slow connections and a graceful stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from omop_emb.errors import ConfigurationError
from omop_emb.web.app import create_app
from omop_emb.web.server_settings import Limits
from omop_emb.web.state import ServerState

_STOP_SECONDS = 10  # for requests that run when the server is stopped
_KEEP_ALIVE_SECONDS = 15


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on the first address of a host.

    Raises:
        ConfigurationError: the host has no address here, or the port is in use.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"--host {host!r} is no address of this machine") from error
    family, kind, protocol, _, address = sorted(found, key=lambda one: one[0] != socket.AF_INET)[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"port {port} of {host} is in use: stop what listens there, or choose another with --port"
            ) from error
        raise ConfigurationError(f"cannot listen on {host}, port {port}: {error.strerror}") from error
    return listener


def serve(state: ServerState, listener: socket.socket, *, on_start: Callable[[], None]) -> None:
    """Answer requests until SIGTERM or Ctrl-C; requests that run then have ten seconds to finish.

    Raises:
        KeyboardInterrupt: it was stopped by Ctrl-C.
    """
    _log_to_stderr()
    config = uvicorn.Config(
        create_app(state),
        http=_protocol(state.settings.limits),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
        h11_max_incomplete_event_size=2 * state.settings.limits.header_bytes,
    )
    server = _Server(config, on_start)
    server.run(sockets=[listener])
    if server.stopped_by == signal.SIGINT:
        raise KeyboardInterrupt


class _Server(uvicorn.Server):
    """Says when it listens, and remembers the signal that stopped it, where uvicorn would raise it again."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start
        self.stopped_by: int | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit  # the second signal waits for nothing
        self.should_exit = True
        self.stopped_by = sig


def _protocol(limits: Limits) -> type[H11Protocol]:
    """A protocol whose connections end if a header takes too long, and the idlest if there are too many."""
    waiting: dict[H11Protocol, None] = {}  # without a request, in the order of waiting

    class Protocol(H11Protocol):
        header_timer: asyncio.TimerHandle | None = None

        # As uvicorn's own: asyncio gives a transport that reads and writes.
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._begin_header()
            if len(self.connections) > limits.connections and waiting:
                next(iter(waiting)).transport.abort()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._end_header()
            elif self.header_timer is None:
                self._begin_header()

        def on_response_complete(self) -> None:
            waiting[self] = None  # uvicorn's timer for idle connections runs from here
            super().on_response_complete()
            if not self.cycle.response_complete:
                self._end_header()  # of a request that was sent before the answer to the last

        def connection_lost(self, exc: Exception | None) -> None:
            self._end_header()
            super().connection_lost(exc)

        def _begin_header(self) -> None:
            waiting[self] = None
            self.header_timer = self.loop.call_later(limits.header_seconds, self.transport.abort)

        def _end_header(self) -> None:
            waiting.pop(self, None)
            if self.header_timer is not None:
                self.header_timer.cancel()
                self.header_timer = None

    return Protocol


def _log_to_stderr() -> None:
    """Let the server's own lines pass, whatever level the command line has for libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("omop_emb.web")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # Its lines about broken requests say nothing that ours do not, and may quote them.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)


def bound_address(listener: socket.socket) -> tuple[str, int]:
    """The address and port that a socket listens on."""
    address: Any = listener.getsockname()
    return str(address[0]), int(address[1])
