"""A server in a process of its own that answers each provider's protocol at once, with the same vectors."""

from __future__ import annotations

import base64
import json
import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import numpy as np

_PATHS = {b"batchEmbedContents": "gemini", b"/api/embed": "ollama", b"/v1/embeddings": "openai"}


@contextmanager
def canned_server(*, texts: dict[str, int], dimensions: int, latency_seconds: float = 0.0) -> Iterator[str]:
    """The server's URL, for the length of a block.

    Args:
        texts: provider -> how many vectors each of its answers holds.
        dimensions: of a vector.
        latency_seconds: waited before each answer.
    """
    ours, theirs = multiprocessing.Pipe()
    arguments = (theirs, texts, dimensions, latency_seconds)
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=arguments, daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _bodies(texts: dict[str, int], dimensions: int) -> dict[str, bytes]:
    random = np.random.default_rng(4)

    def rows(provider: str) -> list[list[float]]:
        found = random.normal(0, 0.05, (texts[provider], dimensions)).astype(np.float32)
        return [[float(str(number)) for number in row] for row in found]

    encoded = [base64.b64encode(np.array(row, "<f4").tobytes()).decode() for row in rows("openai")]
    data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(encoded)]
    answers = {
        "gemini": {"embeddings": [{"values": row} for row in rows("gemini")]},
        "ollama": {"model": "m", "embeddings": rows("ollama"), "prompt_eval_count": 9},
        "openai": {"object": "list", "data": data, "usage": {"prompt_tokens": 9, "total_tokens": 9}},
    }
    return {provider: json.dumps(answer).encode() for provider, answer in answers.items()}


def _serve(ready: Connection, texts: dict[str, int], dimensions: int, latency_seconds: float) -> None:
    bodies = _bodies(texts, dimensions)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    ready.send(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_answer, args=(connection, bodies, latency_seconds), daemon=True).start()


def _answer(connection: socket.socket, bodies: dict[str, bytes], latency_seconds: float) -> None:
    received = connection.makefile("rb")
    while first := received.readline():
        length = 0
        while (line := received.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        received.read(length)
        provider = next(name for path, name in _PATHS.items() if path in first)
        time.sleep(latency_seconds)
        body = bodies[provider]
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
