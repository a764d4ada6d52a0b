"""Fake providers: a local server with the protocols of Gemini, Ollama and OpenAI, and their failures."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.fake_gemini_jobs import FakeJobs

Json = dict[str, Any]


def fake_vector(text: str, dimensions: int) -> list[float]:
    """A vector that depends on the text alone, not of unit length; fewer dimensions are a cut of more."""
    return list(_vector(text, dimensions))


@cache
def _vector(text: str, dimensions: int) -> list[float]:
    values: list[float] = []
    block = 0
    while len(values) < dimensions:
        digest = hashlib.sha256(f"{block}:{text}".encode()).digest()
        values += [(byte - 127.5) / 50 for byte in digest]
        block += 1
    return values[:dimensions]


def media_text(media_type: str, data: bytes) -> str:
    """What stands for bytes among the texts of a request, so that vectors depend on them."""
    return f"<{media_type} {hashlib.sha256(data).hexdigest()}>"


def _part_text(part: Json) -> str:
    blob = part.get("inline_data", part.get("inlineData"))  # google-genai's spelling differs by service
    if blob is None:
        return str(part["text"])
    # It writes bytes in the alphabet of URLs.
    return media_text(blob["mime_type"], base64.urlsafe_b64decode(blob["data"]))


# The fields that hold texts, and those that ask for shorter vectors, in the services' protocols.
_INPUTS = ("input", "texts", "inputs", "inputText")
_DIMENSIONS = ("dimensions", "output_dimension")


@dataclass(frozen=True)
class Call:
    """One request that the server received."""

    method: str
    path: str
    headers: dict[str, str]
    body: Json

    @property
    def texts(self) -> list[str]:
        """The texts of an embedding request, whatever the protocol; media by media_text()."""
        if "requests" in self.body:
            return ["".join(map(_part_text, entry["content"]["parts"])) for entry in self.body["requests"]]
        if "instances" in self.body:
            return [entry["content"] for entry in self.body["instances"]]
        if isinstance(self.body.get("content"), dict):
            return ["".join(map(_part_text, self.body["content"]["parts"]))]
        texts: Any = next((self.body[name] for name in _INPUTS if name in self.body), [])
        return [texts] if isinstance(texts, str) else list(texts)


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    Attributes:
        status: HTTP status in place of 200.
        body: sent in place of the answer.
        headers: sent besides.
        how: "cut before", "cut within", "cut after", "hang" or "drip"; "" answers in one piece.
        change: changes the vectors of a good answer.
    """

    status: int = 200
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    how: str = ""
    change: Callable[[list[Any]], list[Any]] | None = None


KEY = "a-key-that-must-not-show"
# The variables of providers with a profile: what follows the server's address, and keys.
PROFILE_ADDRESSES = {
    "AZURE_OPENAI_ENDPOINT": "",
    "CO_API_URL": "",
    "VOYAGE_BASE_URL": "/v1",
    "JINA_BASE_URL": "/v1",
    "MISTRAL_BASE_URL": "/v1",
    "VLLM_BASE_URL": "/v1",
    "TEI_BASE_URL": "",
    "LMSTUDIO_BASE_URL": "/v1",
    "LLAMACPP_BASE_URL": "/v1",
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "",
}
PROFILE_KEYS = (
    *("AZURE_OPENAI_API_KEY", "CO_API_KEY", "VOYAGE_API_KEY", "JINA_API_KEY", "MISTRAL_API_KEY"),
    *("VLLM_API_KEY", "TEI_API_KEY", "LMSTUDIO_API_KEY", "LLAMA_API_KEY", "AWS_BEARER_TOKEN_BEDROCK"),
)


