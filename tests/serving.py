"""A real omop-emb serve: its process, its link, and what it logs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

OMOP_EMB = Path(sysconfig.get_path("scripts")) / "omop-emb"


class Serving:
    """A running server.

    Attributes:
        process: omop-emb serve.
        link: what it printed.
        url: of its root, without the token.
        token: of the link, "" if it has none.
        errors: the lines that it has written to stderr.
    """

    def __init__(self, process: subprocess.Popen[str], link: str) -> None:
        self.process, self.link = process, link
        parts = urlsplit(link)
        self.url, self.host, self.port = f"{parts.scheme}://{parts.netloc}", parts.hostname, parts.port
        self.token = parse_qs(parts.query).get("token", [""])[0]
        self.errors: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line.rstrip("\n"))

    def client(self, **headers: str) -> httpx.Client:
        """A client that has the token."""
        sent = {"Authorization": f"Bearer {self.token}", **headers}
        return httpx.Client(base_url=self.url, headers=sent, timeout=60, trust_env=False)

    def connect(self) -> socket.socket:
        """A bare connection."""
        assert self.host is not None
        assert self.port is not None
        return socket.create_connection((self.host, self.port), timeout=30)

    def send(self, request: bytes) -> bytes:
        """Everything that the server sends to a bare request until it closes the connection."""
        with self.connect() as connection:
            connection.sendall(request)
            return read_all(connection)

    def wait_until_ready(self, seconds: float = 90) -> dict[str, Any]:
        """What /ready says when it is 200."""
        deadline = time.monotonic() + seconds
        with self.client() as client:
            while True:
                answer = client.get("/ready")
                if answer.status_code == 200 or time.monotonic() > deadline:
                    assert answer.status_code == 200, (answer.text, self.errors)
                    return dict(answer.json())
                time.sleep(0.05)

    def stop(self, by: int = signal.SIGTERM, seconds: float = 30) -> int:
        """The exit code after a signal."""
        self.process.send_signal(by)
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side closes the connection."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@contextmanager
def serving(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Serving]:
    """omop-emb serve on a free port, until the block ends."""
    process = subprocess.Popen(
        [OMOP_EMB, "serve", "--port", "0", *arguments],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        assert link, process.stderr.read() if process.stderr else ""
        yield Serving(process, link)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
