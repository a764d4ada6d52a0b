"""Text embedder: texts of one role, checked, batched, embedded concurrently and put back in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from omop_emb.arrays import Vectors
from omop_emb.embeddings.identity import ModelIdentity
from omop_emb.errors import InputError, TextRejectedError
from omop_emb.providers.batch_embedder import EmbeddedTexts
from omop_emb.providers.batching import Batch, batches, numbered_windows, rejection_reason
from omop_emb.providers.concurrent_map import concurrent_map
from omop_emb.providers.retrying import RetryPolicy
from omop_emb.records import EmbeddingRole


@dataclass(frozen=True)
class TextEmbedder:
    """Embeds any number of texts with one model, with `concurrency` requests at the same time."""

    identity: ModelIdentity
    concurrency: int
    query_retries: RetryPolicy
    bulk_retries: RetryPolicy

    def stream(self, texts: Iterable[str], role: EmbeddingRole, window_texts: int) -> Iterator[EmbeddedTexts]:
        """Parts of a stream of texts as they are answered; see EmbeddingClient.embed_stream."""
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
            positions = np.array([position for position, _ in rows_by_position], np.int64)
            rows = [row for _, row in rows_by_position]
            yield EmbeddedTexts(positions, result.vectors[rows] if rows else self.no_rows(), failures)
        if rejected:
            yield EmbeddedTexts(np.empty(0, np.int64), self.no_rows(), rejected)

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

    def no_rows(self) -> Vectors:
        """(0, dimensions); may ask the model."""
        return np.empty((0, self.identity.fingerprint.dimensions), np.float32)

    def _batches(self, numbered_texts: Iterable[tuple[int, str]], role: EmbeddingRole) -> Iterator[Batch]:
        return batches(
            numbered_texts,
            batch_texts=lambda: self.identity.embedder.batch_texts,
            batch_tokens=self.identity.embedder.provider.limits.batch_tokens,
            prefix=self.identity.prefixes[role],
        )

    def _embed(
        self, items: Iterable[Batch], role: EmbeddingRole, policy: RetryPolicy, workers: int
    ) -> Iterator[tuple[Batch, EmbeddedTexts]]:
        embedder, prefix = self.identity.embedder, self.identity.prefixes[role]

        def work(batch: Batch) -> EmbeddedTexts:
            return embedder.embed([prefix + text for text in batch.texts], role, policy)

        return concurrent_map(work, items, workers=workers)


def checked_role(role: object) -> EmbeddingRole:
    """The role; InputError if it is none."""
    return EmbeddingRole.parse(role, "embedding_role")


def checked_texts(texts: object) -> list[str]:
    """The texts as a list; InputError for a blank text or no sequence names a position, never the text."""
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable) or isinstance(texts, Mapping):
        raise InputError(f"texts must be a sequence of str; found {type(texts).__name__}")
    checked: list[str] = []
    for position, text in enumerate(texts):
        reason = rejection_reason(text, position)
        if reason is not None:
            raise InputError(f"text {position} cannot be embedded: {reason}")
        checked.append(text)
    return checked
