"""Embedding by batch jobs: pieces are submitted, waited for and collected, by whichever builder is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
from sqlalchemy import Engine

from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import ProviderError, ProviderUnavailableError, QuotaExhaustedError, RateLimitError
from omop_emb.indexing import batch_job_table, chunks
from omop_emb.indexing.batch_job_table import BatchJob
from omop_emb.indexing.builders import Builder
from omop_emb.indexing.chunks import Chunk
from omop_emb.indexing.pipeline import EmbeddedCounts, open_connection
from omop_emb.providers.base import JobState
from omop_emb.providers.embedding_jobs import EmbeddingJobs, text_key
from omop_emb.records import IndexType
from omop_emb.spaces import registry
from omop_emb.spaces.registry import Space

JOB_TEXTS = 10_000  # of one job; its answers are collected and committed as one
POLL_SECONDS = 30.0


def has_jobs(engine: Engine, space: Space) -> bool:
    """Whether batch jobs of a space are under way or wait to be collected."""
    with open_connection(engine) as connection:
        return bool(batch_job_table.jobs_of_space(connection, space))


def embed_by_jobs(
    engine: Engine,
    client: EmbeddingClient,
    space: Space,
    builder: Builder,
    done: EmbeddedCounts,
    *,
    submit: bool,
    poll_seconds: float,
    on_progress: Callable[[EmbeddedCounts], None],
    on_wait: Callable[[EmbeddedCounts], None],
) -> None:
    """Work off a build's pieces by batch jobs until none is left that a job is at, or could be.

    Args:
        engine: the database; each step is committed.
        client: whose provider has batch jobs.
        space: that is built.
        builder: this run.
        done: what it has done so far; what is collected is added.
        submit: whether pieces that no job is at are submitted; otherwise jobs are only collected.
        poll_seconds: between looks at jobs that are not finished.
        on_progress: told of `done` after each job that was collected.
        on_wait: told of `done` before each wait.

    Raises:
        ProviderError: the provider fails, or jobs came to nothing; what the others answered is written.
        ConfigurationError: the provider has no batch jobs.
    """
    with open_connection(engine) as connection:
        work = _Jobs(connection, client.batch_jobs(), space, builder, done, on_progress)
        while True:
            if submit and not work.lost:
                work.submit_all()
            there = [job for job in work.listed() if job.has_work]
            if not there:
                break
            moved = [work.advance(job) for job in there]
            if not any(moved):
                on_wait(done)
                time.sleep(poll_seconds)
    if work.lost:
        raise ProviderError(
            f"{len(work.lost)} batch jobs for space {space.name!r} came to nothing ({work.lost[-1]}): run "
            "omop-emb index build --batch-api again for their texts, or leave --batch-api out"
        )


def cancel_unused_jobs(engine: Engine, client: EmbeddingClient, space: Space) -> None:
    """Cancel and forget jobs none of whose texts a finished build of everything has wanted."""
    with open_connection(engine) as connection:
        for job in batch_job_table.jobs_of_space(connection, space):
            if job.has_work:
                continue
            _cancel(client.batch_jobs(), job)
            batch_job_table.delete(connection, job.job_id)
            connection.commit()


def cancel_jobs(engine: Engine, client: EmbeddingClient, *, index_type: IndexType) -> tuple[int, int]:
    """Cancel the batch jobs of the client's space that are not finished.

    Returns:
        How many were cancelled, and how many are finished and wait to be collected by the next build.

    Raises:
        SpaceNotFoundError: there is no such space.
        ProviderError: the provider cannot be asked; jobs that were cancelled before stay so.
        ConfigurationError: the provider has no batch jobs.
    """
    cancelled = finished = 0
    jobs = client.batch_jobs()
    with open_connection(engine) as connection:
        space = registry.space_by_fingerprint(connection, client.fingerprint, index_type)
        for job in batch_job_table.jobs_of_space(connection, space):
            if job.name is not None and jobs.state(job.name) is JobState.DONE:
                finished += 1
                continue
            _cancel(jobs, job)
            batch_job_table.mark_cancelled(connection, job.job_id)
            connection.commit()
            cancelled += 1
    return cancelled, finished


def _cancel(jobs: EmbeddingJobs, job: BatchJob) -> None:
    name = job.name or jobs.find_by_label(job.label)
    if name is not None:
        jobs.cancel(name)


class _Jobs:
    """One builder's dealings with a space's jobs.

    Attributes:
        lost: for each job that came to nothing, why.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        jobs: EmbeddingJobs,
        space: Space,
        builder: Builder,
        done: EmbeddedCounts,
        on_progress: Callable[[EmbeddedCounts], None],
    ) -> None:
        self._connection, self._jobs = connection, jobs
        self._space, self._builder = space, builder
        self._done, self._on_progress = done, on_progress
        self._full = False
        self.lost: list[str] = []

    def listed(self) -> list[BatchJob]:
        """The space's jobs now; no transaction is left open for the wait."""
        found = batch_job_table.jobs_of_space(self._connection, self._space)
        self._connection.commit()
        return found

    def submit_all(self) -> None:
        """Submit every piece that no job is at, until the provider takes no more for now."""
        while not self._full:
            chunk = chunks.claim(self._connection, self._space, self._builder)
            if chunk is None:
                self._connection.commit()
                return
            label = f"omop-emb {uuid4()}"
            job_id = batch_job_table.record(self._connection, self._space, chunk.number, _keys(chunk), label)
            self._connection.commit()
            with self._given_back(chunk):
                self._submit(chunk, job_id, label)

    def advance(self, job: BatchJob) -> bool:
        """Do for a job what can be done now; whether something was."""
        if job.cancelled:
            _cancel(self._jobs, job)  # it may have been submitted after it was cancelled
            return self._lose(job, "cancelled")
        if job.name is None:
            return self._find(job)
        state = self._jobs.state(job.name)
        if state is JobState.FAILED:
            return self._lose(job, f"{job.name} failed, expired or was cancelled")
        return state is JobState.DONE and self._collect(job, job.name)

    def _submit(self, chunk: Chunk, job_id: int, label: str) -> None:
        try:
            name = self._jobs.submit(chunk.inputs, label=label)
        except (RateLimitError, QuotaExhaustedError):
            batch_job_table.delete(self._connection, job_id)
            self._connection.commit()
            if not any(job.has_work for job in self.listed()):
                raise
            self._full = True  # until one of those under way is finished
        except ProviderUnavailableError:
            raise  # there may be a job: the next builder looks for its label
        except ProviderError:
            batch_job_table.delete(self._connection, job_id)
            self._connection.commit()
            raise
        else:
            batch_job_table.set_provider_name(self._connection, job_id, name)
            self._connection.commit()

    def _find(self, job: BatchJob) -> bool:
        """Look for a job whose name was never recorded: its builder was stopped while it submitted it."""
        chunk = self._claimed(job)
        if chunk is None:
            return False
        with self._given_back(chunk):
            name = self._jobs.find_by_label(job.label)
            if name is None:
                batch_job_table.delete(self._connection, job.job_id)
            else:
                batch_job_table.set_provider_name(self._connection, job.job_id, name)
            self._connection.commit()
        return True

    def _collect(self, job: BatchJob, name: str) -> bool:
        chunk = self._claimed(job)
        if chunk is None:
            return False  # another builder collects it
        with self._given_back(chunk):
            outcome = self._jobs.collect(name, chunk.inputs)
            if outcome is None:
                return self._lose(job, f"{name} answered none of its texts")
            vectors = np.zeros((len(chunk.inputs), self._space.fingerprint.dimensions), np.float32)
            vectors[outcome.positions] = outcome.vectors
            rows = chunks.write(
                self._connection, self._space, self._builder, chunk, vectors, outcome.failures
            )
            if rows is not None:
                batch_job_table.mark_collected(self._connection, job.job_id, _keys(chunk))
            self._connection.commit()
        self._full = False
        if rows is not None:
            self._done.rows += rows
            self._done.texts += len(chunk.inputs) - len(outcome.failures)
            self._done.failed += len(outcome.failures)
            self._done.characters += chunk.characters
            self._on_progress(self._done)
        return True

    def _claimed(self, job: BatchJob) -> Chunk | None:
        chunk = chunks.claim(self._connection, self._space, self._builder, job_id=job.job_id)
        self._connection.commit()
        return chunk

    def _lose(self, job: BatchJob, reason: str) -> bool:
        batch_job_table.delete(self._connection, job.job_id)
        self._connection.commit()
        self.lost.append(reason)
        self._full = False
        return True

    @contextmanager
    def _given_back(self, chunk: Chunk) -> Iterator[None]:
        """Let a piece go at the end, unless it was written."""
        try:
            yield
        finally:
            self._connection.rollback()
            batch_job_table.release(self._connection, self._space, self._builder, chunk.number)
            self._connection.commit()


def _keys(chunk: Chunk) -> list[bytes]:
    return [text_key(text) for text in chunk.inputs]
