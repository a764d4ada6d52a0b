"""Text embedder: texts of one role, checked, batched, embedded concurrently and put back in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from omop_emb.arrays import Vectors
from omop_emb.errors import InputError, TextRejectedError
from omop_emb.providers.batch_embedder import BatchEmbedder, EmbeddedTexts
from omop_emb.providers.batching import Batch, batches, numbered_windows, rejection_reason
from omop_emb.providers.concurrent_map import concurrent_map
from omop_emb.providers.retrying import RetryPolicy
from omop_emb.records import EmbeddingRole


@dataclass(frozen=True)
class TextEmbedder:
    """Embeds any number of texts with one model.

    Attributes:
        embedder: embeds one batch.
        prefixes: put before the texts of each role.
        concurrency: most requests at the same time.
        query_retries, bulk_retries: while a person waits for a query, and for everything else.
    """

    embedder: BatchEmbedder
    prefixes: Mapping[EmbeddingRole, str]
    concurrency: int
    query_retries: RetryPolicy
    bulk_retries: RetryPolicy

    def stream(
        self,
        texts: Iterable[str],
        role: EmbeddingRole,
        window_texts: int,
        *,
        dimensions: Callable[[], int],
    ) -> Iterator[EmbeddedTexts]:
        """Parts of a stream of texts as they are answered; see EmbeddingClient.embed_stream.

        `dimensions` gives the length of a vector for a part without any; it may ask the model.
        """
        rejected: dict[int, str] = {}

        def checked_batches() -> Iterator[Batch]:
            for window in numbered_windows(texts, window_texts):
                valid: list[tuple[int, str]] = []
                for position, text in window:
                    reason = rejection_reason(text, position)
                    if reason is not None:
                        rejected[position] = reason
                    elif isinstance(text, str):
                        valid.append((position, text))
                yield from self._batches(valid, role)

        for batch, result in self._embed(checked_batches(), role, self.bulk_retries, self.concurrency):
            failures = dict(rejected)
            rejected.clear()
            for index, reason in result.failures.items():
                failures.update(dict.fromkeys(batch.positions[index], reason))
            # A text may be at several positions of the stream.
            rows_by_position = sorted(
                (position, row)
                for row, index in enumerate(result.positions)
                for position in batch.positions[index]
            )
            yield EmbeddedTexts(
                positions=np.array([position for position, _ in rows_by_position], dtype=np.int64),
                vectors=(
                    result.vectors[[row for _, row in rows_by_position]]
                    if rows_by_position
                    else np.empty((0, dimensions()), np.float32)
                ),
                failures=failures,
            )
        if rejected:
            yield EmbeddedTexts(np.empty(0, np.int64), np.empty((0, dimensions()), np.float32), rejected)

    def rows(
        self, texts: list[str], role: EmbeddingRole, positions: Mapping[str, int] | None = None
    ) -> Vectors:
        """The rows of at least one checked text; positions are those of the caller's list, for errors."""
        remaining = self._batches(enumerate(texts), role)
        first_two = list(islice(remaining, 2))
        is_single = len(first_two) == 1
        is_interactive = role is EmbeddingRole.QUERY and is_single
        rows: Vectors | None = None
        for batch, result in self._embed(
            chain(first_two, remaining),
            role,
            self.query_retries if is_interactive else self.bulk_retries,
            1 if is_single else self.concurrency,
        ):
            if result.failures:
                index, reason = min(result.failures.items())
                position = batch.positions[index][0] if positions is None else positions[batch.texts[index]]
                raise TextRejectedError(f"text {position} cannot be embedded: {reason}", positions=[position])
            if rows is None:
                rows = np.empty((len(texts), result.vectors.shape[1]), dtype=np.float32)
            repeats = [len(of_text) for of_text in batch.positions]
            vectors = result.vectors if max(repeats) == 1 else result.vectors.repeat(repeats, axis=0)
            rows[list(chain.from_iterable(batch.positions))] = vectors
        assert rows is not None  # noqa: S101 - there is at least one text, hence one batch
        return rows

    def _batches(self, numbered_texts: Iterable[tuple[int, str]], role: EmbeddingRole) -> Iterator[Batch]:
        return batches(
            numbered_texts,
            batch_texts=lambda: self.embedder.batch_texts,
            batch_tokens=self.embedder.provider.limits.batch_tokens,
            prefix=self.prefixes[role],
        )

    def _embed(
        self, items: Iterable[Batch], role: EmbeddingRole, policy: RetryPolicy, workers: int
    ) -> Iterator[tuple[Batch, EmbeddedTexts]]:
        prefix = self.prefixes[role]

        def work(batch: Batch) -> EmbeddedTexts:
            return self.embedder.embed([prefix + text for text in batch.texts], role, policy)

        return concurrent_map(work, items, workers=workers)


def checked_role(role: object) -> EmbeddingRole:
    """The role; InputError if it is none."""
    if not isinstance(role, EmbeddingRole):
        raise InputError(
            "embedding_role must be EmbeddingRole.DOCUMENT or EmbeddingRole.QUERY; "
            f"found {type(role).__name__}"
        )
    return role


def checked_texts(texts: object) -> list[str]:
    """The texts as a list.

    Raises:
        InputError: it is no sequence of texts, or one of them is blank; names its position, never the text.
    """
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable) or isinstance(texts, Mapping):
        raise InputError(f"texts must be a sequence of str; found {type(texts).__name__}")
    checked: list[str] = []
    for position, text in enumerate(texts):
        reason = rejection_reason(text, position)
        if reason is not None:
            raise InputError(f"text {position} cannot be embedded: {reason}")
        checked.append(text)
    return checked
