"""OpenAI provider: any OpenAI-compatible /v1/embeddings, over plain httpx."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from omop_emb import config
from omop_emb.arrays import Vectors
from omop_emb.errors import (
    ConfigurationError,
    InvalidAnswerError,
    ProviderError,
    ProviderRefusedError,
    TextRejectedError,
)
from omop_emb.providers.base import EmbeddingResponse, Limits, ModelInfo
from omop_emb.providers.connection import Connection, split_address
from omop_emb.providers.http_errors import http_error
from omop_emb.records import EmbeddingRole

_OPENAI_URL = "https://api.openai.com/v1"
_NAMES_DIMENSIONS = re.compile(r"dimension|matryoshka", re.I)


class _DimensionsRefusedError(ProviderRefusedError):
    """The endpoint names the dimensions as what it refuses."""


class OpenAIConnection(Connection):
    """A connection to one model of the endpoint at OPENAI_BASE_URL, by default OpenAI's.

    OPENAI_API_KEY is sent as a bearer token; other servers often need none.
    """

    extra = "openai"

    def __init__(self, model: str) -> None:
        self._url = (config.variable("OPENAI_BASE_URL") or _OPENAI_URL).rstrip("/")
        try:
            address = split_address("OPENAI_BASE_URL", self._url)
            is_address = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
        except ValueError:
            is_address = False
        if not is_address:
            raise ConfigurationError("OPENAI_BASE_URL must begin with http:// or https:// and a host")
        self.is_openai = address.hostname == "api.openai.com"
        self._key = config.variable("OPENAI_API_KEY")
        super().__init__(
            model, server=f"the endpoint at {address.hostname}", settings="OPENAI_BASE_URL and OPENAI_API_KEY"
        )

    def _open(self, **client_arguments: Any) -> Any:
        import httpx

        if self.is_openai and not self._key:
            raise ConfigurationError(f"{self.source} needs a key: export OPENAI_API_KEY=…")
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return httpx.Client(headers=headers, **client_arguments)

    @contextmanager
    def post(self, path: str, body: Mapping[str, Any], timeout_seconds: float) -> Iterator[Any]:
        """The JSON that answers a POST; what it lacks within the block counts as an unreadable response."""
        with self.client(timeout_seconds) as client:
            response = client.post(f"{self._url}/{path}", json={"model": self.model, **body})
            if "dimensions" in body and response.status_code in (400, 422, 500, 501):
                if _NAMES_DIMENSIONS.search(response.text):
                    raise _DimensionsRefusedError(
                        f"{self.source} refuses to cut its vectors to {body['dimensions']} numbers (HTTP "
                        f"{response.status_code}): unset OMOP_EMB_DIMENSIONS, or say which model it is with "
                        "OMOP_EMB_MODEL_FAMILY if it is trained for shorter vectors"
                    )
            if response.status_code != 200:
                raise http_error(
                    self.source,
                    response.status_code,
                    response.text,
                    headers=response.headers,
                    not_found="are OPENAI_BASE_URL (it ends in /v1) and the model's name right?",
                    key="OPENAI_API_KEY",
                )
            yield json.loads(response.content)


class OpenAIProvider:
    """A model behind an endpoint that speaks OpenAI's protocol: OpenAI, vLLM, TEI, llama.cpp, LM Studio ….

    Vectors are asked for as base64, which costs a tenth of decoding numbers, and cut to the dimensions. An
    endpoint that refuses one of these options is sent requests without it: numbers are accepted in any case,
    and the client cuts vectors itself. If the endpoint refuses the dimensions by name, vectors are cut only
    of a Matryoshka model (`is_matryoshka`).
    """

    name = "openai"

    def __init__(self, model: str, *, dimensions: int | None = None, is_matryoshka: bool = False) -> None:
        self.model = model
        self.tasks: dict[EmbeddingRole, str] = {}
        self._connection = OpenAIConnection(model)
        self._dimensions, self._is_matryoshka = dimensions, is_matryoshka
        # text-embeddings-inference accepts 32 texts at once and refuses 33; OpenAI accepts 2,048.
        if self._connection.is_openai:
            self.limits = Limits(batch_texts=256, batch_tokens=200_000, concurrency=8)
        else:
            self.limits = Limits(
                batch_texts=32, concurrency=8, query_timeout_seconds=60.0, bulk_timeout_seconds=600.0
            )
        self._options: dict[str, Any] = {"encoding_format": "base64"}
        if dimensions is not None:
            self._options["dimensions"] = dimensions
        self._knows_options = False

    def embed_batch(
        self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        """Embed texts with POST {base_url}/embeddings."""
        options = self._options
        try:
            response = self._request(texts, options, timeout_seconds)
        except (TextRejectedError, _DimensionsRefusedError) as error:
            if self._knows_options:
                raise
            # Before any request has succeeded, an option may be what is refused.
            response, options = self._request_with_fewer(texts, error, timeout_seconds)
        self._options, self._knows_options = options, True
        return response

    def model_info(self, *, timeout_seconds: float) -> ModelInfo:
        """Nothing: the protocol offers neither digest nor dimensions."""
        return ModelInfo()

    def _request_with_fewer(
        self, texts: Sequence[str], error: ProviderError, timeout_seconds: float
    ) -> tuple[EmbeddingResponse, dict[str, Any]]:
        """The response without one option or without any, and the options that are left; else the error."""
        left_out = [{name} for name in self._options] + [set(self._options)]
        if isinstance(error, _DimensionsRefusedError):
            left_out = [names for names in left_out if "dimensions" in names]
        for names in left_out:
            options = {name: value for name, value in self._options.items() if name not in names}
            try:
                response = self._request(texts, options, timeout_seconds)
            except (TextRejectedError, ProviderRefusedError):
                continue
            received = len(response.vectors[0]) if len(response.vectors) else 0
            is_cut_here = self._dimensions is not None and received > self._dimensions
            if isinstance(error, _DimensionsRefusedError) and is_cut_here and not self._is_matryoshka:
                break
            return response, options
        raise error from None

    def _request(
        self, texts: Sequence[str], options: Mapping[str, Any], timeout_seconds: float
    ) -> EmbeddingResponse:
        body = {"input": list(texts), **options}
        with self._connection.post("embeddings", body, timeout_seconds) as answer:
            vectors = _rows(answer["data"], self._connection.source)
            usage = answer.get("usage") or {}
            tokens = usage.get("prompt_tokens") or usage.get("total_tokens")
        return EmbeddingResponse(vectors, tokens=tokens if isinstance(tokens, int) else None)


def _rows(data: Sequence[dict[str, Any]], source: str) -> Vectors | list[list[float]]:
    """The vectors in the order of their index, from base64 or from numbers."""
    by_index = {entry.get("index", position): entry["embedding"] for position, entry in enumerate(data)}
    if by_index.keys() != set(range(len(data))):
        raise InvalidAnswerError(f"{source} answered indexes that do not number its vectors")
    vectors = [by_index[index] for index in range(len(data))]
    if not vectors or not isinstance(vectors[0], str):
        return vectors
    decoded = [binascii.a2b_base64(value) for value in vectors]
    if len({len(value) for value in decoded}) != 1:
        return [np.frombuffer(value, dtype="<f4").tolist() for value in decoded]
    return np.frombuffer(b"".join(decoded), dtype="<f4").reshape(len(decoded), -1)
