"""Embedding jobs: batch jobs of a provider, collected by key and checked."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from omop_emb.arrays import Vectors
from omop_emb.errors import ProviderError, ProviderUnavailableError, RateLimitError
from omop_emb.providers.base import JobFailedError, JobState, estimated_tokens
from omop_emb.providers.batch_embedder import BatchEmbedder, EmbeddedTexts, joined
from omop_emb.providers.batching import rejection_reason
from omop_emb.providers.gemini_batch_api import GeminiBatchApi
from omop_emb.providers.retrying import RetryPolicy, call_with_retries
from omop_emb.providers.usage import Usage
from omop_emb.records import EmbeddingRole
from omop_emb.vectors import unit_rows

_FILE_TIMEOUT_SECONDS = 3600.0  # the results for ten thousand texts are hundreds of megabytes
_ROLE = EmbeddingRole.DOCUMENT  # nobody waits a day for a query

_T = TypeVar("_T")

logger = logging.getLogger(__name__)


def text_key(text: str) -> bytes:
    """SHA-256 of a text without its prefix; identifies the text in a job and in the database."""
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True)
class EmbeddingJobs:
    """The batch jobs of an EmbeddingClient, for documents; made by EmbeddingClient.batch_jobs().

    The embedder embeds at once what a job leaves out. A job may answer vectors of the model's own dimensions,
    which are cut.
    """

    api: GeminiBatchApi
    embedder: BatchEmbedder
    prefix: str
    dimensions: int
    model_dimensions: int | None
    retries: RetryPolicy

    def submit(self, texts: Sequence[str], *, label: str) -> str:
        """Start a job for distinct texts, and return its name; the label finds it if the name is lost.

        Raises:
            RateLimitError, QuotaExhaustedError: no further job is accepted for now.
            ProviderUnavailableError: there may be a job; find_by_label() tells when the service is back.
            ProviderError: there is no job.
        """
        texts_by_key = {
            text_key(text).hex(): self.prefix + text
            for position, text in enumerate(texts)
            if rejection_reason(text, position) is None
        }
        file = self._request(
            lambda seconds: self.api.upload(texts_by_key, _ROLE, timeout_seconds=seconds),
            _FILE_TIMEOUT_SECONDS,
        )
        is_retry = False

        def submit_once(seconds: float) -> str:
            nonlocal is_retry
            # The lost response may have been that there is a job now: a second one would cost again.
            name = self.api.find_by_label(label, timeout_seconds=seconds) if is_retry else None
            is_retry = True
            return name or self.api.submit(file, label=label, timeout_seconds=seconds)

        try:
            return self._request(submit_once)
        except ProviderError as error:
            # There may be a job if the service was merely not reached; else its file is of no more use.
            if isinstance(error, RateLimitError) or not isinstance(error, ProviderUnavailableError):
                self._delete(file, lambda seconds: self.api.delete_file(file, timeout_seconds=seconds))
            raise

    def find_by_label(self, label: str) -> str | None:
        """The name of the job that was submitted with a label, if there is one."""
        return self._request(lambda seconds: self.api.find_by_label(label, timeout_seconds=seconds))

    def state(self, name: str) -> JobState:
        """The job's progress."""
        return self._request(lambda seconds: self.api.state(name, timeout_seconds=seconds))

    def failure_reason(self, name: str) -> str:
        """Why a failed job has no results, with its name."""
        return self._request(lambda seconds: self.api.failure_reason(name, timeout_seconds=seconds))

    def delete_files(self, name: str) -> None:
        """Delete a job's files at the provider; a failure is logged, as it also deletes them by itself."""
        self._delete(name, lambda seconds: self.api.delete_files(name, timeout_seconds=seconds))

    def cancel(self, name: str) -> None:
        """Stop a job, unless it is finished."""
        self._request(lambda seconds: self.api.cancel(name, timeout_seconds=seconds))

    def collect(self, name: str, texts: Sequence[str]) -> EmbeddedTexts:
        """The vectors of distinct texts of a finished job; what it left out is embedded at once.

        Returns:
            One vector or one failure for each text.

        Raises:
            JobFailedError: the job answers none of them.
            ProviderError: what the job left out cannot be embedded for now; it can be collected again.
        """
        rows, errors = self._request(lambda seconds: self._rows(name, texts, seconds), _FILE_TIMEOUT_SECONDS)
        if not rows:
            codes = ", ".join(f"{count:,} times {code}" for code, count in errors.most_common(3))
            raise JobFailedError(f"{name} answered none of its texts" + (f" ({codes})" if codes else ""))
        parts = [(np.array(list(rows)), np.concatenate(list(rows.values())))]
        reasons = {
            position: rejection_reason(text, position)
            for position, text in enumerate(texts)
            if position not in rows
        }
        failures = {position: reason for position, reason in reasons.items() if reason is not None}
        missing = np.array([position for position in reasons if position not in failures], np.int64)
        batch_texts = self.embedder.batch_texts
        for start in range(0, len(missing), batch_texts):
            batch = missing[start : start + batch_texts]
            prefixed = [self.prefix + texts[position] for position in batch]
            embedded = self.embedder.embed(prefixed, _ROLE, self.retries)
            if len(embedded.positions):
                parts.append((batch[embedded.positions], embedded.vectors))
            failures.update({int(batch[index]): reason for index, reason in embedded.failures.items()})
        return joined(parts, failures)

    def _rows(
        self, name: str, texts: Sequence[str], seconds: float
    ) -> tuple[dict[int, Vectors], Counter[str]]:
        """Position -> (1, dimensions) unit row of each text with a usable result; and the others' errors."""
        positions = {text_key(text).hex(): position for position, text in enumerate(texts)}
        rows: dict[int, Vectors] = {}
        errors: Counter[str] = Counter()
        reported = estimated = 0
        for result in self.api.results(name, timeout_seconds=seconds):
            position = positions.get(result.key)
            row = None if result.vector is None else self._unit_row(result.vector)
            if position is None or row is None:
                errors.update([result.error] if result.error else [])
                continue
            rows[position] = row
            if result.tokens is None:
                estimated += estimated_tokens(self.prefix + texts[position])
            else:
                reported += result.tokens
        self.embedder.usage.add(
            Usage(
                texts=len(rows),
                reported_tokens=reported,
                estimated_tokens=estimated,
                batch_tokens=reported + estimated,
            )
        )
        return dict(sorted(rows.items())), errors

    def _unit_row(self, values: Sequence[float]) -> Vectors | None:
        try:
            row = np.asarray([values], dtype=np.float32)
        except (TypeError, ValueError):
            return None
        if row.ndim != 2 or row.shape[1] not in (self.dimensions, self.model_dimensions):
            return None
        unit_row, invalid_rows = unit_rows(row, dimensions=self.dimensions)
        return None if invalid_rows else unit_row

    def _delete(self, name: str, call: Callable[[float], None]) -> None:
        # Not worth a wait: the provider deletes files by itself after two days.
        policy = replace(self.retries, max_attempts=2, deadline_seconds=60.0, rate_limit_patience_seconds=0.0)
        try:
            self._request(call, policy=policy)
        except ProviderError as error:
            logger.warning("files of %s were not deleted at the provider: %s", name, error)

    def _request(
        self,
        call: Callable[[float], _T],
        timeout_seconds: float | None = None,
        *,
        policy: RetryPolicy | None = None,
    ) -> _T:
        def attempt(seconds: float) -> _T:
            self.embedder.usage.add(Usage(requests=1))
            return call(timeout_seconds or seconds)

        return call_with_retries(attempt, policy or self.retries)
