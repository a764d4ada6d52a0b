"""A local server that speaks the chat protocols of Ollama, Gemini and OpenAI, and misbehaves on order."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# A turn takes the numbered terms of a question and says what the model answers, or does something worse.
Reply = str | tuple[int, dict[str, str], Any]
Turn = Callable[[list[dict[str, Any]]], Reply]


@dataclass
class ChatServer:
    """What was asked, and what is to be answered.

    Attributes:
        url: where it listens.
        requests: path and JSON body of each request, in order.
        turns: used up one by one; the last one stays.
    """

    url: str
    turns: list[Turn]
    requests: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def questions(self) -> list[list[dict[str, Any]]]:
        """The terms of each request."""
        return [terms_of(asked_text(path, body)) for path, body, _ in self.requests]


def asked_text(path: str, body: dict[str, Any]) -> str:
    """The question, in any of the protocols."""
    if "generateContent" in path:
        return str(body["contents"][0]["parts"][0]["text"])
    return str(body["messages"][1]["content"])


def terms_of(text: str) -> list[dict[str, Any]]:
    """The terms of a question, as they were described."""
    return [json.loads(found) for found in re.findall(r"^term \d+: (.*)$", text, re.MULTILINE)]


def answers(*chosen: Any) -> str:
    """A well-formed answer: an id or "none" for each term."""
    entries = [{"term": n, "concept_id": c, "reason": f"because {n}"} for n, c in enumerate(chosen, start=1)]
    return json.dumps({"answers": entries})


def first_candidates(terms: list[dict[str, Any]]) -> str:
    """Choose the candidate with the lowest id of each term: they are shown in no order."""
    return answers(*(min((one["concept_id"] for one in term["candidates"]), key=int) for term in terms))


def sleeping(seconds: float) -> Turn:
    """Answer too late."""

    def turn(terms: list[dict[str, Any]]) -> Reply:
        time.sleep(seconds)
        return first_candidates(terms)

    return turn


def status(code: int, message: str = "", **headers: str) -> Turn:
    """Answer with an HTTP status."""
    return lambda _terms: (code, {k.replace("_", "-"): v for k, v in headers.items()}, {"error": message})


def wrapped(path: str, text: str) -> dict[str, Any]:
    """A model's words in the answer of each protocol."""
    if "generateContent" in path:
        return {
            "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 10},
        }
    if path.endswith("/api/chat"):
        return {
            "model": "m",
            "created_at": "2026-01-01T00:00:00Z",
            "message": {"role": "assistant", "content": text},
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 100,
            "eval_count": 10,
        }
    return {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }


@contextmanager
def chat_server(*turns: Turn) -> Iterator[ChatServer]:
    """A server for a while."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.requests.append((self.path, body, {k.lower(): v for k, v in self.headers.items()}))
                turn = state.turns.pop(0) if len(state.turns) > 1 else state.turns[0]
            reply = turn(terms_of(asked_text(self.path, body)))
            code, headers, answer = (200, {}, wrapped(self.path, reply)) if isinstance(reply, str) else reply
            payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            try:
                self.wfile.write(payload)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client waits no longer

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = ChatServer(f"http://127.0.0.1:{server.server_port}", list(turns))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
