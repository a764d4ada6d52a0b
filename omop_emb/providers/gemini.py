"""Gemini provider: Google's embedding models, from the Developer API or Vertex AI."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from omop_emb.errors import ConfigurationError, TextRejectedError
from omop_emb.providers.base import EmbeddingResponse, Limits, ModelInfo
from omop_emb.providers.gemini_batch_api import GeminiBatchApi
from omop_emb.providers.gemini_client import GeminiClient, request_options
from omop_emb.providers.part_limits import PartLimits
from omop_emb.providers.parts import EmbeddingItem, PartKind
from omop_emb.records import EmbeddingRole

_TASKS = (
    "RETRIEVAL_DOCUMENT",
    "RETRIEVAL_QUERY",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
)
_ROLE_TASKS = {EmbeddingRole.DOCUMENT: "RETRIEVAL_DOCUMENT", EmbeddingRole.QUERY: "RETRIEVAL_QUERY"}
# The models that read task types. gemini-embedding-2 and later ignore them silently and need prefixes.
_TAKES_TASKS = re.compile(
    r"(gemini-embedding-001|gemini-embedding-exp|text-embedding-|text-multilingual-embedding-).*"
)
_SHUT_DOWN = re.compile(r"text-embedding-004|embedding-001|gemini-embedding-exp.*")


# Google's lists for Vertex AI: "250 input texts for non-Gemini models, and a single input text for Gemini
# Embedding models", 20,000 tokens a request; partners' models ("maas") take one text as well.
_ONE_TEXT = re.compile(r"gemini|maas")


class GeminiProvider:
    """A Gemini model; the service cuts vectors.

    The Gemini API also cuts texts longer than the model reads; Vertex AI is asked to refuse them. `tasks` are
    task types in place of those that follow the role; `parts` is what the model reads besides text.
    """

    name = "gemini"

    def __init__(
        self,
        model: str,
        *,
        dimensions: int | None = None,
        tasks: Mapping[EmbeddingRole, str] | None = None,
        parts: PartLimits | None = None,
    ) -> None:
        self._client = GeminiClient(model)
        self.model = self._client.model
        self._base_name = self.model.rpartition("/")[2]  # of publishers/google/models/…
        if _SHUT_DOWN.fullmatch(self.model) and not self._client.is_vertex:
            raise ConfigurationError(
                f"{self._client.source} was shut down by Google: use gemini:gemini-embedding-2 or "
                "gemini:gemini-embedding-001 and embed everything again (omop-emb index build); with "
                "OMOP_EMB_DIMENSIONS=768 the vectors are as long as they were"
            )
        self.tasks = self._role_tasks(tasks or {})
        self.limits = Limits(batch_texts=100, batch_tokens=20_000, concurrency=8, parts=parts)
        if self._client.is_vertex:
            is_single = _ONE_TEXT.search(self._base_name) is not None
            self.limits = Limits(
                batch_texts=1 if is_single else 250,
                batch_tokens=16_000,  # below its 20,000, as ours are estimates
                concurrency=16 if is_single else 8,
                parts=parts,
            )
        self._dimensions = dimensions

    def _role_tasks(self, chosen: Mapping[EmbeddingRole, str]) -> dict[EmbeddingRole, str]:
        for task in chosen.values():
            if task not in _TASKS:
                raise ConfigurationError(f"there is no task type {task!r}; there are {', '.join(_TASKS)}")
        if _TAKES_TASKS.fullmatch(self._base_name):
            return {**_ROLE_TASKS, **chosen}
        if chosen:
            raise ConfigurationError(
                f"{self._client.source} ignores task types; set the prefixes "
                "OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX and OMOP_EMB_QUERY_EMBEDDING_PREFIX instead "
                "(omop-emb models show lists them)"
            )
        return {}

    def embed_batch(
        self, texts: Sequence[EmbeddingItem], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        """Embed texts and contents, each as a Content: a plain list would come back as one vector."""
        with self._client.client(timeout_seconds) as client:
            from google.genai import types

            response = client.models.embed_content(
                model=self.model,
                # As dicts: making and checking Content objects costs twice as much as the rest of a call.
                contents=[{"parts": _wire_parts(item)} for item in texts],
                config=types.EmbedContentConfig(
                    task_type=self.tasks.get(role),
                    output_dimensionality=self._dimensions,
                    # The Gemini API does not know the option, and the SDK refuses it there.
                    auto_truncate=False if self._client.is_vertex else None,
                    http_options=request_options(timeout_seconds),
                ),
            )
            embeddings = response.embeddings or []
            statistics = [entry.statistics for entry in embeddings]
            vectors = [entry.values or [] for entry in embeddings]
            tokens = response.usage_metadata.prompt_token_count if response.usage_metadata else None
        if response.truncated or any(entry.truncated for entry in statistics if entry):
            raise TextRejectedError(f"it is longer than {self._client.source} accepts: Vertex AI has cut it")
        counts = [entry.token_count for entry in statistics if entry and entry.token_count is not None]
        if tokens is None and counts and len(counts) == len(vectors):
            tokens = round(sum(counts))
        return EmbeddingResponse(vectors, tokens=tokens)

    def model_info(self, *, timeout_seconds: float) -> ModelInfo:
        """The known dimensions; the service offers no digest."""
        return ModelInfo(dimensions=3072 if self._base_name.startswith("gemini-embedding-") else None)

    def batch_api(self) -> GeminiBatchApi:
        """The Batch API; Vertex AI has none for embeddings."""
        if self._client.is_vertex:
            raise ConfigurationError(
                f"{self._client.source} has no batch API on Vertex AI: leave --batch-api out, or unset "
                "GOOGLE_GENAI_USE_VERTEXAI and use a key of the Gemini API"
            )
        return GeminiBatchApi(self._client, tasks=self.tasks, dimensions=self._dimensions)


def _wire_parts(item: EmbeddingItem) -> list[Any]:
    """What becomes the Parts of one Content."""
    if isinstance(item, str):
        return [{"text": item}]
    return [
        {"text": part.as_text}
        if part.kind is PartKind.TEXT
        else {"inline_data": {"mime_type": part.media_type, "data": part.data}}
        for part in item.parts
    ]
