"""Embedding pipeline: chunks are claimed, embedded and written at the same time, in flat memory."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import psycopg

from omop_emb.arrays import Ints, Vectors
from omop_emb.database.readable_errors import readable_errors
from omop_emb.indexing import chunks
from omop_emb.indexing.builders import Builder
from omop_emb.indexing.chunks import Chunk
from omop_emb.indexing.connections import Connection, open_connection
from omop_emb.records import EmbeddingRole

logger = logging.getLogger(__name__)

_MAX_WAITING_WRITES = 3  # embedded chunks kept in memory while the database is slower than the model


@dataclass
class EmbeddedCounts:
    """What a builder has embedded and written so far, and the distinct texts that the model refused."""

    rows: int = 0
    texts: int = 0  # distinct ones
    characters: int = 0  # of the distinct texts
    failed: int = 0

    def add_chunk(self, chunk: Chunk, rows: int, failed: int) -> None:
        """Count a chunk that was written."""
        self.rows += rows
        self.texts += len(chunk.inputs) - failed
        self.failed += failed
        self.characters += chunk.characters


CountsCallback = Callable[[EmbeddedCounts], None]


def embed_and_write(builder: Builder, counts: EmbeddedCounts, on_progress: CountsCallback) -> None:
    """Embed a build's chunks until none can be claimed, commit each by itself, and add it to `counts`.

    Only one or two chunks are claimed ahead of the model: other builders can take the rest. Chunks that were
    embedded completely are written even if the run ends with an error.
    """
    with (
        open_connection(builder.engine, autocommit=True) as reading,
        open_connection(builder.engine) as writing,
        ThreadPoolExecutor(1, "omop-emb-claim") as reader,
        ThreadPoolExecutor(1, "omop-emb-write") as writer,
    ):
        _Pipeline(builder, counts, on_progress, reading, writing, reader, writer).run()


@dataclass
class _ClaimedChunk:
    """A chunk while it is being embedded."""

    chunk: Chunk
    start: int  # position of its first input among all that the model is sent
    vectors: Vectors  # (inputs, dimensions), filled in as answers come
    missing: int  # inputs without an answer yet
    failures: dict[int, str] = field(default_factory=dict)  # position in the chunk -> reason

    def add_answers(self, positions: Ints, vectors: Vectors, failures: Mapping[int, str]) -> None:
        """Take what belongs to this chunk out of an answer of the model."""
        end = self.start + len(self.chunk.inputs)
        is_mine = (positions >= self.start) & (positions < end)
        self.vectors[positions[is_mine] - self.start] = vectors[is_mine]
        refused = {
            position - self.start: reason
            for position, reason in failures.items()
            if self.start <= position < end
        }
        self.failures.update(refused)
        self.missing -= int(is_mine.sum()) + len(refused)


@dataclass
class _Pipeline:
    """One thread claims, one writes; the caller's embeds."""

    builder: Builder
    counts: EmbeddedCounts
    on_progress: CountsCallback
    reading: Connection
    writing: Connection
    reader: ThreadPoolExecutor
    writer: ThreadPoolExecutor
    claimed: deque[_ClaimedChunk] = field(default_factory=deque)
    writes: deque[Future[None]] = field(default_factory=deque)

    def run(self) -> None:
        """Embed and write until nothing can be claimed."""
        for part in self.builder.client.embed_stream(
            self._inputs(),
            embedding_role=EmbeddingRole.DOCUMENT,
            window_texts=self.builder.options.texts_per_chunk,
        ):
            for claimed in list(self.claimed):
                claimed.add_answers(part.positions, part.vectors, part.failures)
                if not claimed.missing:
                    self.claimed.remove(claimed)
                    self.writes.append(self.writer.submit(self._write, claimed))
            while len(self.writes) > _MAX_WAITING_WRITES:
                self.writes.popleft().result()
        while self.writes:
            self.writes.popleft().result()

    def _inputs(self) -> Iterator[str]:
        # One chunk is claimed ahead, so that the model never waits for the database.
        start, dimensions = 0, self.builder.space.fingerprint.dimensions
        next_chunk = self.reader.submit(self._claim)
        while (chunk := next_chunk.result()) is not None:
            next_chunk = self.reader.submit(self._claim)
            count = len(chunk.inputs)
            vectors = np.zeros((count, dimensions), np.float32)
            self.claimed.append(_ClaimedChunk(chunk, start, vectors, missing=count))
            start += count
            yield from chunk.inputs

    def _claim(self) -> Chunk | None:
        with readable_errors():
            return chunks.claim(self.reading, self.builder)

    def _write(self, claimed: _ClaimedChunk) -> None:
        with readable_errors():
            try:
                rows = chunks.write(
                    self.writing, self.builder, claimed.chunk, claimed.vectors, claimed.failures
                )
                self.writing.commit()
            except BaseException:
                with suppress(psycopg.Error):
                    self.writing.rollback()
                raise
        if rows is None:
            name = self.builder.space.name
            logger.warning("a chunk of space %s was taken over by another builder", name)
            return
        self.counts.add_chunk(claimed.chunk, rows, len(claimed.failures))
        self.on_progress(self.counts)
