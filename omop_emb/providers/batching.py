"""Batches: a stream of texts, checked and cut into requests that a provider accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from omop_emb.errors import InputError
from omop_emb.providers.base import estimated_tokens
from omop_emb.providers.parts import EmbeddingItem

BLANK_TEXT = "the text is blank"
_NOT_UNICODE = "the text holds half a surrogate pair and is not valid Unicode"


@dataclass(frozen=True, slots=True)
class Batch:
    """Distinct items for one request, without prefix, and the ascending positions of each in the stream."""

    texts: list[EmbeddingItem]
    positions: list[list[int]]


def rejection_reason(text: object, position: int) -> str | None:
    """Why a text cannot be embedded, or None; InputError for anything but a str, which it does not quote."""
    if not isinstance(text, str):
        raise InputError(f"text {position} must be a str; found {type(text).__name__}")
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        return _NOT_UNICODE
    if text.isprintable():
        return None if text.strip(" ") else BLANK_TEXT
    # Nothing but spaces, line ends, control and formatting characters is blank too.
    return None if any(character.isprintable() for character in text.replace(" ", "")) else BLANK_TEXT


def numbered_windows(texts: Iterable[object], size: int) -> Iterator[list[tuple[int, object]]]:
    """(position, text) pairs of a stream, `size` at a time; only one window is in memory."""
    numbered = enumerate(texts)
    while window := list(islice(numbered, size)):
        yield window


def batches(
    window: Iterable[tuple[int, EmbeddingItem]],
    *,
    batch_texts: Callable[[], int],
    batch_tokens: int,
    prefix: str,
    batch_bytes: int = 0,
) -> Iterator[Batch]:
    """The distinct items of a window in batches within the limits, shortest first.

    Texts of similar length share a batch: a local model pads less, a remote one gets even requests. A text
    longer than `batch_tokens` goes alone. `batch_texts` is called before each batch, as it may be lowered;
    `batch_bytes` limits the bytes of images, PDFs and recordings.
    """
    positions_by_item: dict[EmbeddingItem, list[int]] = {}
    for position, item in window:
        positions_by_item.setdefault(item, []).append(position)
    prefix_tokens = estimated_tokens(prefix) if prefix else 0
    batch, tokens, size, max_texts = Batch([], []), 0, 0, batch_texts()
    for item in sorted(positions_by_item, key=_length):
        item_tokens = prefix_tokens + estimated_tokens(item)
        item_bytes = 0 if isinstance(item, str) else item.media_bytes
        if batch.texts and (
            len(batch.texts) >= max_texts
            or tokens + item_tokens > batch_tokens
            or (item_bytes and size + item_bytes > batch_bytes)
        ):
            yield batch
            batch, tokens, size, max_texts = Batch([], []), 0, 0, batch_texts()
        batch.texts.append(item)
        batch.positions.append(positions_by_item[item])
        tokens += item_tokens
        size += item_bytes
    if batch.texts:
        yield batch


def _length(item: EmbeddingItem) -> int:
    """Characters of a text; contents come after all texts, by their bytes."""
    return len(item) if isinstance(item, str) else (1 << 32) + item.media_bytes
