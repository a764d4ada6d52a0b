"""A real server over a real socket: many clients, a database that goes away, a space that is switched."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
import sqlalchemy
from psycopg.sql import SQL, Identifier

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.server import supervisor
from omop_emb.service import demo
from omop_emb.spaces import activate_space, space_by_name
from tests.serving import OMOP_EMB, Serving, serving

RIGHT = {"htn": 316866, "heart attack": 4329847, "T2DM": 201826, "pneumonia": 255848}


@pytest.fixture(scope="module")
def server(web_database_url: str, cache_folder: Path) -> Iterator[Serving]:
    environment = {"OMOP_EMB_DATABASE_URL": web_database_url, "XDG_CACHE_HOME": str(cache_folder)}
    with serving(environment=environment) as one:
        one.wait_until_ready()
        yield one


def _first(answer: Any) -> int:
    return int(answer.json()["concepts"][0]["concept"]["concept_id"])


def _is_right_or_busy(answer: Any, term: str) -> bool:
    """Whether an answer is right, and not if it is a clear 503; anything else is an error."""
    if answer.status_code == 503:
        assert answer.json()["type"] in ("/problems/busy", "/problems/database-unavailable")
        assert int(answer.headers["retry-after"]) > 0
        return False
    assert answer.status_code == 200, answer.text
    assert _first(answer) == RIGHT[term], answer.text
    return True


def test_thirty_two_clients_at_once_all_get_right_answers(server: Serving) -> None:
    terms = list(RIGHT)

    def ask(number: int) -> list[float]:
        seconds = []
        with server.client() as client:
            for turn in range(5):
                term = terms[(number + turn) % len(terms)]
                started = time.monotonic()
                assert _is_right_or_busy(client.get("/api/v1/search", params={"q": term}), term)
                seconds.append(time.monotonic() - started)
        return seconds

    with ThreadPoolExecutor(32) as clients:
        times = sorted(second for seconds in clients.map(ask, range(32)) for second in seconds)
    assert len(times) == 160


def test_a_client_that_goes_away_frees_its_worker(server: Serving) -> None:
    body = json.dumps({"terms": [f"fracture of the hip {number}" for number in range(1000)]}).encode()
    head = (
        f"POST /api/v1/map HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {server.token}\r\n"
        f"X-Request-ID: gone-1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with server.connect() as connection:
        connection.sendall(head.encode() + body)
        time.sleep(0.5)
    deadline = time.monotonic() + 20
    with server.client() as client:
        while time.monotonic() < deadline:
            logged = any(line.endswith(" gone-1") and " 499 " in line for line in server.errors)
            if logged and "omop_emb_workers_busy 0.0" in client.get("/metrics").text:
                return
            time.sleep(0.05)
    raise AssertionError("a worker still maps for a client that is gone")


PAGE = Path(__file__).parents[3] / "docs/how-to/serve.md"


def _examples(beginning: str) -> list[str]:
    """The examples of the page that begin so."""
    blocks = re.findall(r"^```text\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [block for block in blocks if block.startswith(beginning)]


def _run_example(server: Serving, command: list[str], example: str) -> str:
    done = subprocess.run(
        [*command, example.replace("http://127.0.0.1:8077", server.url)],
        env={**os.environ, "OMOP_EMB_SERVE_TOKEN": server.token},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_examples_of_the_page_run(server: Serving) -> None:
    search, mapping = (
        json.loads(_run_example(server, ["bash", "-c"], example)) for example in _examples("curl")
    )
    assert search["concepts"][0]["concept"]["concept_name"] == "Hypertensive disorder"
    assert mapping["terms"][0]["candidates"][0]["concept_id"] == RIGHT["heart attack"]


def _has_httr2() -> bool:
    command = ["Rscript", "-e", "library(httr2)"]
    return (
        shutil.which("Rscript") is not None and subprocess.run(command, capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not _has_httr2(), reason="R or its package httr2 is not installed")
def test_the_r_example_of_the_page_runs(server: Serving) -> None:
    (example,) = _examples("library")
    assert "Hypertensive disorder" in _run_example(server, ["Rscript", "-e"], example)


@contextmanager
def _asking(server: Serving) -> Iterator[list[tuple[float, int, int | None]]]:
    """Four clients that ask all the time: when each answer came, its status and its space."""
    answers: list[tuple[float, int, int | None]] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def ask(term: str) -> None:
        try:
            with server.client() as client:
                while not stop.is_set():
                    asked = time.monotonic()
                    answer = client.get("/api/v1/search", params={"q": term, "limit": 1})
                    right = _is_right_or_busy(answer, term)
                    space = answer.json()["provenance"]["space_id"] if right else None
                    answers.append((asked, answer.status_code, space))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(term,)) for term in RIGHT]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert not failures, failures


def test_a_switch_of_the_space_under_load_gives_right_answers_by_the_new_one(
    server: Serving, web_engine: sqlalchemy.Engine
) -> None:
    with _asking(server) as answers:
        for name in ("all-MiniLM-L6-v2-hnsw", "all-MiniLM-L6-v2-flat"):
            with session_scope(web_engine) as session:
                connection = driver_connection(session)
                space = space_by_name(connection, name)
                activate_space(connection, space)
            switched, before = time.monotonic(), len(answers)
            deadline = switched + 60
            while len([one for one in answers if one[0] > switched]) < 8 and time.monotonic() < deadline:
                time.sleep(0.02)
            later = [one for one in answers[before:] if one[0] > switched]
            assert {status for _, status, _ in later} == {200}
            assert {found for _, _, found in later} == {space.space_id}


def test_a_database_that_goes_away_is_a_503_and_the_next_answers_are_right(
    server: Serving, server_conninfo: str, web_database_url: str
) -> None:
    with psycopg.connect(web_database_url) as connection:
        name = connection.info.dbname
    allow = {
        answer: SQL("alter database {} allow_connections {}").format(Identifier(name), SQL(answer))
        for answer in ("false", "true")
    }
    with psycopg.connect(server_conninfo, autocommit=True) as admin, server.client() as client:
        admin.execute(allow["false"])
        try:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,)
            )
            for path in (
                "/api/v1/search?q=htn",
                "/api/v1/complete?q=hyp",
                "/api/v1/concepts/316866",
                "/api/v1/concepts/999999999",
                "/api/v1/concepts/316866/parents",
                "/api/v1/concepts/316866/similar",
                "/api/v1/spaces",
                "/api/v1/vocabulary",
            ):
                answer = client.get(path)
                assert answer.status_code == 503, (path, answer.text)
                assert answer.json()["type"] == "/problems/database-unavailable"
                assert answer.headers["retry-after"]
                assert name not in answer.text
            mapped = client.post("/api/v1/map", json={"terms": ["htn"]})
            assert mapped.status_code == 503
            assert client.get("/ready").status_code == 503
            assert client.get("/health").status_code == 200
        finally:
            admin.execute(allow["true"])
        server.wait_until_ready()
        for term in RIGHT:
            assert _is_right_or_busy(client.get("/api/v1/search", params={"q": term}), term)


@pytest.mark.long
def test_a_restarted_database_under_load_gives_right_answers_or_a_503(
    folder: Path, cache_folder: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMOP_EMB_DATA_DIR", str(folder / "data"))
        demo.run_demo(lambda _: None)
    url = f"postgresql:///?{_socket_query(supervisor.ensure_running(folder / 'data'))}"
    environment = {"OMOP_EMB_DATABASE_URL": url, "XDG_CACHE_HOME": str(cache_folder)}
    with serving(environment=environment) as one:
        one.wait_until_ready()
        with _asking(one) as answers:
            for _ in range(3):
                supervisor.stop(folder / "data")
                stopped = time.monotonic()
                while not [status for asked, status, _ in answers if asked > stopped and status == 503]:
                    time.sleep(0.05)
                supervisor.ensure_running(folder / "data")
                one.wait_until_ready()
        assert {status for _, status, _ in answers} == {200, 503}


def _socket_query(conninfo: str) -> str:
    return urlencode(psycopg.conninfo.conninfo_to_dict(conninfo))


def test_a_precision_that_cannot_be_reached_is_refused_at_the_start(
    web_database_url: str, cache_folder: Path
) -> None:
    done = subprocess.run(
        [OMOP_EMB, "serve", "--port", "0", "--accept-precision", "0.95"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMOP_EMB_DATABASE_URL": web_database_url, "XDG_CACHE_HOME": str(cache_folder)},
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("error: thresholds learned at other hospitals")
    assert done.stderr.splitlines()[-1].endswith(", or leave out --accept-precision")
