"""Any number of query texts, searched part by part: each different text once, answered in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import InputError, TextRejectedError
from omop_emb.providers.batching import numbered_windows, rejection_reason
from omop_emb.records import ConceptMatch, EmbeddingRole

BATCH_TEXTS = 16_384  # texts at a time: enough for the matrix to pay, 200 MB of vectors at 3,072 dimensions
_REMEMBERED = 65_536  # texts whose matches are kept for when they come again

SearchFunction = Callable[[NDArray[np.float32], int], list[list[ConceptMatch]]]
"""The matches of each query vector, given how many different ones there are in all."""


def valid_texts(texts: Iterable[object], *, start: int = 0) -> Iterator[str]:
    """The texts, if all of them can be embedded.

    Raises:
        InputError: a text is blank or no text; names its position, counted from `start`, never the text.
    """
    if isinstance(texts, str | bytes):
        raise InputError(f"query_texts is a sequence of texts; found one {type(texts).__name__}")
    for position, text in enumerate(texts, start):
        reason = rejection_reason(text, position)
        if reason is not None:
            raise InputError(f"text {position} cannot be embedded: {reason}")
        assert isinstance(text, str)  # noqa: S101 - complaint() raises for anything else
        yield text


def matches_of_texts(
    texts: Iterable[str], client: EmbeddingClient, find: SearchFunction, *, different: int = 0
) -> Iterator[list[ConceptMatch]]:
    """The matches of each text, in order; the next PART texts are drawn, embedded and searched at once.

    Args:
        texts: what checked() has let through.
        client: embeds them as queries.
        find: searches for vectors.
        different: how many different texts there are, so that all parts are searched alike and each text
            once; 0 where nobody knows: then as the first part, and a text that comes much later again.
    """
    known: dict[str, list[ConceptMatch]] = {}
    for window in numbered_windows(texts, BATCH_TEXTS):
        part = [(position, str(text)) for position, text in window]
        new: dict[str, int] = {}
        for position, text in part:
            if text not in known:
                new.setdefault(text, position)
        if new:
            different = max(different, len(new))
            known.update(zip(new, find(_embedded(client, new), different), strict=True))
        for _, text in part:
            yield list(known[text])
        if len(known) > max(_REMEMBERED, different):
            known.clear()


def _embedded(client: EmbeddingClient, texts: dict[str, int]) -> NDArray[np.float32]:
    try:
        return client.embeddings(list(texts), embedding_role=EmbeddingRole.QUERY)
    except TextRejectedError as error:
        # Positions among the different texts of a part mean nothing to the caller.
        places = [list(texts.values())[position] for position in error.positions]
        if not places:
            raise
        reason = str(error).partition(": ")[2]
        raise TextRejectedError(f"text {places[0]} cannot be embedded: {reason}", positions=places) from error
