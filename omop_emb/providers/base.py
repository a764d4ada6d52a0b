"""What a provider of embeddings must offer, and the values it trades in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from omop_emb.errors import ProviderError
from omop_emb.records import EmbeddingRole
from omop_emb.vectors import Matrix


@dataclass(frozen=True, slots=True)
class Answer:
    """A provider's answer to one batch.

    Attributes:
        vectors: one row per text, in the texts' order; not yet checked, cut or normalised.
        tokens: how many tokens the provider says it has read; None where it does not say.
    """

    vectors: Matrix | Sequence[Sequence[float]]
    tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How a provider likes to be asked.

    Attributes:
        batch_texts: most texts of one request.
        batch_tokens: most tokens of one request, as estimated by `estimated_tokens`.
        in_flight: how many requests may be under way at once.
        query_timeout_seconds: for one attempt while a person waits.
        bulk_timeout_seconds: for one attempt of a long job.
    """

    batch_texts: int
    batch_tokens: int = 1_000_000
    in_flight: int = 1
    query_timeout_seconds: float = 10.0
    bulk_timeout_seconds: float = 120.0


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a provider can tell about its model.

    Attributes:
        revision: what identifies the weights; "" where the provider offers nothing.
        dimensions: length of the vectors it answers; None where only an answer tells.
        suggested_prefixes: what the model's own files say should stand before the texts of each role.
    """

    revision: str = ""
    dimensions: int | None = None
    suggested_prefixes: dict[EmbeddingRole, str] = field(default_factory=dict)


class Provider(Protocol):
    """One embedding model behind one call.

    A provider only translates: batching, limits, retries, checks and normalisation are done around it, once
    for all. `embed_batch` is called from several threads if `limits.in_flight` is above 1.

    Attributes:
        name: such as "ollama".
        model: the provider's name for the model.
        limits: how it likes to be asked.
        tasks: the task type that each role is sent as; empty where the provider has none.
    """

    name: str
    model: str
    limits: Limits
    tasks: dict[EmbeddingRole, str]

    def embed_batch(self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float) -> Answer:
        """Embed at least one text, prefixes already in front.

        Raises:
            ProviderUnavailableError: trying again may help.
            BatchTooLargeError: fewer texts at once may help.
            TextRejectedError: one of the texts may be to blame.
            ProviderRefusedError, QuotaExhaustedError, InvalidAnswerError: nothing helps for now.
        """
        ...

    def identity(self, *, timeout_seconds: float) -> Identity:
        """What identifies the model; may load or ask it once."""
        ...


class BatchTooLargeError(ProviderError):
    """A request held more texts or bytes than the provider takes at once; half of it may pass."""


def estimated_tokens(text: str) -> int:
    """About how many tokens a model reads for a text: a token for every four bytes of UTF-8, two more.

    On clinical names in English subword vocabularies need 3.5 to 4.5 bytes a token.
    """
    return 2 + (len(text) if text.isascii() else len(text.encode())) // 4
