"""omop-emb serve: its link, its options, how it stops, and what it logs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("fastapi", reason="the extra web is not installed")

from omop_emb.errors import ConfigurationError
from omop_emb.web import ServeOptions, run_server
from tests.serving import OMOP_EMB, Serving, serving

NO_DATABASE = "postgresql://nobody@127.0.0.1:9/none"
TOKEN = "a-token-of-ours_0123456789"  # noqa: S105 - of no server but these tests'


@pytest.fixture(autouse=True)
def _no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens there: what is tested here needs no database."""
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", NO_DATABASE)


@pytest.fixture(scope="module")
def shared() -> Iterator[Serving]:
    """A server that stays up: a test that ends it, or reads its whole log, starts its own."""
    with serving(environment={"OMOP_EMB_DATABASE_URL": NO_DATABASE}) as one:
        yield one


def _run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [OMOP_EMB, "serve", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        timeout=60,
    )


def test_the_link_has_a_new_token_that_nothing_else_shows_and_sigterm_ends_the_server() -> None:
    with serving() as one:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", one.link)
        with one.client() as client:
            assert client.get("/api/openapi.json").status_code == 200
            assert client.get(f"/api/openapi.json?token={one.token}").status_code == 200
            assert client.get("/api/openapi.json", headers={"Authorization": "Bearer x"}).status_code == 401
            assert client.get("/ready").status_code == 503
            assert one.stop(signal.SIGTERM, seconds=10) == 0  # though a connection is open
        assert one.process.stdout is not None
        assert one.process.stdout.read() == ""
        assert not [line for line in one.errors if "Traceback" in line]
        assert not [line for line in one.errors if one.token in line]


def test_a_token_of_a_variable_is_never_printed_and_ctrl_c_ends_the_server() -> None:
    with serving(environment={"OMOP_EMB_SERVE_TOKEN": TOKEN}) as one:
        assert one.link == f"{one.url}/"
        with one.client(Authorization=f"Bearer {TOKEN}") as client:
            assert client.get("/api/openapi.json").status_code == 200
            assert one.stop(signal.SIGINT, seconds=10) == 130
        assert one.errors[-1] == "stopped"
        assert not [line for line in one.errors if TOKEN in line or "Traceback" in line]


ANY = "0.0.0.0"  # noqa: S104 - refused


@pytest.mark.parametrize(
    ("options", "variables", "said"),
    [
        ({"host": ANY}, {}, "--allow-host NAME"),
        ({"host": "::"}, {}, "--allow-host NAME"),
        ({"host": ANY, "allowed_hosts": ["x.org"], "asks_token": False}, {}, "--no-token is only for"),
        ({"allowed_hosts": ["x.org:80"]}, {}, "without a port"),
        ({"allowed_hosts": ["http://x.org"]}, {}, "--allow-host takes a name"),
        ({"allowed_hosts": ["*"]}, {}, "--allow-host takes a name"),
        ({"allowed_hosts": ["x.org", ""]}, {}, "--allow-host takes a name"),
        ({"allowed_hosts": ["x.org/path"]}, {}, "--allow-host takes a name"),
        ({"allowed_origins": ["*"]}, {}, "--allow-origin takes an origin"),
        ({"allowed_origins": ["x.org"]}, {}, "--allow-origin takes an origin"),
        ({"asks_token": False}, {"OMOP_EMB_SERVE_TOKEN": TOKEN}, "unset it"),
        ({}, {"OMOP_EMB_SERVE_TOKEN": "guessable"}, "16 to 200"),
        ({"host": "no.such.host.invalid"}, {}, "no address of this machine"),
        ({"host": "a b"}, {}, "no address of this machine"),
        ({"host": "x" * 300}, {}, "no address of this machine"),
        ({"host": "192.0.2.1", "allowed_hosts": ["x.org"]}, {}, "cannot listen on 192.0.2.1"),
    ],
)
def test_options_that_cannot_be_served_are_refused_in_one_line(
    options: dict[str, Any], variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    links: list[str] = []
    with pytest.raises(ConfigurationError, match=re.escape(said)) as caught:
        run_server(ServeOptions(port=0, **options), on_link=links.append, on_message=links.append)
    assert len(str(caught.value).splitlines()) == 1
    assert "guessable" not in str(caught.value)
    assert not links


@pytest.mark.parametrize(
    "arguments",
    [("--port", "65536"), ("--port", "-1"), ("--timeout", "0"), ("--workers", "0"), ("--queue", "-1")],
)
def test_options_out_of_range_are_wrong_usage(arguments: tuple[str, ...]) -> None:
    outcome = CliRunner().invoke(import_module("omop_emb.cli.serve").command, arguments)
    assert outcome.exit_code == 2
    assert arguments[0] in outcome.output


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = _run("--port", port)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: port {port} of 127.0.0.1 is in use: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_extra_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "fastapi.py").write_text("raise ImportError('not installed')\n")
    done = _run("--port", "0", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == "error: omop-emb serve needs the extra 'web': run pip install '.[web]' in the checkout\n"
    )


