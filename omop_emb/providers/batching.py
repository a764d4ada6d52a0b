"""A stream of texts, checked and cut into batches that a provider can take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from omop_emb.errors import InputError
from omop_emb.providers.base import estimated_tokens

BLANK = "the text is blank"
NOT_UNICODE = "the text holds half a surrogate pair and is not valid Unicode"


@dataclass(frozen=True, slots=True)
class Batch:
    """Distinct texts for one request, and where each of them stands in the stream.

    Attributes:
        texts: without prefix, each once.
        positions: for each text, its positions in the stream, ascending.
    """

    texts: list[str]
    positions: list[list[int]]


def complaint(text: object, position: int) -> str | None:
    """Why a text cannot be embedded, or None.

    Raises:
        InputError: it is no text at all; the message names its position and type, not its content.
    """
    if not isinstance(text, str):
        raise InputError(f"text {position} must be a str; found {type(text).__name__}")
    if not text.isprintable() and not any(character.isprintable() for character in text.replace(" ", "")):
        # Nothing but spaces, line ends, control and formatting characters.
        return BLANK if _is_unicode(text) else NOT_UNICODE
    if not text.strip(" "):
        return BLANK
    return None if _is_unicode(text) else NOT_UNICODE


def windows(texts: Iterable[object], size: int) -> Iterator[list[tuple[int, object]]]:
    """(position, text) pairs of a stream, `size` at a time; only one window is held."""
    numbered = enumerate(texts)
    while window := list(islice(numbered, size)):
        yield window


def batches(
    window: Iterable[tuple[int, str]], *, batch_texts: Callable[[], int], batch_tokens: int, prefix: str
) -> Iterator[Batch]:
    """The texts of a window, each once, shortest first, in batches within both limits.

    Texts of like length in one batch: a local model pads less, a remote one gets even requests.

    Args:
        window: (position, text) pairs.
        batch_texts: asked before each batch, as the limit may have been learnt meanwhile.
        batch_tokens: most estimated tokens of a batch; a longer text goes alone.
        prefix: what will be put before each text, for the estimate.
    """
    places: dict[str, list[int]] = {}
    for position, text in window:
        places.setdefault(text, []).append(position)
    prefix_tokens = estimated_tokens(prefix) if prefix else 0
    batch, tokens, most = Batch([], []), 0, batch_texts()
    for text in sorted(places, key=len):
        cost = prefix_tokens + estimated_tokens(text)
        if batch.texts and (len(batch.texts) >= most or tokens + cost > batch_tokens):
            yield batch
            batch, tokens, most = Batch([], []), 0, batch_texts()
        batch.texts.append(text)
        batch.positions.append(places[text])
        tokens += cost
    if batch.texts:
        yield batch


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
