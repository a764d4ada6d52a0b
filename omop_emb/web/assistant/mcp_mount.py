"""MCP over HTTP: the tools of an assistant at /mcp, behind the application's token, hosts and limits."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import TYPE_CHECKING

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from omop_emb.web.problems import problem_of
from omop_emb.web.state import ServerState

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

PATH = "/mcp"


def is_installed() -> bool:
    """Whether the extra `mcp` is."""
    return find_spec("mcp") is not None


class McpEndpoint:
    """Answers the protocol's requests, each by itself: no session outlives its request.

    The SDK is imported at the first one, because that takes a second or two.

    Attributes:
        route: the route to it.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._opening, self._closing = asyncio.Lock(), asyncio.Event()
        self._manager: StreamableHTTPSessionManager | None = None
        self._running: asyncio.Task[None] | None = None
        # A GET would hold a connection open for messages that never come.
        self.route = Route(PATH, self, methods=["POST"], include_in_schema=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        scope["route"] = self.route  # for the log and the metrics, as FastAPI does
        async with self._opening:
            if self._manager is None:
                await self._open()
        assert self._manager is not None  # noqa: S101 - it was opened
        await self._manager.handle_request(scope, receive, send)

    async def close(self) -> None:
        """Answer no more."""
        self._closing.set()
        if self._running is not None:
            await self._running

    async def _open(self) -> None:
        manager, started = await asyncio.to_thread(_session_manager, self._state), asyncio.Event()

        async def run() -> None:
            # In a task of its own, which also ends it: the SDK allows no other.
            async with manager.run():
                started.set()
                await self._closing.wait()

        self._running = asyncio.create_task(run())
        await started.wait()
        self._manager = manager


def _session_manager(state: ServerState) -> StreamableHTTPSessionManager:
    from mcp.server.transport_security import TransportSecuritySettings

    from omop_emb.web.assistant.mcp_server import mcp_server

    server = mcp_server(state, shown=lambda error: problem_of(error)[1])
    server.streamable_http_app(
        stateless_http=True,
        json_response=True,
        max_request_body_size=state.settings.limits.body_bytes,
        # The application has checked Host and Origin.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return server.session_manager
