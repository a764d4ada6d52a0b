"""Batch jobs around any provider that has them: submitted once, collected by key, checked and normalised."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from omop_emb.providers.base import JobProvider, JobState, Limits, estimated_tokens
from omop_emb.providers.batching import complaint
from omop_emb.providers.calling import Caller, Outcome
from omop_emb.providers.retrying import Patience, with_retries
from omop_emb.providers.usage import Meter
from omop_emb.records import EmbeddingRole
from omop_emb.vectors import Matrix, unit_rows

_FILE_SECONDS = 3600.0  # the answers to ten thousand texts are hundreds of megabytes
_ROLE = EmbeddingRole.DOCUMENT  # nobody waits a day for a query

_T = TypeVar("_T")


def text_key(text: str) -> bytes:
    """SHA-256 of a text without its prefix: by it the text is known to a job and in the database."""
    return hashlib.sha256(text.encode()).digest()


class EmbeddingJobs:
    """The batch jobs of an EmbeddingClient, for documents; made by EmbeddingClient.jobs().

    Args:
        jobs: the provider's.
        caller: embeds at once what a job leaves out.
        meter: counts what is asked for.
        prefix: put before each text.
        dimensions: of the vectors that are handed on.
        lengths: how long a provider's vector may be.
        limits: of the provider, for what is embedded at once.
        patience: with each request.
    """

    def __init__(
        self,
        jobs: JobProvider,
        *,
        caller: Caller,
        meter: Meter,
        prefix: str,
        dimensions: int,
        lengths: Sequence[int],
        limits: Limits,
        patience: Patience,
    ) -> None:
        self._jobs, self._caller, self._meter = jobs, caller, meter
        self._prefix, self._dimensions, self._lengths = prefix, dimensions, frozenset(lengths)
        self._limits, self._patience = limits, patience

    def submit(self, texts: Sequence[str], *, label: str) -> str:
        """Begin a job for different texts, and return its name; the label finds it if the name is lost.

        Raises:
            RateLimitError, QuotaExhaustedError: no further job is taken for now.
            ProviderUnavailableError: whether there is a job now, find() can tell when the service is back.
            ProviderError: there is no job.
        """
        keyed = {
            text_key(text).hex(): self._prefix + text
            for place, text in enumerate(texts)
            if complaint(text, place) is None
        }
        file = self._ask(lambda seconds: self._jobs.upload(keyed, _ROLE, timeout_seconds=seconds), files=True)
        asked_before = False

        def begin(seconds: float) -> str:
            nonlocal asked_before
            # An answer that was lost on its way may have been that there is a job: a second one would cost.
            found = self._jobs.find(label, timeout_seconds=seconds) if asked_before else None
            asked_before = True
            return found or self._jobs.submit(file, label=label, timeout_seconds=seconds)

        return self._ask(begin)

    def find(self, label: str) -> str | None:
        """The name of the job that was submitted with a label, if it was."""
        return self._ask(lambda seconds: self._jobs.find(label, timeout_seconds=seconds))

    def state(self, name: str) -> JobState:
        """How far a job is."""
        return self._ask(lambda seconds: self._jobs.state(name, timeout_seconds=seconds))

    def cancel(self, name: str) -> None:
        """Stop a job, if it is not finished."""
        self._ask(lambda seconds: self._jobs.cancel(name, timeout_seconds=seconds))

    def collect(self, name: str, texts: Sequence[str]) -> Outcome | None:
        """The vectors of texts that a finished job was made for; what it left out is embedded at once.

        Args:
            name: the job's.
            texts: different ones, of this job; it may hold others too, which are passed over.

        Returns:
            One vector or one failure for each text; None if the job answers none of them.

        Raises:
            ProviderError: what the job left out cannot be embedded for now; it can be collected again.
        """
        outcome = self._ask(lambda seconds: self._answers(name, texts, seconds), files=True)
        if not outcome.positions:
            return None
        left = sorted(set(range(len(texts))) - set(outcome.positions))
        parts = [outcome]
        for start in range(0, len(left), self._limits.batch_texts):
            parts.append(self._embed_now(texts, left[start : start + self._limits.batch_texts]))
        positions = [position for part in parts for position in part.positions]
        order = np.argsort(positions)
        return Outcome(
            positions=[positions[place] for place in order],
            vectors=np.concatenate([part.vectors for part in parts if part.positions])[order],
            failures={place: reason for part in parts for place, reason in part.failures.items()},
        )

    def _answers(self, name: str, texts: Sequence[str], seconds: float) -> Outcome:
        places = {text_key(text).hex(): place for place, text in enumerate(texts)}
        found: dict[int, Matrix] = {}
        reported = estimated = 0
        for answer in self._jobs.answers(name, timeout_seconds=seconds):
            place = places.get(answer.key)
            row = None if answer.vector is None else self._row(answer.vector)
            if place is None or row is None:
                continue
            found[place] = row
            if answer.tokens is None:
                estimated += estimated_tokens(self._prefix + texts[place])
            else:
                reported += answer.tokens
        self._meter.count(
            texts=len(found),
            reported_tokens=reported,
            estimated_tokens=estimated,
            batch_tokens=reported + estimated,
        )
        if not found:
            return Outcome()
        return Outcome(positions=list(found), vectors=np.concatenate(list(found.values())))

    def _row(self, values: Sequence[float]) -> Matrix | None:
        """(1, dimensions) of a vector as it was answered; None if it is none."""
        try:
            row = np.asarray([values], dtype=np.float32)
        except (TypeError, ValueError):
            return None
        if row.ndim != 2 or row.shape[1] not in self._lengths:
            return None
        unit, useless = unit_rows(row, dimensions=self._dimensions)
        return None if useless else unit

    def _embed_now(self, texts: Sequence[str], places: Sequence[int]) -> Outcome:
        failures = {place: reason for place in places if (reason := complaint(texts[place], place))}
        good = [place for place in places if place not in failures]
        if not good:
            return Outcome(failures=failures)
        found = self._caller.embed([self._prefix + texts[place] for place in good], _ROLE, self._patience)
        failures.update({good[place]: reason for place, reason in found.failures.items()})
        return Outcome(
            positions=[good[place] for place in found.positions], vectors=found.vectors, failures=failures
        )

    def _ask(self, call: Callable[[float], _T], *, files: bool = False) -> _T:
        def attempt(seconds: float) -> _T:
            self._meter.count(requests=1)
            return call(_FILE_SECONDS if files else seconds)

        return with_retries(attempt, self._patience)
