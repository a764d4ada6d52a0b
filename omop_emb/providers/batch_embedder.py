"""Batch embedder: one batch of texts through a provider, rate-limited, retried and checked."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from omop_emb.arrays import Ints, Vectors
from omop_emb.errors import (
    InvalidAnswerError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitError,
    TextRejectedError,
)
from omop_emb.providers.base import BatchTooLargeError, Provider, estimated_tokens
from omop_emb.providers.parts import Content, EmbeddingItem
from omop_emb.providers.rate_limiter import Rate, RateLimiter
from omop_emb.providers.retrying import RetryPolicy, call_with_retries
from omop_emb.providers.usage import Usage, UsageCounter
from omop_emb.records import EmbeddingRole
from omop_emb.vectors import as_matrix, unit_rows

# A text that every embedding model can embed: if it fails, the cause is not the text.
_PROBE_TEXT = "aspirin"
# So many rejected texts without an embedded one in between are no longer a matter of texts.
_MAX_REJECTED_IN_A_ROW = 25


@dataclass(frozen=True, slots=True)
class EmbeddedTexts:
    """Texts of a list or stream, embedded."""

    positions: Ints  # (n,) int64: the positions of the embedded texts, ascending
    vectors: Vectors  # (n, dimensions) float32, rows of unit length, one for each position
    # position -> why that text could not be embedded, without the text
    failures: dict[int, str] = field(default_factory=dict)


def joined(parts: Sequence[tuple[Ints, Vectors]], failures: dict[int, str]) -> EmbeddedTexts:
    """One result from the (positions, vectors) of parts in any order."""
    if len(parts) == 1:
        return EmbeddedTexts(*parts[0], failures)
    if not parts:
        return EmbeddedTexts(np.empty(0, np.int64), np.empty((0, 0), np.float32), failures)
    positions = np.concatenate([positions for positions, _ in parts])
    order = np.argsort(positions)
    return EmbeddedTexts(positions[order], np.concatenate([vectors for _, vectors in parts])[order], failures)


class BatchEmbedder:
    """Embeds batches with one provider, and halves a failing batch until the bad text is alone.

    Attributes:
        batch_texts: most texts of one request; lowered when the provider finds a request too large.
        received_dimensions: length of the vectors received so far; None before the first.
    """

    def __init__(self, provider: Provider, *, dimensions: int | None, rate: Rate) -> None:
        self.provider, self.dimensions = provider, dimensions
        self.source = f"{provider.name}:{provider.model}"
        self.usage = UsageCounter()
        most_texts = provider.limits.batch_texts
        self.batch_texts = min(most_texts, rate.texts_per_minute or most_texts)
        self.received_dimensions: int | None = None
        self._limiter = RateLimiter(rate)
        self._model_dimensions: int | None = None
        self._working_roles: set[EmbeddingRole] = set()
        self._rejected_in_a_row = 0
        self._lock = threading.Lock()

    def embed(
        self, texts: Sequence[EmbeddingItem], role: EmbeddingRole, policy: RetryPolicy
    ) -> EmbeddedTexts:
        """Embed texts, prefixes included; a text that cannot be embedded is among the failures.

        Contents are embedded as texts are; only a provider whose limits name parts is given any.
        """
        parts: list[tuple[Ints, Vectors]] = []
        failures: dict[int, str] = {}
        pending = [np.arange(len(texts))]
        was_too_large = False
        while pending:
            part = pending.pop()
            rejection: ProviderError
            try:
                rows, invalid_rows = self._request(
                    [texts[position] for position in part.tolist()], role, policy
                )
            except RateLimitError:
                raise
            except BatchTooLargeError as error:
                was_too_large = was_too_large or len(part) > 1
                rejection = error
            except (TextRejectedError, ProviderUnavailableError) as error:
                self._raise_if_provider_fails(error, role, policy)
                # The provider works: from here on, a failure of this batch is caused by a text.
                policy = replace(policy, max_attempts=2)
                rejection = error
            else:
                if not invalid_rows or len(part) > 1:
                    pending += [part[row : row + 1] for row in invalid_rows]
                    valid_rows = np.delete(np.arange(len(part)), invalid_rows)
                    if len(valid_rows):
                        self._record_success(role)
                        parts.append((part[valid_rows], rows[valid_rows] if invalid_rows else rows))
                    continue
                rejection = TextRejectedError(f"{self.source} returned a vector of zeros or NaN")
                self._raise_if_provider_fails(rejection, role, policy)
            if len(part) == 1:
                failures[int(part[0])] = str(rejection)
                self._record_rejection(rejection)
            else:
                middle = len(part) // 2
                pending += [part[middle:], part[:middle]]
        if len(texts) > 1 and not parts:
            self._probe(TextRejectedError(next(iter(failures.values()))), role, policy)
        if was_too_large and not failures:
            # Not after a failure: then one long text may have been too large, and not the number of texts.
            with self._lock:
                self.batch_texts = min(self.batch_texts, max(len(positions) for positions, _ in parts))
        return joined(parts, failures)

    def set_model_dimensions(self, dimensions: int) -> None:
        """Say how long the model's own vectors are, before or after the first has been received."""
        self._model_dimensions = dimensions
        if self.received_dimensions is not None:
            self._check_dimensions(self.received_dimensions)

    def _request(
        self, texts: list[EmbeddingItem], role: EmbeddingRole, policy: RetryPolicy
    ) -> tuple[Vectors, list[int]]:
        """The unit rows of one request, and the numbers of the rows that are invalid."""
        tokens = sum(map(estimated_tokens, texts))
        contents = [item for item in texts if isinstance(item, Content)]
        media = Usage(
            image_tokens=sum(content.image_tokens for content in contents),
            audio_tokens=sum(content.audio_tokens for content in contents),
        )

        def before_attempt() -> None:
            self._limiter.acquire(
                texts=len(texts), tokens=tokens, max_wait_seconds=policy.max_limiter_wait_seconds
            )

        def attempt(timeout_seconds: float) -> Vectors:
            self.usage.add(Usage(requests=1))
            with self._limiter.sending():
                response = self.provider.embed_batch(
                    cast("list[str]", texts), role, timeout_seconds=timeout_seconds
                )
            if response.tokens is None:
                self.usage.add(media + Usage(texts=len(texts), estimated_tokens=tokens))
            else:
                self.usage.add(media + Usage(texts=len(texts), reported_tokens=response.tokens))
            try:
                return as_matrix(response.vectors, count=len(texts), source=self.source)
            except InvalidAnswerError as error:
                # A text that a server drops or splits shifts all others: only alone can it be identified.
                raise TextRejectedError(str(error)) from None

        matrix = call_with_retries(
            attempt, policy, before_attempt=before_attempt, after_failure=self._limiter.pause_after
        )
        self._check_dimensions(matrix.shape[1])
        return unit_rows(matrix, dimensions=self.dimensions)

    def _check_dimensions(self, received: int) -> None:
        is_allowed = self._model_dimensions in (None, received) or received == self.dimensions
        with self._lock:
            if self.received_dimensions is None and is_allowed:
                self.received_dimensions = received
            expected = self.received_dimensions or self._model_dimensions
        if received != expected or not is_allowed:
            raise InvalidAnswerError(
                f"{self.source} returned vectors of {received} dimensions, not "
                f"{self._model_dimensions if received == expected else expected}: is there more than one "
                "model behind it?"
            )
        if self.dimensions is not None and received < self.dimensions:
            raise InvalidAnswerError(
                f"{self.source} returned {received} dimensions, fewer than the requested "
                f"{self.dimensions}; set OMOP_EMB_DIMENSIONS to at most {received}"
            )

    def _raise_if_provider_fails(
        self, error: ProviderError, role: EmbeddingRole, policy: RetryPolicy
    ) -> None:
        """Raise the error unless the provider is known to work, so that a text must be the cause."""
        if role not in self._working_roles or isinstance(error, ProviderUnavailableError):
            self._probe(error, role, policy)

    def _probe(self, error: ProviderError, role: EmbeddingRole, policy: RetryPolicy) -> None:
        """Raise the error if a text that any model can embed fails too."""
        try:
            _, invalid_rows = self._request([_PROBE_TEXT], role, replace(policy, max_attempts=1))
        except (TextRejectedError, BatchTooLargeError):
            invalid_rows = [0]
        except ProviderUnavailableError as outage:
            raise error if isinstance(error, ProviderUnavailableError) else outage from None
        if invalid_rows:
            raise ProviderError(
                f"{error}; a plain test word fails too, so the cause is a setting or the model"
            )
        self._record_success(role)

    def _record_success(self, role: EmbeddingRole) -> None:
        with self._lock:
            self._working_roles.add(role)
            self._rejected_in_a_row = 0

    def _record_rejection(self, rejection: ProviderError) -> None:
        with self._lock:
            self._rejected_in_a_row += 1
            if self._rejected_in_a_row >= _MAX_REJECTED_IN_A_ROW:
                raise ProviderError(
                    f"{self._rejected_in_a_row} texts in a row could not be embedded; the last: {rejection}"
                )
