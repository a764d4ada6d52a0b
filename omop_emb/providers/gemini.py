"""Google's Gemini embedding models, through google-genai: the Developer API, or Vertex AI."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from omop_emb.errors import ConfigurationError
from omop_emb.providers.base import Answer, Identity, Limits
from omop_emb.providers.gemini_client import GeminiClient
from omop_emb.providers.gemini_jobs import GeminiJobs
from omop_emb.records import EmbeddingRole

TASKS = (
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
# Those that read task types. gemini-embedding-2 and later ignore them without a word and want prefixes.
_TAKES_TASKS = re.compile(
    r"(gemini-embedding-001|gemini-embedding-exp|text-embedding-|text-multilingual-embedding-).*"
)
_SHUT_DOWN = re.compile(r"text-embedding-004|embedding-001|gemini-embedding-exp.*")


class GeminiProvider:
    """A Gemini model; its task types follow the role, where it has any.

    Texts longer than the model takes are cut by the service.

    Args:
        model: such as "gemini-embedding-001".
        dimensions: cut by the service.
        tasks: task types in place of a role's own.

    Raises:
        ConfigurationError: the model is shut down, or takes no task types.
    """

    name = "gemini"

    def __init__(
        self, model: str, *, dimensions: int | None = None, tasks: Mapping[EmbeddingRole, str] | None = None
    ) -> None:
        self._client = GeminiClient(model)
        self.model = self._client.model
        if _SHUT_DOWN.fullmatch(self.model) and not self._client.is_vertex:
            raise ConfigurationError(
                f"{self._client.source} was shut down by Google: use gemini:gemini-embedding-2 or "
                "gemini:gemini-embedding-001 and embed everything again (omop-emb index build); with "
                "OMOP_EMB_DIMENSIONS=768 the vectors are as long as they were"
            )
        self.tasks = _tasks(
            self._client.source, takes=bool(_TAKES_TASKS.fullmatch(self.model)), chosen=tasks or {}
        )
        self.limits = Limits(
            batch_texts=100,
            batch_tokens=20_000,
            in_flight=8,
            query_timeout_seconds=10.0,
            bulk_timeout_seconds=120.0,
        )
        self._dimensions = dimensions

    def embed_batch(self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float) -> Answer:
        """Embed texts, each as a Content of its own: a plain list would come back as one vector."""
        with self._client.calling(timeout_seconds) as client:
            from google.genai import types

            response = client.models.embed_content(
                model=self.model,
                # As dicts: to make and check Content objects costs twice what all the rest of a call does.
                contents=[{"parts": [{"text": text}]} for text in texts],
                config=types.EmbedContentConfig(
                    task_type=self.tasks.get(role),
                    output_dimensionality=self._dimensions,
                    # In milliseconds; the service is told too, so that it does not go on for nobody.
                    http_options=types.HttpOptions(timeout=max(1, round(timeout_seconds * 1000))),
                ),
            )
            vectors = [entry.values or [] for entry in response.embeddings or []]
            usage = response.usage_metadata
        return Answer(vectors, tokens=usage.prompt_token_count if usage else None)

    def identity(self, *, timeout_seconds: float) -> Identity:
        """Nothing but the name: the service offers no digest."""
        return Identity(dimensions=3072 if self.model.startswith("gemini-embedding-") else None)

    def jobs(self) -> GeminiJobs:
        """The Batch API; Vertex AI has none for embeddings."""
        if self._client.is_vertex:
            raise ConfigurationError(
                f"{self._client.source} has no batch API through Vertex AI: leave --batch-api out, or unset "
                "GOOGLE_GENAI_USE_VERTEXAI and use a key of the Gemini API"
            )
        return GeminiJobs(self._client, tasks=self.tasks, dimensions=self._dimensions)


def _tasks(source: str, *, takes: bool, chosen: Mapping[EmbeddingRole, str]) -> dict[EmbeddingRole, str]:
    for task in chosen.values():
        if task not in TASKS:
            raise ConfigurationError(f"there is no task type {task!r}; there are {', '.join(TASKS)}")
        if not takes:
            raise ConfigurationError(
                f"{source} ignores task types; tell its roles apart by the prefixes "
                "OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX and OMOP_EMB_QUERY_EMBEDDING_PREFIX "
                "(omop-emb models show tells which)"
            )
    return {**_ROLE_TASKS, **chosen} if takes else {}
