"""What a provider of embeddings must offer, and the values it trades in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, runtime_checkable

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


class JobState(Enum):
    """How far a batch job is."""

    WAITING = "queued or running"
    DONE = "finished: it has answers"
    GONE = "failed, cancelled, expired or forgotten: it will never have answers"


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """What a batch job answers for one text.

    Attributes:
        key: what the text was sent with.
        vector: not yet checked, cut or normalised; None where the text could not be embedded.
        tokens: how many the provider says it has read; None where it does not say.
    """

    key: str
    vector: Sequence[float] | None
    tokens: int | None = None


class JobProvider(Protocol):
    """Batch jobs of a provider: handed in now, answered within hours, cheaper.

    Every method raises as Provider.embed_batch does.
    """

    def upload(self, texts: Mapping[str, str], role: EmbeddingRole, *, timeout_seconds: float) -> str:
        """Hand in texts by key, prefixes in front; returns what submit() needs."""
        ...

    def submit(self, file: str, *, label: str, timeout_seconds: float) -> str:
        """Begin a job and return its name; the label is ours, to find it by if the name is lost."""
        ...

    def find(self, label: str, *, timeout_seconds: float) -> str | None:
        """The name of the job with that label, if there is one."""
        ...

    def state(self, name: str, *, timeout_seconds: float) -> JobState:
        """How far a job is."""
        ...

    def answers(self, name: str, *, timeout_seconds: float) -> Iterator[JobAnswer]:
        """What a finished job answers, in any order; texts may lack."""
        ...

    def cancel(self, name: str, *, timeout_seconds: float) -> None:
        """Stop a job, if it is not finished."""
        ...


@runtime_checkable
class OffersJobs(Protocol):
    """A provider that offers batch jobs besides answering at once."""

    def jobs(self) -> JobProvider:
        """The jobs of its model.

        Raises:
            ConfigurationError: not as it is set up.
        """
        ...


class BatchTooLargeError(ProviderError):
    """A request held more texts or bytes than the provider takes at once; half of it may pass."""


def estimated_tokens(text: str) -> int:
    """About how many tokens a model reads for a text: a token for every four bytes of UTF-8, two more.

    On clinical names in English subword vocabularies need 3.5 to 4.5 bytes a token.
    """
    return 2 + (len(text) if text.isascii() else len(text.encode())) // 4
