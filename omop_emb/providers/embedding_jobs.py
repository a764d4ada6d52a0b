"""Embedding jobs: batch jobs of any provider that has them, collected by key and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from omop_emb.arrays import Vectors
from omop_emb.providers.base import BatchApi, JobState, Limits, estimated_tokens
from omop_emb.providers.batch_embedder import BatchEmbedder, BatchResult, joined
from omop_emb.providers.batching import rejection_reason
from omop_emb.providers.retrying import RetryPolicy, call_with_retries
from omop_emb.providers.usage import Usage, UsageCounter
from omop_emb.records import EmbeddingRole
from omop_emb.vectors import unit_rows

_FILE_TIMEOUT_SECONDS = 3600.0  # the results for ten thousand texts are hundreds of megabytes
_ROLE = EmbeddingRole.DOCUMENT  # nobody waits a day for a query

_T = TypeVar("_T")


def text_key(text: str) -> bytes:
    """SHA-256 of a text without its prefix; identifies the text in a job and in the database."""
    return hashlib.sha256(text.encode()).digest()


class EmbeddingJobs:
    """The batch jobs of an EmbeddingClient, for documents; made by EmbeddingClient.batch_jobs().

    Args:
        api: the provider's.
        embedder: embeds at once what a job leaves out.
        usage: counts requests and tokens.
        prefix: put before each text.
        dimensions: of the returned vectors.
        lengths: the allowed lengths of the provider's vectors.
        limits: of the provider, for texts that are embedded at once.
        retries: for each request.
    """

    def __init__(
        self,
        api: BatchApi,
        *,
        embedder: BatchEmbedder,
        usage: UsageCounter,
        prefix: str,
        dimensions: int,
        lengths: set[int],
        limits: Limits,
        retries: RetryPolicy,
    ) -> None:
        self._api, self._embedder, self._usage = api, embedder, usage
        self._prefix, self._dimensions, self._lengths = prefix, dimensions, lengths
        self._limits, self._retries = limits, retries

    def submit(self, texts: Sequence[str], *, label: str) -> str:
        """Start a job for distinct texts, and return its name; the label finds it if the name is lost.

        Raises:
            RateLimitError, QuotaExhaustedError: no further job is accepted for now.
            ProviderUnavailableError: there may be a job; find_by_label() tells when the service is back.
            ProviderError: there is no job.
        """
        texts_by_key = {
            text_key(text).hex(): self._prefix + text
            for position, text in enumerate(texts)
            if rejection_reason(text, position) is None
        }
        file = self._request(
            lambda seconds: self._api.upload(texts_by_key, _ROLE, timeout_seconds=seconds),
            _FILE_TIMEOUT_SECONDS,
        )
        is_retry = False

        def submit_once(seconds: float) -> str:
            nonlocal is_retry
            # The lost response may have been that there is a job now: a second one would cost again.
            name = self._api.find_by_label(label, timeout_seconds=seconds) if is_retry else None
            is_retry = True
            return name or self._api.submit(file, label=label, timeout_seconds=seconds)

        return self._request(submit_once)

    def find_by_label(self, label: str) -> str | None:
        """The name of the job that was submitted with a label, if there is one."""
        return self._request(lambda seconds: self._api.find_by_label(label, timeout_seconds=seconds))

    def state(self, name: str) -> JobState:
        """The job's progress."""
        return self._request(lambda seconds: self._api.state(name, timeout_seconds=seconds))

    def cancel(self, name: str) -> None:
        """Stop a job, unless it is finished."""
        self._request(lambda seconds: self._api.cancel(name, timeout_seconds=seconds))

    def collect(self, name: str, texts: Sequence[str]) -> BatchResult | None:
        """The vectors of texts that a finished job was made for; what it left out is embedded at once.

        Args:
            name: the job's.
            texts: distinct ones of this job; it may have had others too, which are ignored.

        Returns:
            One vector or one failure for each text; None if the job answers none of them.

        Raises:
            ProviderError: what the job left out cannot be embedded for now; it can be collected again.
        """
        rows = self._request(lambda seconds: self._rows(name, texts, seconds), _FILE_TIMEOUT_SECONDS)
        if not rows:
            return None
        parts = [(list(rows), np.concatenate(list(rows.values())))]
        failures: dict[int, str] = {}
        missing: list[int] = []
        for position, text in enumerate(texts):
            if position not in rows:
                reason = rejection_reason(text, position)
                if reason is None:
                    missing.append(position)
                else:
                    failures[position] = reason
        for start in range(0, len(missing), self._limits.batch_texts):
            batch = missing[start : start + self._limits.batch_texts]
            prefixed = [self._prefix + texts[position] for position in batch]
            result = self._embedder.embed(prefixed, _ROLE, self._retries)
            if result.positions:
                parts.append(([batch[index] for index in result.positions], result.vectors))
            failures.update({batch[index]: reason for index, reason in result.failures.items()})
        return joined(parts, failures)

    def _rows(self, name: str, texts: Sequence[str], seconds: float) -> dict[int, Vectors]:
        """Position -> (1, dimensions) unit row of each text with a usable result, in ascending order."""
        positions = {text_key(text).hex(): position for position, text in enumerate(texts)}
        rows: dict[int, Vectors] = {}
        reported = estimated = 0
        for result in self._api.results(name, timeout_seconds=seconds):
            position = positions.get(result.key)
            row = None if result.vector is None else self._unit_row(result.vector)
            if position is None or row is None:
                continue
            rows[position] = row
            if result.tokens is None:
                estimated += estimated_tokens(self._prefix + texts[position])
            else:
                reported += result.tokens
        self._usage.add(
            Usage(
                texts=len(rows),
                reported_tokens=reported,
                estimated_tokens=estimated,
                batch_tokens=reported + estimated,
            )
        )
        return dict(sorted(rows.items()))

    def _unit_row(self, values: Sequence[float]) -> Vectors | None:
        try:
            row = np.asarray([values], dtype=np.float32)
        except (TypeError, ValueError):
            return None
        if row.ndim != 2 or row.shape[1] not in self._lengths:
            return None
        unit_row, invalid_rows = unit_rows(row, dimensions=self._dimensions)
        return None if invalid_rows else unit_row

    def _request(self, call: Callable[[float], _T], timeout_seconds: float | None = None) -> _T:
        def attempt(seconds: float) -> _T:
            self._usage.add(Usage(requests=1))
            return call(timeout_seconds or seconds)

        return call_with_retries(attempt, self._retries)
