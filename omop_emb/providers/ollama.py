"""Ollama provider: models served by Ollama, through its Python library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omop_emb import config
from omop_emb.errors import ConfigurationError, ProviderError, ProviderRefusedError
from omop_emb.providers.base import EmbeddingResponse, Limits, ModelInfo
from omop_emb.providers.connection import Connection, split_address
from omop_emb.providers.http_errors import http_error
from omop_emb.records import EmbeddingRole

# Ollama's own 5 minutes would unload the model during a long write to the database.
_KEEP_ALIVE = "30m"
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104 - compared, not bound


class OllamaConnection(Connection):
    """A connection to one model of the server at OLLAMA_HOST, by default 127.0.0.1:11434."""

    extra = "ollama"

    def __init__(self, model: str) -> None:
        self._host = config.variable("OLLAMA_HOST") or "127.0.0.1"
        try:
            hostname = split_address("OLLAMA_HOST", self._host).hostname
        except ValueError:
            raise ConfigurationError("OLLAMA_HOST must be host:port or http://host:port") from None
        self.is_local = hostname in _LOCAL_HOSTS
        super().__init__(
            model, server=f"Ollama at {hostname or 'OLLAMA_HOST'}", settings="OLLAMA_HOST and OLLAMA_API_KEY"
        )

    def _open(self, **client_arguments: Any) -> Any:
        import ollama

        return ollama.Client(host=self._host, **client_arguments)

    def _sdk_error(self, error: Exception, headers: Mapping[str, str]) -> ProviderError | None:
        import ollama

        if not isinstance(error, ollama.ResponseError):
            return None
        return http_error(
            self.source,
            error.status_code,
            str(error.error),
            headers=headers,
            not_found=f"run ollama pull {self.model}",
            key="OLLAMA_API_KEY",
        )


class OllamaProvider:
    """A model by the name that `ollama list` shows, such as "nomic-embed-text:v1.5".

    A text longer than the model reads is refused, because Ollama is told not to cut it silently. Ollama adds
    no prefix. Dimensions are cut and normalised by the server.
    """

    name = "ollama"

    def __init__(self, model: str, *, dimensions: int | None = None) -> None:
        self.model = model
        self.tasks: dict[EmbeddingRole, str] = {}
        self._connection = OllamaConnection(model)
        self._dimensions = dimensions
        # Ollama embeds texts one after the other: more requests and larger batches only hide round trips.
        self.limits = Limits(
            batch_texts=64,
            concurrency=2 if self._connection.is_local else 8,
            query_timeout_seconds=120.0,  # the first call loads the model
            bulk_timeout_seconds=600.0,
        )

    def embed_batch(
        self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        """Embed texts with POST /api/embed, not cut."""
        with self._connection.client(timeout_seconds) as client:
            response = client.embed(
                model=self.model,
                input=list(texts),
                truncate=False,
                keep_alive=_KEEP_ALIVE,
                dimensions=self._dimensions,
            )
        return EmbeddingResponse(response.embeddings, tokens=response.prompt_eval_count)

    def model_info(self, *, timeout_seconds: float) -> ModelInfo:
        """The digest of the weights that the name stands for now, and their dimensions."""
        with self._connection.client(timeout_seconds) as client:
            details = client.show(self.model)
            models = client.list().models
        if details.capabilities and "embedding" not in details.capabilities:
            raise ProviderRefusedError(
                f"{self._connection.source} is not an embedding model: choose one with omop-emb models list"
            )
        names = {self.model, f"{self.model}:latest"}
        digests = [entry.digest for entry in models if entry.model in names and entry.digest]
        lengths = [
            value for key, value in (details.modelinfo or {}).items() if key.endswith(".embedding_length")
        ]
        return ModelInfo(
            revision=digests[0] if digests else "",
            dimensions=lengths[0] if len(lengths) == 1 and isinstance(lengths[0], int) else None,
        )
