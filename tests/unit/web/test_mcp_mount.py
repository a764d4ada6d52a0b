"""The assistant's tools over HTTP: behind the application's token and hosts, each request by itself."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import sqlalchemy

pytest.importorskip("mcp", reason="the extra mcp is not installed")

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from omop_emb.errors import BusyError, DatabaseError, InputError
from omop_emb.web import ServerSettings, ServerState, create_app
from tests.unit.web.conftest import TOKEN, FakeFinder, NewClient

HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
TOOLS = ["search", "fetch", "map_terms", "get_concept", "get_hierarchy", "find_similar"]


def message(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


HELLO = message(
    "initialize",
    protocolVersion="2025-06-18",
    capabilities={},
    clientInfo={"name": "test", "version": "1"},
)


def test_each_request_is_answered_by_itself(new_client: NewClient) -> None:
    with new_client() as client:
        hello = client.post("/mcp", json=HELLO, headers=HEADERS)
        tools = client.post("/mcp", json=message("tools/list"), headers=HEADERS)
    assert hello.json()["result"]["serverInfo"]["name"] == "omop-emb"
    assert "mcp-session-id" not in hello.headers
    assert hello.headers["content-type"] == "application/json"
    assert [tool["name"] for tool in tools.json()["result"]["tools"]] == TOOLS


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong-token-of-43-characters-0123456789abc"}, 401),
        ({"Authorization": f"Bearer {TOKEN}", "Host": "evil.example.org"}, 421),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "https://evil.example.org"}, 403),
        ({"Authorization": f"Bearer {TOKEN}", "Host": "localhost:8077"}, 200),
    ],
)
def test_the_token_and_the_host_are_checked_as_for_every_request(
    new_client: NewClient, headers: dict[str, str], status: int
) -> None:
    with new_client(headers=headers) as client:
        assert client.post("/mcp", json=HELLO, headers=HEADERS).status_code == status


def test_the_log_names_the_route_and_nothing_that_was_asked(
    new_client: NewClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with new_client() as client:
        client.post("/mcp", json=message("tools/call", name="zzz private zzz"), headers=HEADERS)
    assert "POST /mcp 200" in caplog.text
    assert "private" not in caplog.text


def test_the_token_may_stand_in_the_address(new_client: NewClient) -> None:
    with new_client(headers={}) as client:
        assert client.post(f"/token/{TOKEN}/mcp", json=HELLO, headers=HEADERS).status_code == 200
        assert client.post("/token/wrong/mcp", json=HELLO, headers=HEADERS).status_code == 401


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_no_connection_is_held_open(new_client: NewClient, method: str) -> None:
    with new_client() as client:
        answer = client.request(method, "/mcp", headers=HEADERS)
    assert answer.status_code == 405


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"jsonrpc": "2.0"}', b'{"jsonrpc":"1.0","id":1}']
)
def test_a_message_that_is_none_is_refused(new_client: NewClient, body: bytes) -> None:
    with new_client() as client:
        answer = client.post("/mcp", content=body, headers=HEADERS)
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InputError("there is no domain 'Drgu'"), "there is no domain 'Drgu'"),
        (
            DatabaseError("cannot connect to db.internal as admin"),
            "the database cannot be used now: try again",
        ),
        (BusyError("the server is busy: try again in a moment"), "the server is busy: try again in a moment"),
        (ZeroDivisionError("a term"), "the server failed: unexpected ZeroDivisionError"),
    ],
)
def test_an_error_is_told_to_the_assistant_without_what_the_server_keeps_to_itself(
    new_client: NewClient, error: Exception, text: str
) -> None:
    def find(*_: Any, **__: Any) -> None:
        raise error

    with new_client(finder=FakeFinder(find=find)) as client:
        call = message("tools/call", name="search", arguments={"query": "x"})
        result = client.post("/mcp", json=call, headers=HEADERS).json()["result"]
    assert result["isError"] is True
    assert result["content"][0]["text"].startswith(text)


def test_the_sdks_client_talks_to_it() -> None:
    engine = sqlalchemy.create_engine("postgresql+psycopg://nobody@127.0.0.1:9/none?connect_timeout=2")
    finder: Any = FakeFinder()
    state = ServerState(engine=engine, finder=finder, settings=ServerSettings(token=TOKEN))
    app = create_app(state)

    async def ask() -> tuple[list[str], Any]:
        transport = httpx2.ASGITransport(app)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, headers=headers) as http,
            Client(streamable_http_client("http://127.0.0.1:8077/mcp", http_client=http)) as client,
        ):
            tools = (await client.list_tools()).tools
            return [tool.name for tool in tools], await client.call_tool("fetch", {"id": "1"})

    names, failed = asyncio.run(ask())
    engine.dispose()
    assert names == TOOLS
    assert failed.is_error
    assert failed.content[0].text.startswith("the database cannot be used now")
