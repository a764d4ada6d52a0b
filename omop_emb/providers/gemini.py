"""Google's Gemini embedding models, through google-genai: the Developer API, or Vertex AI."""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from omop_emb import config
from omop_emb.errors import ConfigurationError, MissingExtraError
from omop_emb.providers.base import Answer, Identity, Limits
from omop_emb.providers.http_faults import garbled, http_fault, transport_fault
from omop_emb.providers.http_hooks import CallHooks
from omop_emb.records import EmbeddingRole

if TYPE_CHECKING:
    from omop_emb.providers.gemini_jobs import GeminiJobs

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
_TRUE = frozenset({"1", "true", "yes"})


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
        self.model = model.removeprefix("models/")
        self._source = f"gemini:{self.model}"
        self._vertex = _uses_vertex()
        if _SHUT_DOWN.fullmatch(self.model) and not self._vertex:
            raise ConfigurationError(
                f"{self._source} was shut down by Google: use gemini:gemini-embedding-2 or "
                "gemini:gemini-embedding-001 and embed everything again (omop-emb index build); with "
                "OMOP_EMB_DIMENSIONS=768 the vectors are as long as they were"
            )
        self.tasks = _tasks(self._source, takes=bool(_TAKES_TASKS.fullmatch(self.model)), chosen=tasks or {})
        self.limits = Limits(
            batch_texts=100,
            batch_tokens=20_000,
            in_flight=8,
            query_timeout_seconds=10.0,
            bulk_timeout_seconds=120.0,
        )
        self._dimensions = dimensions
        self._where = "Vertex AI" if self._vertex else "the Gemini API"
        self._hooks = CallHooks()
        self._lock = threading.Lock()
        self._client_made: Any = None

    def embed_batch(self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float) -> Answer:
        """Embed texts, each as a Content of its own: a plain list would come back as one vector."""
        with self.calling(timeout_seconds) as client:
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
        from omop_emb.providers.gemini_jobs import GeminiJobs

        if self._vertex:
            raise ConfigurationError(
                f"{self._source} has no batch API through Vertex AI: leave --batch-api out, or unset "
                "GOOGLE_GENAI_USE_VERTEXAI and use a key of the Gemini API"
            )
        return GeminiJobs(self, dimensions=self._dimensions)

    @contextmanager
    def calling(self, timeout_seconds: float) -> Iterator[Any]:
        """The SDK's client, its errors told as ours."""
        try:
            from google.genai import errors
        except ImportError:
            raise MissingExtraError(f"the model {self._source}", "gemini") from None
        client = self._client()
        try:
            with self._hooks.call(timeout_seconds):
                yield client
        except errors.APIError as error:
            # The details carry the cause (a quota's name, RetryInfo); they are searched, not shown.
            details = f"{error.message} {error.details}"
            raise http_fault(
                self._source,
                error.code if isinstance(error.code, int) else 0,
                details,
                headers=self._hooks.headers,
                retry_after_seconds=_retry_delay(details),
                not_found="omop-emb models list shows the models that are served",
                key="GOOGLE_CLOUD_PROJECT and your credentials" if self._vertex else "GEMINI_API_KEY",
            ) from None
        except (ValueError, TypeError, AttributeError, KeyError):
            # What the SDK raises for a body that is no JSON, or not the JSON it expects.
            raise garbled(self._source, self._where) from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2"):
                raise
            raise transport_fault(self._source, self._where, error) from None

    def _client(self) -> Any:
        with self._lock:
            if self._client_made is None:
                self._client_made = self._new_client()
                weakref.finalize(self, self._client_made.close)
            return self._client_made

    def _new_client(self) -> Any:
        from google import genai

        options = genai.types.HttpOptions(client_args=self._hooks.client_arguments)
        if not self._vertex:
            key = config.text_or_none("GOOGLE_API_KEY") or config.text_or_none("GEMINI_API_KEY")
            if key is None:
                raise ConfigurationError(f"{self._source} needs a key: export GEMINI_API_KEY=…")
            return genai.Client(api_key=key, vertexai=False, http_options=options)
        try:
            return genai.Client(
                vertexai=True,
                project=config.text_or_none("GOOGLE_CLOUD_PROJECT"),
                location=config.text_or_none("GOOGLE_CLOUD_LOCATION") or "global",
                http_options=options,
            )
        except Exception as error:
            # google-auth and the SDK have a class of their own for each way in which credentials can lack.
            raise ConfigurationError(
                f"{self._source} needs Google Cloud credentials ({type(error).__name__}): set "
                "GOOGLE_CLOUD_PROJECT and run gcloud auth application-default login"
            ) from None


def _uses_vertex() -> bool:
    chosen = config.text_or_none("GOOGLE_GENAI_USE_ENTERPRISE") or config.text_or_none(
        "GOOGLE_GENAI_USE_VERTEXAI"
    )
    return chosen is not None and chosen.strip().lower() in _TRUE


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


def _retry_delay(details: str) -> float | None:
    """The seconds of google.rpc.RetryInfo, else of the message's "Please retry in"."""
    found = re.search(r"retryDelay\W+(\d+(?:\.\d+)?)s", details) or re.search(
        r"retry in (\d+(?:\.\d+)?)s", details
    )
    return float(found[1]) if found else None