def test_other_machines_reach_it_by_allowed_names_and_what_they_ask_is_finished_before_it_stops() -> None:
    with serving("--host", ANY, "--allow-host", "Omop.example.org") as one:
        assert one.url.startswith("http://omop.example.org:")
        head = f"Host: omop.example.org\r\nAuthorization: Bearer {one.token}\r\n"
        address = ("127.0.0.1", one.port or 0)
        for host, status in (("omop.example.org", 200), ("evil.example", 421)):
            request = f"GET /api/openapi.json HTTP/1.1\r\n{head}\r\n".replace("omop.example.org", host)
            with socket.create_connection(address, timeout=30) as connection:
                connection.sendall(request.encode())
                assert connection.recv(100).startswith(f"HTTP/1.1 {status} ".encode())
        with socket.create_connection(address, timeout=30) as connection:
            head += "Content-Type: application/json\r\nContent-Length: 17\r\n"
            connection.sendall(f"POST /api/v1/map HTTP/1.1\r\n{head}\r\n{{".encode())
            time.sleep(0.3)  # until the request runs
            one.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(b'"terms": ["a"] }')
            assert connection.recv(100).startswith(b"HTTP/1.1 503 ")  # there is no database
        assert one.process.wait(20) == 0
        assert "with TLS in front" in one.errors[0]


SLOW = (
    b"",
    b"GET / HT",
    b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ",
)


def test_slow_clients_are_cut_off_and_hold_up_nobody(shared: Serving) -> None:
    body = f"POST /api/v1/map HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {shared.token}\r\n"
    body += "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    connections = [shared.connect() for _ in range(200)]
    try:
        for number, connection in enumerate(connections):
            connection.sendall(SLOW[number % len(SLOW)] if number % 5 else body.encode())
        with shared.client() as client:
            started = time.monotonic()
            for _ in range(20):
                assert client.get("/health").status_code == 200
            assert time.monotonic() - started < 10
        # Each is cut off within the bound for headers; test_limits waits for bodies.
        for number, connection in enumerate(connections):
            if number % 5 == 0:
                continue
            connection.settimeout(30)
            try:
                while connection.recv(65536):
                    pass
            except ConnectionResetError:
                pass
    finally:
        for connection in connections:
            connection.close()


def test_more_connections_than_allowed_close_the_idlest(shared: Serving) -> None:
    idle = []
    try:
        for _ in range(700):
            try:
                idle.append(shared.connect())
            except OSError:
                break
        with shared.client() as client:
            assert client.get("/health").status_code == 200
    finally:
        for connection in idle:
            connection.close()


