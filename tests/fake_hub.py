"""Fake Hugging Face hub: a local server that offers folders as models and records downloads."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


class FakeHub:
    """The server.

    Attributes:
        url: for HF_ENDPOINT.
        models: hub id -> folder.
        refusals: hub id -> (status, the hub's X-Error-Code).
        fetched: "hub id/path" of each file that was sent.
    """

    def __init__(self) -> None:
        self.models: dict[str, Path] = {}
        self.refusals: dict[str, tuple[int, str]] = {}
        self.fetched: list[str] = []
        outer = self

        class Handler(_Handler):
            hub = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def commit_of(folder: Path) -> str:
    """The commit under which a folder is offered: 40 hex digits that depend on its content."""
    digest = hashlib.sha1(usedforsecurity=False)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: FakeHub

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path = unquote(self.path.partition("?")[0])
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(?:revision|tree)/([^/]+)", path) or re.fullmatch(
            r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path
        )
        name, revision = (match[1], match[2]) if match else ("", "")
        if name in self.hub.refusals:
            status, code = self.hub.refusals[name]
            self._send(status, b"{}", {"X-Error-Code": code})
        elif name not in self.hub.models:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", commit_of(self.hub.models[name])):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif "/resolve/" in path and match is not None:
            self._file(name, match[3])
        elif "/tree/" in path:
            self._send(200, json.dumps(list(self._tree(self.hub.models[name]))).encode(), {})
        else:
            about: dict[str, object] = {"id": name, "sha": commit_of(self.hub.models[name]), "siblings": []}
            self._send(200, json.dumps(about).encode(), {})

    def _tree(self, folder: Path) -> Iterator[dict[str, object]]:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = str(path.relative_to(folder))
                yield {"type": "file", "path": name, "size": path.stat().st_size, "oid": _etag(path)}

    def _file(self, name: str, path: str) -> None:
        folder = self.hub.models[name]
        if not (folder / path).is_file():
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            return
        if self.command == "GET":
            self.hub.fetched.append(f"{name}/{path}")
        headers = {"ETag": f'"{_etag(folder / path)}"', "X-Repo-Commit": commit_of(folder)}
        self._send(200, (folder / path).read_bytes(), headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """The server, for the length of a block."""
    hub = FakeHub()
    try:
        yield hub
    finally:
        hub.close()
