"""Any OpenAI-compatible /v1/embeddings, over plain httpx."""

from __future__ import annotations

import binascii
import json
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from omop_emb.errors import (
    ConfigurationError,
    InvalidAnswerError,
    MissingExtraError,
    ProviderError,
    TextRejectedError,
)
from omop_emb.providers.base import Answer, Identity, Limits
from omop_emb.providers.http_faults import garbled, http_fault, transport_fault
from omop_emb.providers.http_hooks import CallHooks
from omop_emb.records import EmbeddingRole
from omop_emb.vectors import Matrix

OPENAI_URL = "https://api.openai.com/v1"


class OpenAIProvider:
    """A model behind an endpoint that speaks OpenAI's protocol: OpenAI, vLLM, TEI, llama.cpp, LM Studio ….

    Vectors are asked for as base64, which costs a tenth of decoding numbers; servers that answer with numbers
    all the same, or refuse the wish, are taken as they are.

    Args:
        model: the endpoint's name for it.
        dimensions: sent if given; a server that ignores it is made up for by the client's own cut.
        base_url: up to and with /v1; None is OpenAI's.
        key: sent as a bearer token; servers of one's own often need none.
    """

    name = "openai"

    def __init__(
        self,
        model: str,
        *,
        dimensions: int | None = None,
        base_url: str | None = None,
        key: str | None = None,
    ) -> None:
        self.model = model
        self.tasks: dict[EmbeddingRole, str] = {}
        self._url = f"{(base_url or OPENAI_URL).strip().rstrip('/')}/embeddings"
        address = urlsplit(self._url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ConfigurationError("OPENAI_BASE_URL must begin with http:// or https:// and a host")
        self._is_openai = address.hostname == "api.openai.com"
        # text-embeddings-inference takes 32 texts at once and refuses 33; OpenAI takes 2,048.
        self.limits = Limits(
            batch_texts=256 if self._is_openai else 32,
            batch_tokens=200_000 if self._is_openai else 1_000_000,
            in_flight=8,
            query_timeout_seconds=10.0 if self._is_openai else 60.0,
            bulk_timeout_seconds=120.0 if self._is_openai else 600.0,
        )
        self._source, self._where = f"openai:{model}", f"the endpoint at {address.hostname}"
        self._dimensions, self._key = dimensions, key
        self._encoding: str | None = "base64"
        self._encoding_is_certain = False
        self._hooks = CallHooks()
        self._lock = threading.Lock()
        self._client_made: Any = None

    def embed_batch(self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float) -> Answer:
        """Embed texts with POST {base_url}/embeddings."""
        encoding = self._encoding
        try:
            answer = self._ask(texts, encoding, timeout_seconds)
        except TextRejectedError as error:
            if encoding is None or self._encoding_is_certain:
                raise
            # Before anything has worked, the wish for base64 may be what is refused.
            try:
                answer = self._ask(texts, None, timeout_seconds)
            except ProviderError:
                raise error from None
            self._encoding = None
        self._encoding_is_certain = True
        return answer

    def identity(self, *, timeout_seconds: float) -> Identity:
        """Nothing but the name: the protocol offers no digest and no dimensions."""
        return Identity()

    def _ask(self, texts: Sequence[str], encoding: str | None, timeout_seconds: float) -> Answer:
        body: dict[str, object] = {"model": self.model, "input": list(texts)}
        if encoding is not None:
            body["encoding_format"] = encoding
        if self._dimensions is not None:
            body["dimensions"] = self._dimensions
        with self.calling(timeout_seconds) as client:
            response = client.post(self._url, json=body)
            if response.status_code != 200:
                raise http_fault(
                    self._source,
                    response.status_code,
                    response.text,
                    headers=self._hooks.headers,
                    not_found="are OPENAI_BASE_URL (it ends in /v1) and the model's name right?",
                    key="OPENAI_API_KEY",
                )
            answer = json.loads(response.content)
            vectors = _rows(answer["data"], self._source)
            usage = answer.get("usage") or {}
            tokens = usage.get("prompt_tokens") or usage.get("total_tokens")
        return Answer(vectors, tokens=tokens if isinstance(tokens, int) else None)

    @contextmanager
    def calling(self, timeout_seconds: float) -> Iterator[Any]:
        """The HTTP client, its errors told as ours."""
        try:
            import httpx
        except ImportError:
            raise MissingExtraError(f"the model {self._source}", "openai") from None
        if self._is_openai and not self._key:
            raise ConfigurationError(f"{self._source} needs a key: export OPENAI_API_KEY=…")
        with self._lock:
            if self._client_made is None:
                headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
                self._client_made = httpx.Client(headers=headers, **self._hooks.client_arguments)
                weakref.finalize(self, self._client_made.close)
        try:
            with self._hooks.call(timeout_seconds):
                yield self._client_made
        except httpx.HTTPError as error:
            raise transport_fault(self._source, self._where, error) from None
        except (ValueError, TypeError, AttributeError, KeyError):
            raise garbled(self._source, self._where) from None


def _rows(data: Sequence[dict[str, Any]], source: str) -> Matrix | list[list[float]]:
    """The vectors in the order of their index, from base64 or from numbers."""
    order = [entry.get("index", position) for position, entry in enumerate(data)]
    if sorted(order) != list(range(len(data))):
        raise InvalidAnswerError(f"{source} answered indexes that do not number its vectors")
    found = [data[place]["embedding"] for place in sorted(range(len(data)), key=order.__getitem__)]
    if not found or not isinstance(found[0], str):
        return found
    decoded = [binascii.a2b_base64(value) for value in found]
    if len({len(value) for value in decoded}) != 1:
        return [np.frombuffer(value, dtype="<f4").tolist() for value in decoded]
    return np.frombuffer(b"".join(decoded), dtype="<f4").reshape(len(decoded), -1)
