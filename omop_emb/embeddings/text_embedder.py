"""Texts of one role to unit vectors: batched, sent at the same time, put back into their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np

from omop_emb.errors import InputError, TextRejectedError
from omop_emb.providers.batching import Batch, batches, complaint, windows
from omop_emb.providers.calling import Caller, Outcome
from omop_emb.providers.retrying import Patience
from omop_emb.providers.streaming import in_flight
from omop_emb.records import EmbeddingRole
from omop_emb.vectors import Matrix


@dataclass(frozen=True, slots=True)
class EmbeddedTexts:
    """A part of a stream of texts, embedded.

    Attributes:
        positions: (n,) int64: where the embedded texts stand in the stream, ascending.
        vectors: (n, dimensions) float32, rows of unit length, one for each position.
        failures: position -> why that text could not be embedded; the text itself is not in it.
    """

    positions: np.ndarray[tuple[int], np.dtype[np.int64]]
    vectors: Matrix
    failures: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TextEmbedder:
    """Embeds texts with one model.

    Attributes:
        caller: asks the model.
        prefixes: what is put before the texts of each role.
        in_flight: requests at once.
        batch_tokens: the most estimated tokens of a request.
        query_patience, bulk_patience: while somebody waits for a query, and for everything else.
    """

    caller: Caller
    prefixes: Mapping[EmbeddingRole, str]
    in_flight: int
    batch_tokens: int
    query_patience: Patience
    bulk_patience: Patience

    def stream(
        self,
        texts: Iterable[str],
        role: EmbeddingRole,
        window_texts: int,
        *,
        dimensions: Callable[[], int],
    ) -> Iterator[EmbeddedTexts]:
        """Parts of a stream of texts as they are answered; see EmbeddingClient.embed_stream.

        `dimensions` tells how long a vector is where no text of a part has one; it may ask the model.
        """
        refused: dict[int, str] = {}

        def work(batch: Batch) -> Outcome:
            return self.caller.embed([prefix + text for text in batch.texts], role, self.bulk_patience)

        def every_batch() -> Iterator[Batch]:
            for window in windows(texts, window_texts):
                good: list[tuple[int, str]] = []
                for position, text in window:
                    reason = complaint(text, position)
                    if reason is None and isinstance(text, str):
                        good.append((position, text))
                    elif reason is not None:
                        refused[position] = reason
                yield from batches(
                    good,
                    batch_texts=lambda: self.caller.batch_texts,
                    batch_tokens=self.batch_tokens,
                    prefix=prefix,
                )

        prefix = self.prefixes[role]
        for batch, outcome in in_flight(work, every_batch(), workers=self.in_flight):
            failures, refused = refused, {}
            if not outcome.positions:
                outcome.vectors = np.empty((0, dimensions()), np.float32)
            yield _spread(batch, outcome, failures)
        if refused:
            yield EmbeddedTexts(np.empty(0, np.int64), np.empty((0, dimensions()), np.float32), refused)

    def rows(
        self, texts: list[str], role: EmbeddingRole, positions: Mapping[str, int] | None = None
    ) -> Matrix:
        """The rows of texts that have been checked; positions say where each stands in the caller's list."""
        prefix = self.prefixes[role]
        parts = batches(
            enumerate(texts),
            batch_texts=lambda: self.caller.batch_texts,
            batch_tokens=self.batch_tokens,
            prefix=prefix,
        )
        first = list(islice(parts, 2))
        someone_waits = role is EmbeddingRole.QUERY and len(first) == 1
        patience = self.query_patience if someone_waits else self.bulk_patience

        def work(batch: Batch) -> Outcome:
            return self.caller.embed([prefix + text for text in batch.texts], role, patience)

        result: Matrix | None = None
        for batch, outcome in in_flight(
            work, chain(first, parts), workers=self.in_flight if len(first) > 1 else 1
        ):
            if outcome.failures:
                index, reason = min(outcome.failures.items())
                text = batch.texts[index]
                position = batch.positions[index][0] if positions is None else positions[text]
                raise TextRejectedError(f"text {position} cannot be embedded: {reason}", positions=[position])
            if result is None:
                result = np.empty((len(texts), outcome.vectors.shape[1]), dtype=np.float32)
            places = list(chain.from_iterable(batch.positions))
            rows = outcome.vectors
            if len(places) > len(rows):
                rows = rows.repeat([len(of_text) for of_text in batch.positions], axis=0)
            result[places] = rows
        assert result is not None  # noqa: S101 - there is at least one text, hence one batch
        return result


def checked_role(role: object) -> EmbeddingRole:
    """A role.

    Raises:
        InputError: it is none.
    """
    if not isinstance(role, EmbeddingRole):
        raise InputError(
            "embedding_role must be EmbeddingRole.DOCUMENT or EmbeddingRole.QUERY; "
            f"found {type(role).__name__}"
        )
    return role


def checked_texts(texts: object) -> list[str]:
    """Texts that can be embedded.

    Raises:
        InputError: it is no sequence of texts, or one of them is blank; names its position, never the text.
    """
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable) or isinstance(texts, Mapping):
        raise InputError(f"texts must be a sequence of str; found {type(texts).__name__}")
    listed: list[str] = []
    for position, text in enumerate(texts):
        reason = complaint(text, position)
        if reason is not None:
            raise InputError(f"text {position} cannot be embedded: {reason}")
        listed.append(text)
    return listed


def _spread(batch: Batch, outcome: Outcome, failures: dict[int, str]) -> EmbeddedTexts:
    """An outcome for distinct texts, spread over every position of the stream that holds them."""
    places = [(place, row) for row, index in enumerate(outcome.positions) for place in batch.positions[index]]
    places.sort()
    for index, reason in outcome.failures.items():
        failures.update(dict.fromkeys(batch.positions[index], reason))
    rows = [row for _, row in places]
    return EmbeddedTexts(
        positions=np.array([place for place, _ in places], dtype=np.int64),
        vectors=outcome.vectors[rows],
        failures=failures,
    )
