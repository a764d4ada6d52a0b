"""MCP over stdin and stdout: a process of one assistant, which starts it and ends it."""

from __future__ import annotations

import signal
from contextlib import closing

import anyio

from omop_emb.database.engine import engine_scope
from omop_emb.service import ConceptFinder
from omop_emb.web.assistant.assistant_backend import LocalBackend
from omop_emb.web.assistant.mcp_server import mcp_server


def run_mcp(site: str) -> None:
    """Answer on stdout what comes on stdin, until that ends; stdout carries nothing but the protocol."""
    # Ctrl-C ends the process as SIGTERM does: a thread that reads stdin cannot be stopped otherwise.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with engine_scope() as engine, closing(ConceptFinder(engine, site=site)) as finder:
        backend = LocalBackend(engine, finder)
        with closing(backend):
            server = mcp_server(backend)
            backend.warm()
            anyio.run(server.run_stdio_async)