class FakeProviders:
    """The server.

    Attributes:
        url: http://127.0.0.1:PORT.
        calls: the requests, in order.
        fault: called for each embedding request and each request for a batch job; None answers well.
        jobs: batch jobs and files of Gemini.
        latency_seconds: waited before each answer.
        dimensions: of a vector where the request does not ask for fewer.
        ollama_models: name -> digest.
        floats_only: the OpenAI endpoint ignores encoding_format.
        max_texts: more in one request are refused; None accepts any number.
        vertex_max_texts: the same for Vertex AI, in its words.
        vertex_max_tokens: of a text on Vertex AI, a word each; a longer one is cut or refused, as was asked.
    """

    def __init__(self) -> None:
        self.reset()
        outer = self

        class Handler(_Handler):
            fake = outer

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def point_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set the variables that lead each provider's SDK here."""
        monkeypatch.setenv("OLLAMA_HOST", self.url)
        monkeypatch.setenv("GEMINI_API_KEY", KEY)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", self.url)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{self.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        for name, path in PROFILE_ADDRESSES.items():
            monkeypatch.setenv(name, f"{self.url}{path}")
        for name in PROFILE_KEYS:
            monkeypatch.setenv(name, KEY)

    def reset(self) -> None:
        """Forget calls, faults and settings."""
        self.calls: list[Call] = []
        self.fault: Callable[[Call], Fault | None] = lambda _call: None
        self.latency_seconds = 0.0
        self.dimensions = 768
        self.ollama_models = {"nomic-embed-text:latest": "sha256:aaaa"}
        self.floats_only = False
        self.max_texts: int | None = None
        self.vertex_max_texts = 1
        self.vertex_max_tokens = 2048
        self.jobs = FakeJobs(fake_vector)
        self.released = threading.Event()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def embedding_calls(self) -> list[Call]:
        return [call for call in self.calls if call.texts or {"requests", "input"} & call.body.keys()]

    def faults(self, *faults: Fault | None) -> None:
        """Answer the next embedding requests with these faults, in order, and later ones well."""
        pending = list(faults)
        self.fault = lambda _call: pending.pop(0) if pending else None

    def always(self, fault: Fault) -> None:
        self.fault = lambda _call: fault

    def poison(self, text: str, fault: Fault) -> None:
        """Fail whenever a text holds these words."""
        self.fault = lambda call: fault if any(text in entry for entry in call.texts) else None

    def answer(self, call: Call) -> Json | list[Any] | str | None:
        """The good answer; None where there is no such address."""
        path = call.path.partition("?")[0]
        if match := re.fullmatch(r"/v1\w*/.*models/([^/:]+):batchEmbedContents", path):
            return self._gemini(call, match[1])
        if re.fullmatch(r"/v1\w*/.*models/[^/:]+:(embedContent|predict)", path):
            return self._vertex(call)
        if path == "/api/embed":
            return self._ollama(call)
        if path == "/api/tags":
            return {
                "models": [{"model": name, "digest": digest} for name, digest in self.ollama_models.items()]
            }
        if path == "/api/show":
            info = {"bert.embedding_length": self.dimensions, "general.architecture": "bert"}
            return {"model_info": info, "capabilities": ["embedding"], "details": {}}
        if path in ("/v1/embeddings", "/openai/v1/embeddings") or re.fullmatch(
            r"/openai/deployments/[^/]+/embeddings", path
        ):
            return self._openai(call)
        if path == "/embed":
            return self._vectors(call, call.body.get("dimensions"))
        if path == "/v2/embed" or re.fullmatch(r"/model/[^/]+/invoke", path):
            return self._by_type(call)
        return None

    def _vectors(self, call: Call, dimensions: int | None) -> list[list[float]]:
        return [fake_vector(text, min(dimensions or self.dimensions, self.dimensions)) for text in call.texts]

    def _gemini(self, call: Call, model: str) -> Json:
        settings = [entry.get("embedContentConfig", entry) for entry in call.body["requests"]]
        size = settings[0].get("outputDimensionality") or 3072
        vectors = [fake_vector(text, size) for text in call.texts]
        return {"embeddings": [{"values": vector} for vector in vectors]}

    def _vertex(self, call: Call) -> Json:
        settings = call.body.get("embedContentConfig") or call.body.get("parameters", {})
        size = settings.get("outputDimensionality") or 3072
        counts = [len(text.split()) for text in call.texts]
        is_cut = [count > self.vertex_max_tokens for count in counts]
        vectors = [fake_vector(text, size) for text in call.texts]
        if "content" in call.body:
            usage = {"promptTokenCount": counts[0]}
            return {"embedding": {"values": vectors[0]}, "usageMetadata": usage, "truncated": is_cut[0]}
        return {
            "predictions": [
                {"embeddings": {"values": vector, "statistics": {"token_count": count, "truncated": cut}}}
                for vector, count, cut in zip(vectors, counts, is_cut, strict=True)
            ]
        }

    def _vertex_refusal(self, call: Call) -> Fault | None:
        """The 400 of Vertex AI for too many texts or a long one; None for a good request."""
        message = ""
        if len(call.texts) > self.vertex_max_texts:
            message = (
                "Unable to submit request because it included too many instances. Reduce the number of "
                f"instances and try again: Unable to submit request because batchSize must be "
                f"{self.vertex_max_texts} but the entered value was {len(call.texts)}. Update the batchSize "
                "value and try again."
            )
        longest = max((len(text.split()) for text in call.texts), default=0)
        if longest > self.vertex_max_tokens and '"autoTruncate": false' in json.dumps(call.body):
            message = (
                f"Unable to submit request because the input token count is {longest} but the model supports "
                f"up to {self.vertex_max_tokens}. Reduce the input token count and try again."
            )
        error = {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}
        return Fault(400, json.dumps({"error": error})) if message else None

    def _ollama(self, call: Call) -> Json:
        vectors = self._vectors(call, call.body.get("dimensions"))
        return {"model": call.body["model"], "embeddings": vectors, "prompt_eval_count": 3 * len(vectors)}

    def _by_type(self, call: Call) -> Json:
        """Cohere's answer, or that of Titan to its one text."""
        vectors = self._vectors(call, _length(call.body))
        if "inputText" in call.body:
            by_type = {"float": vectors[0]}
            return {"embedding": vectors[0], "inputTextTokenCount": 4, "embeddingsByType": by_type}
        meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 4 * len(vectors)}}
        return {"id": "1", "texts": call.texts, "embeddings": {"float": vectors}, "meta": meta}

    def _openai(self, call: Call) -> Json:
        vectors: list[Any] = self._vectors(call, _length(call.body))
        if call.body.get("encoding_format") == "base64" and not self.floats_only:
            vectors = [_base64(vector) for vector in vectors]
        data = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
        usage = {"prompt_tokens": 4 * len(data), "total_tokens": 4 * len(data)}
        return {"object": "list", "data": data[::-1], "usage": usage}


