"""Text embedder: texts of one role, checked, batched, embedded concurrently and put back in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from omop_emb.arrays import Vectors
from omop_emb.embeddings.identity import ModelIdentity
from omop_emb.errors import TextRejectedError
from omop_emb.providers.batch_embedder import EmbeddedTexts
from omop_emb.providers.batching import Batch, batches, numbered_windows, rejection_reason
from omop_emb.providers.concurrent_map import concurrent_map
from omop_emb.providers.parts import EmbeddingItem, prefixed
from omop_emb.providers.query_cache import QueryCache, vector_key
from omop_emb.providers.retrying import RetryPolicy
from omop_emb.providers.usage import Usage
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
                valid: list[tuple[int, EmbeddingItem]] = []
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

    def cached_rows(
        self, items: Sequence[EmbeddingItem], role: EmbeddingRole, queries: QueryCache
    ) -> Vectors:
        """The rows of at least one checked item, those that the cache lacks embedded and added to it."""
        fingerprint, usage = self.identity.fingerprint, self.identity.embedder.usage
        keys = [vector_key(fingerprint, role, item) for item in items]
        vectors = queries.get_many(keys, fingerprint.dimensions)
        missing = {key: item for key, item in zip(keys, items, strict=True) if key not in vectors}
        usage.add(Usage(cached_queries=sum(key in vectors for key in keys)))
        if missing:
            first_positions = {item: position for position, item in reversed(list(enumerate(items)))}
            rows = self.rows(list(missing.values()), role, first_positions)
            new = dict(zip(missing, rows, strict=True))
            queries.put_many(new)
            vectors.update(new)
        return np.stack([vectors[key] for key in keys])

    def rows(
        self,
        items: Sequence[EmbeddingItem],
        role: EmbeddingRole,
        positions: Mapping[EmbeddingItem, int] | None = None,
    ) -> Vectors:
        """The rows of at least one checked item; positions are those of the caller's list, for errors."""
        remaining = self._batches(enumerate(items), role)
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
                what = "text" if isinstance(batch.texts[index], str) else "input"
                raise TextRejectedError(
                    f"{what} {position} cannot be embedded: {reason}", positions=[position]
                )
            if rows is None:
                rows = np.empty((len(items), result.vectors.shape[1]), dtype=np.float32)
            repeats = [len(of_text) for of_text in batch.positions]
            vectors = result.vectors if max(repeats) == 1 else result.vectors.repeat(repeats, axis=0)
            rows[list(chain.from_iterable(batch.positions))] = vectors
        assert rows is not None  # noqa: S101 - there is at least one item, hence one batch
        return rows

    def no_rows(self) -> Vectors:
        """(0, dimensions); may ask the model."""
        return np.empty((0, self.identity.fingerprint.dimensions), np.float32)

    def _batches(
        self, numbered_items: Iterable[tuple[int, EmbeddingItem]], role: EmbeddingRole
    ) -> Iterator[Batch]:
        limits = self.identity.embedder.provider.limits
        return batches(
            numbered_items,
            batch_texts=lambda: self.identity.embedder.batch_texts,
            batch_tokens=limits.batch_tokens,
            batch_bytes=limits.parts.request_bytes if limits.parts is not None else 0,
            prefix=self.identity.prefixes[role],
        )

    def _embed(
        self, items: Iterable[Batch], role: EmbeddingRole, policy: RetryPolicy, workers: int
    ) -> Iterator[tuple[Batch, EmbeddedTexts]]:
        embedder, prefix = self.identity.embedder, self.identity.prefixes[role]

        def work(batch: Batch) -> EmbeddedTexts:
            return embedder.embed([prefixed(item, prefix) for item in batch.texts], role, policy)

        return concurrent_map(work, items, workers=workers)


def checked_role(role: object) -> EmbeddingRole:
    """The role; InputError if it is none."""
    return EmbeddingRole.parse(role, "embedding_role")
