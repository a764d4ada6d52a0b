"""Query texts, or parts: any number of them, searched in turn, each distinct one once, answered in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from omop_emb.arrays import Vectors
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import InputError, TextRejectedError
from omop_emb.providers.batching import numbered_windows, rejection_reason
from omop_emb.providers.parts import Part
from omop_emb.records import ConceptMatch, EmbeddingRole

BATCH_TEXTS = 16_384  # texts at a time: enough for the matrix to pay, 200 MB of vectors at 3,072 dimensions
_CACHED_TEXTS = 65_536  # whose matches are kept for when they come again

QueryInput: TypeAlias = str | tuple[str | Part, ...]
"""A query: a text, or the parts of one."""

SearchFunction = Callable[[Vectors, int], list[list[ConceptMatch]]]
"""The matches of each query vector, given how many distinct ones there are in all."""


def valid_queries(texts: Iterable[object]) -> Iterator[QueryInput]:
    """The texts, and sequences of parts as tuples, if each has something to embed."""
    if isinstance(texts, str | bytes):
        raise InputError(f"query_texts must be a sequence of texts; found one {type(texts).__name__}")
    for position, text in enumerate(texts):
        if isinstance(text, Part):
            yield (text,)
            continue
        if isinstance(text, Sequence) and not isinstance(text, str | bytes):
            yield tuple(text)
            continue
        reason = rejection_reason(text, position)
        if reason is not None:
            raise InputError(f"text {position} cannot be embedded: {reason}")
        assert isinstance(text, str)  # noqa: S101 - rejection_reason() raises for anything else
        yield text


def matches_of_texts(
    texts: Iterable[QueryInput],
    client: EmbeddingClient,
    search: SearchFunction,
    *,
    distinct_texts: int = 0,
    combine: str = "one",
) -> Iterator[list[ConceptMatch]]:
    """The matches of each text, in order; the next BATCH_TEXTS texts are read, embedded and searched at once.

    Args:
        texts: what valid_queries() has let through.
        client: embeds them as queries.
        search: searches for vectors.
        distinct_texts: how many there are, so that all parts are searched by the same method and each text
            once; 0 if unknown: then by the method of the first part, and a text that comes much later again.
        combine: how the parts of a query become one vector, see EmbeddingClient.embeddings.
    """
    cached: dict[QueryInput, list[ConceptMatch]] = {}
    for window in numbered_windows(texts, BATCH_TEXTS):
        part: list[tuple[int, QueryInput]] = window  # type: ignore[assignment]  # valid_queries() made them
        new: dict[QueryInput, int] = {}
        for position, text in part:
            if text not in cached:
                new.setdefault(text, position)
        if new:
            distinct_texts = max(distinct_texts, len(new))
            cached.update(zip(new, search(_embedded(client, new, combine), distinct_texts), strict=True))
        for _, text in part:
            yield list(cached[text])
        if len(cached) > max(_CACHED_TEXTS, distinct_texts):
            cached.clear()


def _embedded(client: EmbeddingClient, texts: dict[QueryInput, int], combine: str) -> Vectors:
    try:
        return client.embeddings(list(texts), embedding_role=EmbeddingRole.QUERY, combine=combine)
    except TextRejectedError as error:
        # Positions among the distinct texts of a part mean nothing to the caller.
        all_positions = list(texts.values())
        positions = [all_positions[position] for position in error.positions]
        if not positions:
            raise
        reason = str(error).partition(": ")[2]
        what = "text" if isinstance(list(texts)[error.positions[0]], str) else "input"
        raise TextRejectedError(
            f"{what} {positions[0]} cannot be embedded: {reason}", positions=positions
        ) from error
