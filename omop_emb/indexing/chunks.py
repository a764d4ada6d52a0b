"""Chunks of a build: claimed under a lease by one of its builders, written in one transaction each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from psycopg.errors import UndefinedTable

from omop_emb.arrays import Ints, Vectors
from omop_emb.errors import DatabaseError
from omop_emb.indexing.builders import Builder, limit_idle_time
from omop_emb.indexing.connections import Connection
from omop_emb.spaces import upsert
from omop_emb.spaces.tables import ROW_DTYPE, TEXT_COLUMNS
from omop_emb.sql import read


@dataclass(frozen=True)
class Chunk:
    """A claimed chunk."""

    number: int  # within its build
    inputs: list[str]  # distinct texts to embed, templates filled in, without the model's prefix
    keys: NDArray[np.void]  # (rows,) of ROW_DTYPE: what a row holds besides its vector
    input_of: Ints  # (rows,) the position in `inputs` of each row's text
    characters: int  # of all inputs


def claim(connection: Connection, builder: Builder, *, job_id: int | None = None) -> Chunk | None:
    """Claim the next chunk that nobody holds or whose holder died, of a batch job or without one."""
    if builder.is_lost.is_set():  # others would take its chunks over
        raise DatabaseError(
            "the connection to the database was lost: see whether the server runs, then run this again"
        )
    claimed = connection.execute(read("build_claim_chunk"), {**builder.parameters, "job": job_id}).fetchone()
    if claimed is None:
        return None
    number, _, characters = claimed
    statement = sql.SQL("select {}, input from {} where chunk = {}").format(
        sql.SQL(", ").join(map(sql.Identifier, ROW_DTYPE.fields or ())),
        builder.space.tables.work,
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
    connection: Connection, builder: Builder, chunk: Chunk, vectors: Vectors, failures: dict[int, str]
) -> int | None:
    """Write a claimed chunk's rows in the caller's transaction, and delete the chunk from the plan.

    `vectors` are (len(chunk.inputs), dimensions) of unit length; those of `failures`, which says by position
    why an input has none, are ignored. How many rows were written; None if the chunk is no longer the
    builder's.
    """
    limit_idle_time(connection, builder)
    parameters = {**builder.parameters, "chunk": chunk.number}
    is_mine = connection.execute(
        "delete from omop_emb.build_chunk "
        "where space_id = %(space)s and chunk = %(chunk)s and builder = %(builder)s",
        parameters,
    ).rowcount
    if not is_mine:
        return None
    has_vector = ~np.isin(chunk.input_of, np.fromiter(failures, np.int64, len(failures)))
    work = builder.space.tables.work
    texts = sql.SQL("select {} from {} where chunk = {} and not input = any({})").format(
        sql.SQL(", ").join(map(sql.Identifier, TEXT_COLUMNS)),
        work,
        sql.Literal(chunk.number),
        sql.Literal([chunk.inputs[position] for position in failures]),
    )
    if has_vector.any():
        upsert.insert_block(
            connection,
            builder.space,
            chunk.keys[has_vector],
            vectors[chunk.input_of[has_vector]],
            texts=texts,
        )
    statement = sql.SQL(read("build_record_failure")).format(work=work)
    for position, reason in failures.items():
        connection.execute(statement, {**parameters, "input": chunk.inputs[position], "reason": reason})
    return int(has_vector.sum())
