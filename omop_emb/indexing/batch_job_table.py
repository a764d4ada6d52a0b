"""Batch job records: written before a job is submitted, deleted once its answers are collected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from omop_emb.indexing.builders import Builder
from omop_emb.indexing.connections import Connection
from omop_emb.spaces.registry import Space


@dataclass(frozen=True)
class BatchJob:
    """A recorded batch job."""

    job_id: int
    label: str  # by which the provider finds it
    name: str | None  # the provider's; None until its answer was recorded
    cancelled: bool  # by a user
    has_work: bool  # whether a chunk of the current build waits for its answers


def jobs_of_space(connection: Connection, space: Space) -> list[BatchJob]:
    """A space's jobs, oldest first."""
    rows = connection.execute(
        "select job_id, label, name, cancelled, exists ("
        "    select from omop_emb.build_chunk c where c.job_id = j.job_id"
        ") from omop_emb.batch_job j where space_id = %s order by job_id",
        (space.space_id,),
    )
    return [BatchJob(*row) for row in rows]


def record(connection: Connection, space: Space, chunk: int, keys: Sequence[bytes], label: str) -> int:
    """Record a job that is about to be submitted for a chunk, which stays claimed; the job's number."""
    row = connection.execute(
        "insert into omop_emb.batch_job (space_id, label) values (%s, %s) returning job_id",
        (space.space_id, label),
    ).fetchone()
    assert row is not None  # noqa: S101 - an insert of one row returns one
    connection.execute(
        "insert into omop_emb.batch_text (job_id, text_key) select %s, unnest(%s::bytea[])",
        (row[0], list(keys)),
    )
    connection.execute(
        "update omop_emb.build_chunk set job_id = %s where space_id = %s and chunk = %s",
        (row[0], space.space_id, chunk),
    )
    return int(row[0])


def set_provider_name(connection: Connection, job_id: int, name: str) -> None:
    """Record the name that the provider gave a job."""
    connection.execute("update omop_emb.batch_job set name = %s where job_id = %s", (name, job_id))


def release_chunk(connection: Connection, builder: Builder, chunk: int) -> None:
    """Release a claimed chunk, so that whichever builder sees its job finished first may collect it."""
    connection.execute(
        "update omop_emb.build_chunk set builder = null, lease_until = null "
        "where space_id = %(space)s and chunk = %(chunk)s and builder = %(builder)s",
        {**builder.parameters, "chunk": chunk},
    )


def mark_collected(connection: Connection, job_id: int, keys: Sequence[bytes]) -> bool:
    """Delete the collected texts of a job, and with the last one the job itself; whether it was the last."""
    connection.execute(
        "delete from omop_emb.batch_text where job_id = %s and text_key = any(%s)", (job_id, list(keys))
    )
    deleted = connection.execute(
        "delete from omop_emb.batch_job where job_id = %s "
        "and not exists (select from omop_emb.batch_text t where t.job_id = batch_job.job_id)",
        (job_id,),
    )
    return deleted.rowcount > 0


def delete(connection: Connection, job_id: int) -> None:
    """Delete a job's record; another job may then take its texts."""
    connection.execute("delete from omop_emb.batch_job where job_id = %s", (job_id,))


def mark_cancelled(connection: Connection, job_id: int) -> None:
    """Record that a job was cancelled, so that no running builder submits its texts again."""
    connection.execute("update omop_emb.batch_job set cancelled = true where job_id = %s", (job_id,))


def delete_cancelled(connection: Connection, space: Space) -> None:
    """Delete the records of jobs that were cancelled while no build was running."""
    connection.execute("delete from omop_emb.batch_job where space_id = %s and cancelled", (space.space_id,))


def text_key_sql(connection: Connection, space: Space) -> sql.SQL:
    """The key by which jobs know a text of the build; null, which costs nothing, where there are no jobs."""
    return sql.SQL(
        "sha256(convert_to(e.input, 'UTF8'))" if jobs_of_space(connection, space) else "null::bytea"
    )
