"""Batch jobs of a build: submitted, waited for and collected by whichever builder runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import numpy as np
from sqlalchemy import Engine

from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import ProviderError, ProviderUnavailableError, QuotaExhaustedError, RateLimitError
from omop_emb.indexing import batch_job_table, chunks
from omop_emb.indexing.batch_job_table import BatchJob
from omop_emb.indexing.builders import Builder
from omop_emb.indexing.chunks import Chunk
from omop_emb.indexing.connections import Connection, open_connection
from omop_emb.indexing.pipeline import CountsCallback, EmbeddedCounts
from omop_emb.providers.base import JobFailedError, JobState
from omop_emb.providers.embedding_jobs import EmbeddingJobs, text_key
from omop_emb.records import IndexType, counted
from omop_emb.spaces import registry
from omop_emb.spaces.registry import Space


def has_jobs(engine: Engine, space: Space) -> bool:
    """Whether any batch jobs of a space are running or wait to be collected."""
    with open_connection(engine) as connection:
        return bool(batch_job_table.jobs_of_space(connection, space))


def embed_by_jobs(
    builder: Builder, counts: EmbeddedCounts, *, on_progress: CountsCallback, on_wait: CountsCallback
) -> None:
    """Submit a build's chunks as batch jobs, if its options say so, and collect jobs until none is left.

    Collected jobs are added to `counts`, and every step is committed. It is a ProviderError if a job failed,
    after the others were collected.
    """
    options = builder.options
    with open_connection(builder.engine) as connection:
        jobs = _Jobs(connection, builder, counts, on_progress)
        while True:
            if options.batch_api and not jobs.lost:
                jobs.submit_all()
            unfinished = [job for job in jobs.current() if job.has_work]
            if not unfinished:
                break
            advanced = [jobs.advance(job) for job in unfinished]
            if not any(advanced):
                on_wait(counts)
                time.sleep(options.poll_seconds)
    if jobs.lost:
        raise ProviderError(
            f"{counted(len(jobs.lost), 'batch job')} for space {builder.space.name!r} failed "
            f"({jobs.lost[-1]}): run {registry.build_command(builder.space.name)} --batch-api to submit "
            "their texts again, or leave out --batch-api"
        )


def cancel_unused_jobs(builder: Builder) -> None:
    """Cancel and delete the jobs that a finished, unlimited build had no use for."""
    with open_connection(builder.engine) as connection:
        for job in batch_job_table.jobs_of_space(connection, builder.space):
            if not job.has_work:
                _cancel(builder.client.batch_jobs(), job)
                batch_job_table.delete(connection, job.job_id)
                connection.commit()


def cancel_jobs(
    engine: Engine, client: EmbeddingClient, *, index_type: IndexType, keep_results: bool = True
) -> tuple[int, int]:
    """Cancel the unfinished batch jobs of the client's space, and delete their files at the provider.

    `keep_results` False also deletes the files of finished jobs, which then can no longer be collected.

    Returns:
        How many were cancelled, and how many are finished and wait to be collected by the next build.

    Raises:
        SpaceNotFoundError: there is no such space.
        ProviderError: the provider fails; jobs that were cancelled before stay cancelled.
        ConfigurationError: the provider has no batch jobs.
    """
    cancelled = finished = 0
    jobs = client.batch_jobs()
    with open_connection(engine) as connection:
        space = registry.space_by_fingerprint(connection, client.fingerprint, index_type)
        for job in batch_job_table.jobs_of_space(connection, space):
            if job.name is not None and jobs.state(job.name) is JobState.DONE:
                finished += 1
                if not keep_results:
                    jobs.delete_files(job.name)
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
        jobs.delete_files(name)


class _Jobs:
    """The jobs of a space, as one builder works on them; `lost` says of each failed job why it failed."""

    def __init__(
        self, connection: Connection, builder: Builder, counts: EmbeddedCounts, on_progress: CountsCallback
    ) -> None:
        self._connection, self._builder, self._space = connection, builder, builder.space
        self._jobs = builder.client.batch_jobs()
        self._counts, self._on_progress = counts, on_progress
        self._is_full = False  # whether the provider takes no further jobs until one is finished
        self.lost: list[str] = []

    def current(self) -> list[BatchJob]:
        """The space's jobs now; no transaction is left open."""
        jobs = batch_job_table.jobs_of_space(self._connection, self._space)
        self._connection.commit()
        return jobs

    def submit_all(self) -> None:
        """Submit every chunk that has no job, until the provider takes no more."""
        while not self._is_full:
            chunk = chunks.claim(self._connection, self._builder)
            if chunk is None:
                self._connection.commit()
                return
            label = f"omop-emb {uuid4()}"
            job_id = batch_job_table.record(self._connection, self._space, chunk.number, _keys(chunk), label)
            self._connection.commit()
            with self._released_after(chunk):
                self._submit(chunk, job_id, label)

    def advance(self, job: BatchJob) -> bool:
        """Do for a job what can be done now; whether anything was done."""
        if job.cancelled:
            _cancel(self._jobs, job)  # it may have been submitted after it was cancelled
            return self._lose(job, "cancelled")
        if job.name is None:
            return self._find_name(job)
        state = self._jobs.state(job.name)
        if state is JobState.FAILED:
            return self._lose(job, self._jobs.failure_reason(job.name))
        return state is JobState.DONE and self._collect(job, job.name)

    def _submit(self, chunk: Chunk, job_id: int, label: str) -> None:
        try:
            name = self._jobs.submit(chunk.inputs, label=label)
        except (RateLimitError, QuotaExhaustedError):
            self._delete(job_id)
            if not any(job.has_work for job in self.current()):
                raise
            self._is_full = True
        except ProviderUnavailableError:
            raise  # the job may exist: the next builder looks for its label
        except ProviderError:
            self._delete(job_id)
            raise
        else:
            batch_job_table.set_provider_name(self._connection, job_id, name)
            self._connection.commit()

    def _find_name(self, job: BatchJob) -> bool:
        """Look for a job whose name was never recorded, because its builder stopped while it submitted it."""
        chunk = self._claim(job)
        if chunk is None:
            return False
        with self._released_after(chunk):
            name = self._jobs.find_by_label(job.label)
            if name is None:
                self._delete(job.job_id)
            else:
                batch_job_table.set_provider_name(self._connection, job.job_id, name)
                self._connection.commit()
        return True

    def _collect(self, job: BatchJob, name: str) -> bool:
        chunk = self._claim(job)
        if chunk is None:
            return False  # another builder collects it
        with self._released_after(chunk):
            try:
                result = self._jobs.collect(name, chunk.inputs)
            except JobFailedError as error:
                return self._lose(job, str(error))
            vectors = np.zeros((len(chunk.inputs), self._space.fingerprint.dimensions), np.float32)
            vectors[result.positions] = result.vectors
            rows = chunks.write(self._connection, self._builder, chunk, vectors, result.failures)
            is_done = rows is not None and batch_job_table.mark_collected(
                self._connection, job.job_id, _keys(chunk)
            )
            self._connection.commit()
        if is_done:
            self._jobs.delete_files(name)
        self._is_full = False
        if rows is not None:
            self._counts.add_chunk(chunk, rows, len(result.failures))
            self._on_progress(self._counts)
        return True

    def _claim(self, job: BatchJob) -> Chunk | None:
        chunk = chunks.claim(self._connection, self._builder, job_id=job.job_id)
        self._connection.commit()
        return chunk

    def _lose(self, job: BatchJob, reason: str) -> bool:
        self._delete(job.job_id)
        if job.name is not None and not job.cancelled:
            self._jobs.delete_files(job.name)
        self.lost.append(reason)
        self._is_full = False
        return True

    def _delete(self, job_id: int) -> None:
        batch_job_table.delete(self._connection, job_id)
        self._connection.commit()

    @contextmanager
    def _released_after(self, chunk: Chunk) -> Iterator[None]:
        """Release a chunk at the end of the block, unless it was written."""
        try:
            yield
        finally:
            self._connection.rollback()
            batch_job_table.release_chunk(self._connection, self._builder, chunk.number)
            self._connection.commit()


def _keys(chunk: Chunk) -> list[bytes]:
    return [text_key(text) for text in chunk.inputs]