def _length(body: Json) -> int | None:
    return next((body[name] for name in _DIMENSIONS if name in body), None)


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def change_vectors(answer: Any, change: Callable[[list[Any]], list[Any]]) -> Any:
    """The answer with changed vectors, in any of the protocols."""
    if isinstance(answer, list):
        return change(answer)
    if "embedding" in answer:
        return {**answer, "embedding": next(iter(change([answer["embedding"]])), [])}
    if isinstance(answer.get("embeddings"), dict):
        return {**answer, "embeddings": {"float": change(answer["embeddings"]["float"])}}
    if "data" in answer:
        entries = sorted(answer["data"], key=lambda entry: entry["index"])
        vectors = [
            list(struct.unpack(f"<{len(base64.b64decode(value)) // 4}f", base64.b64decode(value)))
            if isinstance(value := entry["embedding"], str)
            else value
            for entry in entries
        ]
        as_text = isinstance(entries[0]["embedding"], str)
        changed = [_base64(vector) if as_text else vector for vector in change(vectors)]
        return {
            **answer,
            "data": [{"index": index, "embedding": value} for index, value in enumerate(changed)],
        }
    if answer["embeddings"] and isinstance(answer["embeddings"][0], dict):
        changed = change([entry["values"] for entry in answer["embeddings"]])
        return {**answer, "embeddings": [{"values": vector} for vector in changed]}
    return {**answer, "embeddings": change(answer["embeddings"])}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a busy machine accepts late: no connection is refused for that


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are written apart: without this the second waits 40 ms for the first's acknowledgement.
    disable_nagle_algorithm = True
    fake: FakeProviders

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve({})

    def do_DELETE(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.startswith("/uploading/"):
            self._serve({}, raw.decode())
            return
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            body = {"raw": raw.decode(errors="replace")}
        self._serve(body if isinstance(body, dict) else {"raw": body})

    def _serve(self, body: Json, raw: str = "") -> None:
        call = Call(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        self.fake.calls.append(call)
        if self.fake.latency_seconds:
            time.sleep(self.fake.latency_seconds)
        of_job = self.fake.jobs.answer(call.method, call.path, body, raw, self.fake.url)
        fault = self.fake.fault(call) if call.texts or of_job is not None else None
        if fault is None and "/publishers/" in call.path:
            fault = self.fake._vertex_refusal(call)
        if fault is None and self.fake.max_texts is not None and len(call.texts) > self.fake.max_texts:
            message = f"batch size {len(call.texts)} > maximum allowed batch size {self.fake.max_texts}"
            fault = Fault(413, json.dumps({"message": message, "type": "validation"}))
        if of_job is not None and fault is None:
            self._send(*of_job)
            return
        answer = self.fake.answer(call) if of_job is None else {}
        if answer is None:
            self._send(404, json.dumps({"error": "not found"}), {})
        elif fault is None:
            self._send(200, answer if isinstance(answer, str) else json.dumps(answer), {})
        else:
            self._fail(fault, {} if isinstance(answer, str) else answer)

    def _fail(self, fault: Fault, answer: Any) -> None:
        if fault.change is not None:
            answer = change_vectors(answer, fault.change)
        text = json.dumps(answer) if fault.body is None else fault.body
        if fault.how == "hang":
            self.fake.released.wait(5)
            self.close_connection = True
        elif fault.how == "cut before":
            self.close_connection = True
        elif fault.how == "cut within":
            self._head(200, len(text), {})
            self.wfile.write(text.encode()[: len(text) // 2])
            self.close_connection = True
        elif fault.how == "cut after":
            self._send(200, text, {"Connection": "close"})
            self.close_connection = True
        elif fault.how == "drip":
            self._drip(text)
        else:
            self._send(fault.status, text, fault.headers)

    def _drip(self, text: str) -> None:
        self._head(200, len(text), {})
        self.close_connection = True
        for start in range(0, len(text), 1 + len(text) // 200):
            try:
                self.wfile.write(text.encode()[start : start + 1 + len(text) // 200])
                self.wfile.flush()
            except OSError:
                return
            if self.fake.released.wait(0.03):
                return

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(length),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, status: int, text: str, headers: dict[str, str]) -> None:
        raw = text.encode()
        try:
            self._head(status, len(raw), headers)
            self.wfile.write(raw)
        except OSError:
            self.close_connection = True


@contextmanager
def fake_providers() -> Iterator[FakeProviders]:
    """The server, for the length of a block."""
    fake = FakeProviders()
    try:
        yield fake
    finally:
        fake.close()
