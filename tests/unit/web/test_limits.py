"""How large, deep and slow a request may be, and what happens to the work of clients that go away."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request

from omop_emb.errors import BusyError
from omop_emb.web import Limits, ServerState
from omop_emb.web.limits import RequestLimits
from omop_emb.web.problems import KINDS
from omop_emb.web.worker_pool import WorkerPool
from tests.unit.web.conftest import FakeFinder, NewClient

JSON = {"Content-Type": "application/json"}


def _echo(app: FastAPI) -> None:
    @app.post("/echo")
    async def echo(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}


def _chunks(size: int, count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * size


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"x" * 1000, {}, 200),
        (b"x" * 1001, {}, 413),
        (b"", {}, 200),
        (_chunks(100, 10), {}, 200),
        (_chunks(100, 11), {}, 413),
        (_chunks(1, 1001), {}, 413),
        (b"x", {"Content-Length": "99999999999999999999999"}, 413),
        (b"x", {"Content-Length": "-1"}, 413),
        (b"x", {"Content-Length": "1e3"}, 413),
        (b"x", {"Content-Encoding": "gzip"}, 415),
        (b"x", {"Content-Encoding": "identity"}, 200),
    ],
)
def test_a_body_is_bounded_whether_it_says_its_length_or_not(
    new_client: NewClient, content: Any, headers: dict[str, str], status: int
) -> None:
    with new_client(add=_echo, limits=Limits(body_bytes=1000)) as client:
        answer = client.post("/echo", content=content, headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"a": [1, {"b": "\\u00e9"}]}', 200),
        (b"[" * 32 + b"]" * 32, 200),
        (b"[" * 33 + b"]" * 33, 413),
        (b'{"a":' * 33 + b"1" + b"}" * 33, 413),
        (b"[" * 900_000, 413),
        (b'{"text": "' + b"[" * 100 + b'"}', 200),
        (b'{"text": "\\"' + b"[" * 100 + b'"}', 200),
        (b'{"text": "\\\\"' + b"[" * 100 + b'"}', 413),
        (b"[[]," * 1 + b"[]," * 100 + b"[]]", 200),
        (b'"\\u0000"', 400),
        (b'"\\\\u0000"', 200),
        (b'"\\ud83d\\ude00"', 200),
        (b'"\\uD83D\\uDE00"', 200),
        (b'"\\ud83d"', 400),
        (b'"\\ude00"', 400),
        (b'"\\ude00\\ud83d"', 400),
        (b'"\\ud83d x\\ude00"', 400),
        (b'"\\ud83d\\ud83d\\ude00"', 400),
        (b'"\\ud83d\\n\\ude00"', 400),
        ('"\u00e9"'.encode("latin-1"), 400),
        ('{"a": 1}'.encode("utf-16"), 400),
        (b'{"a": "\x00"}', 400),
        (b"\xed\xa0\x80", 400),
    ],
)
def test_json_is_bounded_in_depth_and_is_text(new_client: NewClient, body: bytes, status: int) -> None:
    with new_client(add=_echo) as client:
        assert client.post("/echo", content=body, headers=JSON).status_code == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health?x=" + "a" * 7_000, 200),
        ("/health?x=" + "a" * 9_000, 414),
        ("/" + "a" * 9_000, 414),
        ("/health?x=%00", 400),
        ("/health%00", 400),
        ("/health?x=%2500", 200),
    ],
)
def test_a_query_is_bounded_and_has_no_nul(new_client: NewClient, path: str, status: int) -> None:
    with new_client() as client:
        assert client.get(path).status_code == status


def test_what_takes_too_long_is_a_503_that_says_when_to_ask_again(new_client: NewClient) -> None:
    def add(app: FastAPI) -> None:
        @app.get("/slow")
        async def slow() -> None:
            await asyncio.sleep(30)

    with new_client(add=add, limits=Limits(request_seconds=0.1)) as client:
        answer = client.get("/slow")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/timeout")
    assert int(answer.headers["retry-after"]) > 0


def test_a_body_that_does_not_arrive_is_refused_in_time() -> None:
    sent: list[Any] = []

    async def never(*_: Any) -> None:
        raise AssertionError("the application must not be asked")

    async def ask() -> None:
        parts = iter([{"type": "http.request", "body": b"{", "more_body": True}])

        async def receive() -> Any:
            for part in parts:
                return part
            await asyncio.sleep(60)

        async def send(message: Any) -> None:
            sent.append(message)

        layer = RequestLimits(never, Limits(body_seconds=0.05))
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "headers": [],
            "state": {"request_id": "1"},
        }
        await layer(scope, receive, send)

    asyncio.run(ask())
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


def test_more_requests_than_may_wait_are_refused_at_once_and_counted() -> None:
    release = threading.Event()

    async def ask() -> tuple[list[str], int]:
        pool = WorkerPool(workers=2, queue=3)
        started = [asyncio.create_task(pool.run(release.wait, 20)) for _ in range(5)]
        await asyncio.sleep(0)
        assert (pool.running, pool.waiting) == (2, 3)
        refusals = []
        for _ in range(4):
            try:
                await pool.run(int)
            except BusyError as error:
                refusals.append(str(error))
        following = asyncio.create_task(pool.run_next(int, 7))
        release.set()
        assert await asyncio.gather(*started) == [True] * 5
        assert await following == 7
        assert await pool.run(int, 8) == 8
        refused = pool.refused
        pool.close()
        with pytest.raises(BusyError, match="stopping"):
            await pool.run(int)
        return refusals, refused

    refusals, refused = asyncio.run(ask())
    assert len(refusals) == refused == 4


def test_a_client_that_goes_away_while_it_waits_gives_its_place_back() -> None:
    release = threading.Event()
    ran: list[str] = []

    async def ask() -> None:
        pool = WorkerPool(workers=1, queue=1)
        running = asyncio.create_task(pool.run(release.wait, 20))
        waiting = asyncio.create_task(pool.run(ran.append, "nobody wants it"))
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await pool.run(ran.append, "one too many")
        waiting.cancel()
        await asyncio.wait({waiting})
        other = asyncio.create_task(pool.run(ran.append, "another"))
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(running, other)
        pool.close()

    asyncio.run(ask())
    assert ran == ["another"]


def test_a_client_that_goes_away_ends_its_request() -> None:
    outcome: list[str] = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            outcome.append("cancelled")
            raise

    async def messages() -> AsyncIterator[Any]:
        yield {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.sleep(0.05)
        yield {"type": "http.disconnect"}

    async def ask() -> None:
        incoming = messages()

        async def receive() -> Any:
            return await anext(incoming)

        async def send(message: Any) -> None:
            outcome.append("sent")

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [],
            "state": {"request_id": "1"},
        }
        await RequestLimits(slow, Limits())(scope, receive, send)

    started = time.monotonic()
    asyncio.run(ask())
    assert outcome == ["cancelled"]
    assert time.monotonic() - started < 10


def test_a_busy_server_answers_503_and_still_says_that_it_is_alive(new_client: NewClient) -> None:
    release, arrived = threading.Event(), threading.Semaphore(0)

    def wait() -> None:
        arrived.release()
        release.wait(20)

    def add(app: FastAPI) -> None:
        state: ServerState = app.state.server

        @app.get("/work")
        async def work() -> None:
            await state.run(wait)

    # The finder's warm start needs no thread of the pool.
    with new_client(add=add, finder=FakeFinder(), limits=Limits(workers=1, queue=0)) as client:
        waiting = threading.Thread(target=client.get, args=("/work",))
        waiting.start()
        assert arrived.acquire(timeout=10)
        answer = client.get("/work")
        alive = client.get("/health")
        release.set()
        waiting.join()
        assert client.get("/work").status_code == 200
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/busy")
    assert answer.headers["retry-after"]
    assert alive.status_code == 200


def test_metrics_have_templates_and_no_terms(new_client: NewClient) -> None:
    with new_client() as client:
        client.get("/api/v1/search?q=metastatic")
        client.get("/api/v1/concepts/4329847")
        client.get("/api/v1/concepts/4329847/parents")
        client.get("/no/metastatic/path")
        client.request("BREW", "/health")
        text = client.get("/metrics").text
    assert "metastatic" not in text
    assert "4329847" not in text
    for route in (
        "/api/v1/search",
        "/api/v1/concepts/{concept_id}",
        "/api/v1/concepts/{concept_id}/{kind}",
        "none",
    ):
        assert f'route="{route}"' in text
    assert 'method="other"' in text
    assert "omop_emb_workers" in text


def test_the_reference_lists_every_kind_of_problem_with_its_status() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/rest.md").read_text()
    listed = re.findall(r"^\| (\d{3}) \| `/problems/([a-z-]+)` \|", page, re.MULTILINE)
    assert {(kind.status, name) for name, kind in KINDS.items()} == {
        (int(status), name) for status, name in listed
    }
