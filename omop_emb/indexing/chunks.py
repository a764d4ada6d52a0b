"""The pieces of a build: claimed under a lease by one of its builders, written in one transaction."""

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
from omop_emb.spaces.tables import TEXT_COLUMNS
from omop_emb.sql import read


@dataclass(frozen=True)
class Chunk:
    """A claimed piece of work.

    Attributes:
        number: which of the build's pieces.
        inputs: the different texts to embed, templates filled in, without the model's prefix.
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
    """The next piece that nobody holds, or whose holder died; None where there is none.

    Args:
        connection: that commits each statement by itself.
        space: that is built.
        builder: who claims.
        job_id: claims the piece of that batch job; None one that no job is at.

    Raises:
        DatabaseError: the builder's locks are gone, so that others would take its pieces over.
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
        sql.SQL(", ").join(map(sql.Identifier, upsert.KEYS.fields or ())),
        space.tables.work,
        sql.Literal(number),
    )
    place: dict[str, int] = {}
    try:
        rows = connection.execute(statement).fetchall()
    except UndefinedTable:
        return None  # the build was finished or given up since
    return Chunk(
        number=number,
        input_of=np.fromiter((place.setdefault(row[-1], len(place)) for row in rows), np.int64, len(rows)),
        inputs=list(place),
        keys=np.array([(*row[:5], row[5].encode(), row[6].encode(), row[7]) for row in rows], upsert.KEYS),
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
    """Write a piece's rows and strike it off, in the caller's transaction; how many rows were written.

    Args:
        connection: in whose transaction it happens.
        space: where the rows go.
        builder: who claimed the piece.
        chunk: the piece.
        vectors: (len(chunk.inputs), dimensions) float32, rows of unit length; those of failures are ignored.
        failures: position in `chunk.inputs` -> why the text has no vector.

    Returns:
        None where another builder took the piece over, or the build was given up: nothing is written then.
    """
    limit_idle_time(connection, builder)
    mine = connection.execute(
        "delete from omop_emb.build_chunk where space_id = %s and chunk = %s and builder = %s",
        (space.space_id, chunk.number, builder.builder_id),
    ).rowcount
    if not mine:
        return None
    kept = ~np.isin(chunk.input_of, np.fromiter(failures, np.int64, len(failures)))
    work = space.tables.work
    failed = sql.SQL("chunk = {} and input = any({})").format(
        sql.Literal(chunk.number), sql.Literal([chunk.inputs[position] for position in failures])
    )
    texts = sql.SQL("select {} from {} where chunk = {} and not ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, TEXT_COLUMNS)), work, sql.Literal(chunk.number), failed
    )
    if kept.any():
        upsert.insert_block(connection, space, chunk.keys[kept], vectors[chunk.input_of[kept]], texts=texts)
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
    return int(kept.sum())
