"""Models served by Ollama, through its Python library."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from omop_emb.errors import MissingExtraError, ProviderRefusedError
from omop_emb.providers.base import Answer, Identity, Limits
from omop_emb.providers.http_faults import garbled, http_fault, transport_fault
from omop_emb.providers.http_hooks import CallHooks
from omop_emb.records import EmbeddingRole

# Ollama's own 5 minutes would unload the model while a long write to the database is under way.
_KEEP_ALIVE = "30m"
_ON_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104 - compared, not bound


class OllamaProvider:
    """A model by the name that `ollama list` shows.

    A text longer than the model takes is refused: Ollama is told not to cut it silently. Ollama itself adds
    no prefix.

    Args:
        model: name and tag, such as "nomic-embed-text:v1.5".
        dimensions: cut and normalised by the server.
        host: as OLLAMA_HOST; None is 127.0.0.1:11434.
    """

    name = "ollama"

    def __init__(self, model: str, *, dimensions: int | None = None, host: str | None = None) -> None:
        self.model = model
        self.tasks: dict[EmbeddingRole, str] = {}
        address = urlsplit(host if host and "://" in host else f"//{host or '127.0.0.1'}")
        self._where = f"Ollama at {address.hostname or host}"
        # Ollama computes an embedding model's texts one after the other: more requests in flight and larger
        # batches only hide round trips.
        near = address.hostname in _ON_THIS_MACHINE
        self.limits = Limits(
            batch_texts=64,
            in_flight=2 if near else 8,
            query_timeout_seconds=120.0,  # the first call loads the model
            bulk_timeout_seconds=600.0,
        )
        self._source, self._dimensions, self._host = f"ollama:{model}", dimensions, host
        self._hooks = CallHooks()
        self._lock = threading.Lock()
        self._client_made: Any = None

    def embed_batch(self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float) -> Answer:
        """Embed texts with POST /api/embed, not cut."""
        with self.calling(timeout_seconds) as client:
            response = client.embed(
                model=self.model,
                input=list(texts),
                truncate=False,
                keep_alive=_KEEP_ALIVE,
                dimensions=self._dimensions,
            )
        return Answer(response.embeddings, tokens=response.prompt_eval_count)

    def identity(self, *, timeout_seconds: float) -> Identity:
        """The digest of the weights that the name stands for now, and their dimensions."""
        with self.calling(timeout_seconds) as client:
            shown = client.show(self.model)
            listed = client.list().models
        if shown.capabilities and "embedding" not in shown.capabilities:
            raise ProviderRefusedError(
                f"{self._source} is no embedding model; choose one with omop-emb models list"
            )
        names = {self.model, f"{self.model}:latest"}
        digests = [entry.digest for entry in listed if entry.model in names and entry.digest]
        lengths = [
            value for key, value in (shown.modelinfo or {}).items() if key.endswith(".embedding_length")
        ]
        return Identity(
            revision=digests[0] if digests else "",
            dimensions=lengths[0] if len(lengths) == 1 and isinstance(lengths[0], int) else None,
        )

    @contextmanager
    def calling(self, timeout_seconds: float) -> Iterator[Any]:
        """The client, its errors told as ours."""
        try:
            import httpx
            import ollama
        except ImportError:
            raise MissingExtraError(f"the model {self._source}", "ollama") from None
        with self._lock:
            if self._client_made is None:
                self._client_made = ollama.Client(host=self._host, **self._hooks.client_arguments)
                weakref.finalize(self, self._client_made.close)
        try:
            with self._hooks.call(timeout_seconds):
                yield self._client_made
        except ollama.ResponseError as error:
            raise http_fault(
                self._source,
                error.status_code,
                str(error.error),
                headers=self._hooks.headers,
                not_found=f"run ollama pull {self.model}",
                key="OLLAMA_API_KEY",
            ) from None
        except (httpx.TransportError, ConnectionError) as error:
            raise transport_fault(self._source, self._where, error) from None
        except (ValueError, TypeError, AttributeError):
            # What the library raises for a body that is no JSON, or not the JSON it expects.
            raise garbled(self._source, self._where) from None
