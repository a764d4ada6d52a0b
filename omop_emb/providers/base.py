"""Provider protocol: what a source of embeddings must offer, and the values that it exchanges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from omop_emb.arrays import Vectors
from omop_emb.errors import ProviderError
from omop_emb.providers.part_limits import PartLimits
from omop_emb.providers.parts import EmbeddingItem
from omop_emb.records import EmbeddingRole


@dataclass(frozen=True, slots=True)
class EmbeddingResponse:
    """A provider's response to one batch."""

    # one row per text, in the order of the texts; not yet checked, cut or normalised
    vectors: Vectors | Sequence[Sequence[float]]
    tokens: int | None = None  # how many tokens the provider says it has read; None where it does not say

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", token_count(self.tokens))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The sizes and times of requests that suit a provider."""

    batch_texts: int  # most texts of one request
    batch_tokens: int = 1_000_000  # most tokens of one request, as estimated by `estimated_tokens`
    concurrency: int = 1  # most requests at the same time
    query_timeout_seconds: float = 10.0  # for one attempt while a person waits
    bulk_timeout_seconds: float = 120.0  # for one attempt of a long job
    # what the model reads besides text: embed_batch is then given contents too; None for text only
    parts: PartLimits | None = None


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a provider knows about its model."""

    revision: str = ""  # identifies the weights; "" where the provider offers nothing
    dimensions: int | None = None  # length of the model's own vectors; None where only a response tells
    # the prefix for each role that the model's own files ask for
    suggested_prefixes: dict[EmbeddingRole, str] = field(default_factory=dict)


class Provider(Protocol):
    """One embedding model behind one call.

    A provider only translates: batching, limits, retries, checks and normalisation happen around it.
    `embed_batch` is called from several threads if `limits.concurrency` is above 1.

    Attributes:
        name: such as "ollama".
        model: the provider's name for the model.
        limits: the requests that suit it.
        tasks: the task type that is sent for each role; empty where the provider has none.
    """

    name: str
    model: str
    limits: Limits
    tasks: dict[EmbeddingRole, str]

    def embed_batch(
        self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        """Embed at least one text; prefixes have been added.

        Raises:
            ProviderUnavailableError: trying again may help.
            BatchTooLargeError: fewer texts at once may help.
            TextRejectedError: one of the texts may be the cause.
            ProviderRefusedError, QuotaExhaustedError, InvalidAnswerError: nothing helps for now.
        """

    def model_info(self, *, timeout_seconds: float) -> ModelInfo:
        """What identifies the model; may load it, or send one request."""


class JobState(Enum):
    """Progress of a batch job."""

    PENDING = "queued or running"
    DONE = "finished, with results"
    FAILED = "failed, cancelled, expired or deleted: there will never be results"


@dataclass(frozen=True, slots=True)
class JobResult:
    """A batch job's result for the text of a key; vector is unchecked, None where there is none."""

    key: str
    vector: Sequence[float] | None
    tokens: int | None = None
    error: str = ""  # the provider's code for why there is none, such as INVALID_ARGUMENT


class JobFailedError(ProviderError):
    """A batch job has ended without results; the message names it and says why."""


def token_count(value: object) -> int | None:
    """The number of tokens that a provider states; None if it is none that can be."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 15:
        value = int(value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15
    return value if is_count else None  # type: ignore[return-value]  # mypy does not follow is_count


class BatchTooLargeError(ProviderError):
    """A request held more texts or bytes than the provider accepts; half of it may pass."""


def estimated_tokens(item: EmbeddingItem) -> int:
    """About how many tokens a model reads for a text: one for every four bytes of UTF-8, and two more.

    English subword vocabularies need 3.5 to 4.5 bytes a token for clinical names. Of a content, the tokens of
    its images, pages and recordings are added.
    """
    if not isinstance(item, str):
        return item.image_tokens + item.audio_tokens + sum(map(estimated_tokens, item.texts))
    text = item
    return 2 + (len(text) if text.isascii() else len(text.encode())) // 4
