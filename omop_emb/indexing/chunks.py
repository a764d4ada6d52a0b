"""Chunks of a build: claimed under a lease by one of its builders, written in one transaction each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.errors import UndefinedTable

from omop_emb.errors import DatabaseError
from omop_emb.indexing.builders import Builder, limit_idle_time
from omop_emb.spaces import upsert
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import ROW_DTYPE, TEXT_COLUMNS
from omop_emb.sql import read


@dataclass(frozen=True)
class Chunk:
    """A claimed chunk.

    Attributes:
        number: of the chunk within its build.
        inputs: the distinct texts to embed, templates filled in, without the model's prefix.
        keys: (rows,) structured array of what a row holds besides its vector.
        input_of: (rows,) the position in `inputs` of each row's text.
        characters: of all inputs.
    """

    number: int
    inputs: list[str]
    keys: NDArray[np.void]
    input_of: NDArray[np.int64]
    characters: int


def claim(
    connection: psycopg.Connection[Any], space: Space, builder: Builder, *, job_id: int | None = None
) -> Chunk | None:
    """Claim the next chunk that nobody holds or whose holder died; None if there is none.

    With `job_id` the chunk of that batch job, otherwise one without a job.

    Raises:
        DatabaseError: the builder's locks are lost, so that others would take its chunks over.
    """
    if builder.is_lost.is_set():
        raise DatabaseError(
            "the connection to the database was lost: see whether the server runs, then run this again"
        )
    parameters = {
        "space": space.space_id,
        "builder": builder.builder_id,
        "lease": builder.lease_seconds,
        "job": job_id,
    }
    claimed = connection.execute(read("build_claim"), parameters).fetchone()
    if claimed is None:
        return None
    number, _, characters = claimed
    statement = sql.SQL("select {}, input from {} where chunk = {}").format(
        sql.SQL(", ").join(map(sql.Identifier, ROW_DTYPE.fields or ())),
        space.tables.work,
        sql.Literal(number),
    )
    try:
        rows = connection.execute(statement).fetchall()
    except UndefinedTable:
        return None  # the build has ended since
    positions: dict[str, int] = {}
    for row in rows:
        positions.setdefault(row[-1], len(positions))
    return Chunk(
        number=number,
        inputs=list(positions),
        keys=np.array([(*row[:5], row[5].encode(), row[6].encode(), row[7]) for row in rows], ROW_DTYPE),
        input_of=np.array([positions[row[-1]] for row in rows], np.int64),
        characters=characters,
    )


def write(
    connection: psycopg.Connection[Any],
    space: Space,
    builder: Builder,
    chunk: Chunk,
    vectors: NDArray[np.float32],
    failures: dict[int, str],
) -> int | None:
    """Write a chunk's rows in the caller's transaction, and delete the chunk from the plan.

    Args:
        connection: in whose transaction it happens.
        space: where the rows go.
        builder: who claimed the chunk.
        chunk: the chunk.
        vectors: (len(chunk.inputs), dimensions) float32, rows of unit length; those of failures are ignored.
        failures: position in `chunk.inputs` -> why the text has no vector.

    Returns:
        How many rows were written; None, and nothing is written, if the chunk is no longer this builder's.
    """
    limit_idle_time(connection, builder)
    is_mine = connection.execute(
        "delete from omop_emb.build_chunk where space_id = %s and chunk = %s and builder = %s",
        (space.space_id, chunk.number, builder.builder_id),
    ).rowcount
    if not is_mine:
        return None
    has_vector = ~np.isin(chunk.input_of, np.fromiter(failures, np.int64, len(failures)))
    work = space.tables.work
    texts = sql.SQL("select {} from {} where chunk = {} and not input = any({})").format(
        sql.SQL(", ").join(map(sql.Identifier, TEXT_COLUMNS)),
        work,
        sql.Literal(chunk.number),
        sql.Literal([chunk.inputs[position] for position in failures]),
    )
    if has_vector.any():
        upsert.insert_block(
            connection, space, chunk.keys[has_vector], vectors[chunk.input_of[has_vector]], texts=texts
        )
    for position, reason in failures.items():
        connection.execute(
            sql.SQL(read("build_record_failure")).format(work=work),
            {
                "space": space.space_id,
                "chunk": chunk.number,
                "input": chunk.inputs[position],
                "reason": reason,
            },
        )
    return int(has_vector.sum())
