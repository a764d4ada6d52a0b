"""Batch embedder: one batch of texts through a provider, rate-limited, retried and checked."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from omop_emb.arrays import Vectors
from omop_emb.errors import (
    InvalidAnswerError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitError,
    TextRejectedError,
)
from omop_emb.providers.base import BatchTooLargeError, Provider, estimated_tokens
from omop_emb.providers.rate_limiter import RateLimiter
from omop_emb.providers.retrying import RetryPolicy, call_with_retries
from omop_emb.providers.usage import Usage, UsageCounter
from omop_emb.records import EmbeddingRole
from omop_emb.vectors import as_matrix, unit_rows

# A text that every embedding model can embed: if it fails, the cause is not the text.
_PROBE_TEXT = "aspirin"
# So many rejected texts without an embedded one in between are no longer a matter of texts.
_MAX_REJECTED_IN_A_ROW = 25


@dataclass
class BatchResult:
    """The vectors of a batch, and the texts that have none.

    Attributes:
        positions: the embedded texts, ascending.
        vectors: (len(positions), dimensions) float32 unit rows in that order.
        failures: position -> why that text cannot be embedded, without the text.
    """

    positions: list[int] = field(default_factory=list)
    vectors: Vectors = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    failures: dict[int, str] = field(default_factory=dict)


def joined(parts: Sequence[tuple[list[int], Vectors]], failures: dict[int, str]) -> BatchResult:
    """One result from (positions, vectors) of parts in any order, none of them empty."""
    if not parts:
        return BatchResult(failures=failures)
    if len(parts) == 1:
        return BatchResult(*parts[0], failures)
    positions = np.concatenate([positions for positions, _ in parts])
    order = np.argsort(positions)
    vectors = np.concatenate([vectors for _, vectors in parts])[order]
    return BatchResult(positions[order].tolist(), vectors, failures)


class BatchEmbedder:
    """Embeds batches with one provider, and halves a failing batch until the bad text is alone.

    Attributes:
        batch_texts: most texts of one request; lowered when the provider finds a request too large.
        received_dimensions: length of the vectors received so far; None before the first.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        dimensions: int | None,
        limiter: RateLimiter,
        usage: UsageCounter,
        batch_texts: int,
    ) -> None:
        self.batch_texts = batch_texts
        self.received_dimensions: int | None = None
        self._provider, self._limiter, self._usage = provider, limiter, usage
        self._source = f"{provider.name}:{provider.model}"
        self._dimensions = dimensions
        self._model_dimensions: int | None = None
        self._working_roles: set[EmbeddingRole] = set()
        self._rejected_in_a_row = 0
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str], role: EmbeddingRole, policy: RetryPolicy) -> BatchResult:
        """Embed texts, prefixes included; a text that cannot be embedded is among the failures.

        Raises:
            ProviderError: nothing can be embedded for now, and the cause is not a text.
        """
        parts: list[tuple[list[int], Vectors]] = []
        failures: dict[int, str] = {}
        pending = [list(range(len(texts)))]
        was_too_large = False
        while pending:
            part = pending.pop()
            rejection: ProviderError
            try:
                rows, invalid_rows = self._request([texts[position] for position in part], role, policy)
            except RateLimitError:
                raise
            except BatchTooLargeError as error:
                was_too_large = was_too_large or len(part) > 1
                rejection = error
            except (TextRejectedError, ProviderUnavailableError) as error:
                self._raise_if_provider_fails(error, role, policy)
                # The provider works: from here on, a failure of this batch is caused by a text.
                policy = policy.with_max_attempts(2)
                rejection = error
            else:
                if not invalid_rows or len(part) > 1:
                    valid_rows = sorted(set(range(len(part))) - set(invalid_rows))
                    if valid_rows:
                        self._record_success(role)
                        rows = rows[valid_rows] if invalid_rows else rows
                        parts.append(([part[row] for row in valid_rows], rows))
                    pending += [[part[row]] for row in invalid_rows]
                    continue
                rejection = TextRejectedError(f"{self._source} answers a vector of zeros or NaN")
                self._raise_if_provider_fails(rejection, role, policy)
            if len(part) == 1:
                self._record_failure(part[0], str(rejection), failures)
            else:
                middle = len(part) // 2
                pending += [part[middle:], part[:middle]]
        if len(texts) > 1 and not parts:
            self._probe(TextRejectedError(next(iter(failures.values()))), role, policy)
        if was_too_large and not failures:
            # Not after a failure: then one long text may have been too large, and not the number of texts.
            with self._lock:
                passed = max(len(positions) for positions, _ in parts)
                self.batch_texts = max(1, min(self.batch_texts, passed))
        return joined(parts, failures)

    def set_model_dimensions(self, dimensions: int) -> None:
        """Say how long the model's own vectors are, before or after the first has been received."""
        self._model_dimensions = dimensions
        if self.received_dimensions is not None:
            self._check_dimensions(self.received_dimensions)

    def _request(
        self, texts: list[str], role: EmbeddingRole, policy: RetryPolicy
    ) -> tuple[Vectors, list[int]]:
        """The unit rows of one request, and the numbers of the rows that are invalid."""
        tokens = sum(map(estimated_tokens, texts))

        def before_attempt() -> None:
            self._limiter.acquire(
                texts=len(texts), tokens=tokens, max_wait_seconds=policy.max_limiter_wait_seconds
            )

        def attempt(timeout_seconds: float) -> Vectors:
            self._usage.add(Usage(requests=1))
            response = self._provider.embed_batch(texts, role, timeout_seconds=timeout_seconds)
            is_estimate = response.tokens is None
            self._usage.add(
                Usage(
                    texts=len(texts),
                    reported_tokens=response.tokens or 0,
                    estimated_tokens=tokens if is_estimate else 0,
                )
            )
            try:
                return as_matrix(response.vectors, count=len(texts), source=self._source)
            except InvalidAnswerError as error:
                # A text that a server drops or splits shifts all others: only alone can it be identified.
                raise TextRejectedError(str(error)) from None

        matrix = call_with_retries(
            attempt, policy, before_attempt=before_attempt, after_failure=self._limiter.pause_after
        )
        self._check_dimensions(matrix.shape[1])
        return unit_rows(matrix, dimensions=self._dimensions)

    def _check_dimensions(self, received: int) -> None:
        allowed = (self._model_dimensions, self._dimensions)
        is_allowed = self._model_dimensions is None or received in allowed
        with self._lock:
            if self.received_dimensions is None and is_allowed:
                self.received_dimensions = received
            expected = self.received_dimensions or self._model_dimensions
        if received != expected or not is_allowed:
            expected = self._model_dimensions if received == expected else expected
            raise InvalidAnswerError(
                f"{self._source} answered vectors of {received} dimensions, not {expected}: "
                "is there more than one model behind it?"
            )
        if self._dimensions is not None and received < self._dimensions:
            raise InvalidAnswerError(
                f"{self._source} answers {received} dimensions, fewer than the {self._dimensions} asked for; "
                f"set OMOP_EMB_DIMENSIONS to at most {received}"
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
            _, invalid_rows = self._request([_PROBE_TEXT], role, policy.with_max_attempts(1))
        except (TextRejectedError, BatchTooLargeError):
            invalid_rows = [0]
        except ProviderUnavailableError as outage:
            raise error if isinstance(error, ProviderUnavailableError) else outage from None
        if invalid_rows:
            raise ProviderError(
                f"{error}; a plain test word fails too, so the cause is a setting or the model"
            )
        self._record_success(role)

    def _record_failure(self, position: int, reason: str, failures: dict[int, str]) -> None:
        failures[position] = reason
        with self._lock:
            self._rejected_in_a_row += 1
            if self._rejected_in_a_row >= _MAX_REJECTED_IN_A_ROW:
                raise ProviderError(
                    f"{self._rejected_in_a_row} texts in a row could not be embedded; the last: {reason}"
                )

    def _record_success(self, role: EmbeddingRole) -> None:
        with self._lock:
            self._working_roles.add(role)
            self._rejected_in_a_row = 0