ATTACKS = {
    "host missing": (b"GET /health HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n", 400),
    "host of another": (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
    "http 1.0 without a host": (b"GET /health HTTP/1.0\r\n\r\n", 421),
    "absolute target": (b"GET http://evil.example/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 401),
    "not http": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "large header": (b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431),
    "many headers": (b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: a\r\n" * 20_000 + b"\r\n", 431),
    "folded header": (b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\r\n b\r\n\r\n", 200),
    "nul in a header": (b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n", 400),
    "two lengths": (
        b"POST /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
    ),
    "length and chunks": (
        b"POST /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        405,
    ),
    "unknown transfer encoding": (
        b"POST /health HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        400,
    ),
    "websocket": (
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        200,
    ),
    "connect": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
    "trace": (b"TRACE /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405),
    "options of the server": (b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 401),
    "path upwards": (b"GET /static/../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 401),
    "path upwards, by a client": (
        b"GET /static/../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\nTOKEN\r\n\r\n",
        404,
    ),
    "encoded path upwards": (
        b"GET /static/%2e%2e%2f%2e%2e%2fetc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\nTOKEN\r\n\r\n",
        404,
    ),
    "host and a large body": (
        b"POST /api/v1/map HTTP/1.1\r\nHost: 127.0.0.1\r\nTOKEN\r\nContent-Length: 1000000000\r\n\r\n",
        413,
    ),
    "endless chunks": (
        b"POST /api/v1/map HTTP/1.1\r\nHost: 127.0.0.1\r\nTOKEN\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 16,
        413,
    ),
}


def test_attacks_are_refused_and_leave_the_server_running(shared: Serving) -> None:
    for name, (request, status) in ATTACKS.items():
        with shared.connect() as connection:
            connection.sendall(request.replace(b"TOKEN", f"Authorization: Bearer {shared.token}".encode()))
            connection.settimeout(10)
            first = connection.recv(4096)
        assert first.startswith(f"HTTP/1.1 {status} ".encode()), (name, first)
        assert b"\r\nserver:" not in first.lower(), name
    with shared.client() as client:
        assert client.get("/health").status_code == 200
    assert not [line for line in shared.errors if "Traceback" in line or " 500 " in line]


def test_no_log_line_has_a_term_a_path_or_a_token(shared: Serving) -> None:
    with shared.client() as client:
        client.get("/api/v1/search", params={"q": "metastatic"})
        client.get("/metastatic/of/a/patient")
        client.post("/api/v1/map", json={"terms": ["metastatic"]})
        client.post("/api/v1/map", json={"metastatic": 1})
        client.get("/health", headers={"X-Request-ID": "metastatic of a patient"})
        client.get("/health", headers={"Authorization": "Bearer metastatic"})
        client.request("METASTATIC", "/health")
        shared.send(b"GET /health?metastatic HTTP/1.1\r\nHost: metastatic\r\nConnection: close\r\n\r\n")
        assert client.get("/health", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    deadline = time.monotonic() + 10
    while not any(line.endswith(" mine-1") for line in shared.errors) and time.monotonic() < deadline:
        time.sleep(0.01)
    text = "\n".join(shared.errors)
    assert "GET /health 200 " in text
    assert "GET /api/v1/search 503 " in text
    assert " mine-1" in text
    assert not re.search("metastatic|patient", text, re.IGNORECASE)
    assert shared.token not in text


def test_without_a_database_a_precision_does_not_keep_the_server_from_starting() -> None:
    with serving("--accept-precision", "0.95", environment={"OMOP_EMB_DATABASE_URL": NO_DATABASE}) as one:
        assert one.stop(signal.SIGTERM, seconds=10) == 0


def test_reviewers_of_a_file_sign_in_with_their_own_tokens_and_no_token_is_logged(tmp_path: Path) -> None:
    ada = "token-of-ada-lovelace-0123456789"
    path = tmp_path / "reviewers"
    path.write_text(f"Ada Lovelace {ada}\n")
    path.chmod(0o640)
    done = _run("--port", "0", "--reviewers", str(path))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.startswith("error: others can read the tokens in ")
    path.chmod(0o600)
    with serving(environment={"OMOP_EMB_REVIEWERS_FILE": str(path)}) as one:
        with one.client() as client:  # with the server's own token
            assert client.get("/api/v1/reviewer", headers={"X-Reviewer": "Ada Lovelace"}).status_code == 401
        with one.client(Authorization=f"Bearer {ada}") as client:
            assert client.get("/api/v1/reviewer").json()["name"] == "Ada Lovelace"
            page = client.get(f"/review?token={ada}", headers={"Accept": "text/html"})
            assert page.status_code == 303
        assert one.stop() == 0
        assert not [line for line in one.errors if ada in line or "Ada" in line or "Traceback" in line]
