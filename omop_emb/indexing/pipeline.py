"""Embedding and writing at the same time: pieces are claimed, embedded and written, in flat memory."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy import Engine

from omop_emb.database.engine import driver_connection, readable_errors
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.indexing import builders, chunks
from omop_emb.indexing.builders import Builder
from omop_emb.indexing.chunks import Chunk
from omop_emb.records import EmbeddingRole
from omop_emb.spaces.registry import Space

logger = logging.getLogger(__name__)

_WAITING_WRITES = 3


@dataclass
class EmbeddedCounts:
    """What a pipeline has done so far.

    Attributes:
        rows: written.
        texts: different ones that were embedded and written.
        characters: of these.
        failed: different texts that the model refused.
    """

    rows: int = 0
    texts: int = 0
    characters: int = 0
    failed: int = 0


@contextmanager
def open_connection(engine: Engine, *, autocommit: bool = False) -> Iterator[psycopg.Connection[Any]]:
    """A connection of one's own; what is not committed by its user is rolled back."""
    with readable_errors(), engine.connect() as connection:
        if autocommit:
            connection.execution_options(isolation_level="AUTOCOMMIT")
        yield driver_connection(connection)


def embed_and_write(
    engine: Engine,
    client: EmbeddingClient,
    space: Space,
    builder: Builder,
    *,
    chunk_texts: int,
    on_progress: Callable[[EmbeddedCounts], None],
) -> EmbeddedCounts:
    """Work off a build's pieces until none can be claimed; each is committed as one.

    No more pieces are claimed than the model has at work, and one or two ahead: others can take the rest.
    Whatever ends it, pieces that were embedded whole are written.

    Raises:
        ProviderError: the model cannot embed anything for now.
        DatabaseError: the database cannot be reached or written.
    """
    done = EmbeddedCounts()
    with open_connection(engine, autocommit=True) as reading, open_connection(engine) as writing:
        pipeline = _Pipeline(client, space, builder, reading, writing, done, on_progress)
        try:
            pipeline.run(chunk_texts)
        finally:
            pipeline.stop()
    return done


@dataclass
class _UnderWay:
    """A claimed piece, and what has been embedded of it."""

    chunk: Chunk
    first: int
    vectors: NDArray[np.float32] | None
    failures: dict[int, str]
    missing: int


class _Pipeline:
    def __init__(
        self,
        client: EmbeddingClient,
        space: Space,
        builder: Builder,
        reading: psycopg.Connection[Any],
        writing: psycopg.Connection[Any],
        done: EmbeddedCounts,
        on_progress: Callable[[EmbeddedCounts], None],
    ) -> None:
        self._client, self._space, self._builder = client, space, builder
        self._reading, self._writing = reading, writing
        self._done, self._on_progress = done, on_progress
        self._reader = ThreadPoolExecutor(1, "omop-emb-claim")
        self._writer = ThreadPoolExecutor(1, "omop-emb-write")
        self._under_way: deque[_UnderWay] = deque()
        self._writes: deque[Future[None]] = deque()

    def run(self, chunk_texts: int) -> None:
        """Embed and write until nothing can be claimed."""
        for part in self._client.embed_stream(
            self._inputs(), embedding_role=EmbeddingRole.DOCUMENT, window_texts=chunk_texts
        ):
            for piece in list(self._under_way):
                self._take(piece, part.positions, part.vectors, part.failures)
                if not piece.missing:
                    self._under_way.remove(piece)
                    self._writes.append(self._writer.submit(self._write, piece))
            while len(self._writes) > _WAITING_WRITES:
                self._writes.popleft().result()
        while self._writes:
            self._writes.popleft().result()

    def stop(self) -> None:
        """Let what was embedded be written, and end the threads."""
        self._reader.shutdown(wait=True, cancel_futures=True)
        self._writer.shutdown(wait=True)

    def _inputs(self) -> Iterator[str]:
        # One piece is claimed ahead, so that the model never waits for the database.
        first = 0
        ahead = self._reader.submit(self._claim)
        while (chunk := ahead.result()) is not None:
            ahead = self._reader.submit(self._claim)
            self._under_way.append(_UnderWay(chunk, first, None, {}, len(chunk.inputs)))
            first += len(chunk.inputs)
            yield from chunk.inputs

    def _claim(self) -> Chunk | None:
        with readable_errors():
            return chunks.claim(self._reading, self._space, self._builder)

    def _take(
        self,
        piece: _UnderWay,
        positions: NDArray[np.int64],
        vectors: NDArray[np.float32],
        failures: Any,
    ) -> None:
        end = piece.first + len(piece.chunk.inputs)
        of_piece = (positions >= piece.first) & (positions < end)
        if piece.vectors is None:
            piece.vectors = np.zeros(
                (len(piece.chunk.inputs), self._space.fingerprint.dimensions), np.float32
            )
        piece.vectors[positions[of_piece] - piece.first] = vectors[of_piece]
        refused = {place - piece.first: why for place, why in failures.items() if piece.first <= place < end}
        piece.failures.update(refused)
        piece.missing -= int(of_piece.sum()) + len(refused)

    def _write(self, piece: _UnderWay) -> None:
        assert piece.vectors is not None  # noqa: S101 - _take() came before
        with readable_errors():
            try:
                rows = chunks.write(
                    self._writing, self._space, self._builder, piece.chunk, piece.vectors, piece.failures
                )
                self._writing.commit()
            except BaseException:
                with suppress(psycopg.Error):
                    self._writing.rollback()
                raise
        if rows is None:
            logger.warning("a piece of space %s was taken over by another builder", self._space.name)
            return
        self._done.rows += rows
        self._done.texts += len(piece.chunk.inputs) - len(piece.failures)
        self._done.failed += len(piece.failures)
        self._done.characters += piece.chunk.characters
        self._on_progress(self._done)


@contextmanager
def builder_lease(engine: Engine, space: Space, lease_seconds: float) -> Iterator[Builder]:
    """Be a builder of a space within the block, and keep one's pieces however long the model takes for one.

    At the end pieces that are still held are given back, so that the next builder can claim them at once.
    """
    ended = threading.Event()

    def beat(connection: psycopg.Connection[Any], builder: Builder) -> None:
        while not ended.wait(lease_seconds / 4):
            try:
                builders.renew(connection, space, builder)
            except psycopg.Error as error:
                # Whoever writes meets the same trouble and tells it.
                logger.debug("a lease was not renewed: %s", type(error).__name__)
                if connection.closed:
                    builder.is_lost.set()
                    return

    with open_connection(engine, autocommit=True) as connection:
        builder = builders.acquire(connection, space, uuid4(), lease_seconds)
        thread = threading.Thread(target=beat, args=(connection, builder), name="omop-emb-lease", daemon=True)
        thread.start()
        try:
            yield builder
        finally:
            ended.set()
            thread.join()
            with suppress(psycopg.Error):
                builders.release(connection, space, builder)
