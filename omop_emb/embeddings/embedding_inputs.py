"""Embedding inputs: what a caller wants vectors of, checked, as the items that a model is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from omop_emb.arrays import Vectors
from omop_emb.errors import ConfigurationError, InputError, InvalidAnswerError, TextRejectedError
from omop_emb.providers.batching import rejection_reason
from omop_emb.providers.part_limits import PartLimits
from omop_emb.providers.parts import Content, EmbeddingInput, EmbeddingItem, Part, PartKind
from omop_emb.vectors import unit_rows

COMBINATIONS = ("one", "mean")


@dataclass(frozen=True)
class EmbeddingInputs:
    """Inputs as items, one each, or several each whose vectors are averaged.

    Attributes:
        items: what the model is sent.
        offsets: where the items of each input begin; None where each input is one item.
    """

    items: list[EmbeddingItem]
    offsets: list[int] | None = None

    def combined(self, rows: Vectors) -> Vectors:
        """(inputs, dimensions) unit rows of the items' unit rows.

        Raises:
            InvalidAnswerError: the vectors of an input's parts cancel each other out.
        """
        if self.offsets is None or len(self.offsets) == len(self.items):
            return rows
        means, invalid = unit_rows(np.add.reduceat(rows, self.offsets, axis=0))
        if invalid:
            raise InvalidAnswerError(f"the parts of input {invalid[0]} have vectors whose mean is zero")
        return means

    def rejection(self, error: TextRejectedError) -> TextRejectedError:
        """An error about items as one about inputs."""
        if self.offsets is None or not error.positions:
            return error
        numbers = np.searchsorted(self.offsets, error.positions, side="right") - 1
        position = int(numbers[0])
        part = error.positions[0] - self.offsets[position]
        reason = str(error).partition(": ")[2]
        return TextRejectedError(
            f"part {part} of input {position} cannot be embedded: {reason}", positions=numbers.tolist()
        )


def embedding_inputs(
    given: object, *, combine: str, model: str, limits: PartLimits | None
) -> EmbeddingInputs:
    """What a caller gives, checked; see EmbeddingClient.embeddings.

    Raises:
        InputError: an input that cannot be embedded; names its position, never its content.
        ConfigurationError: an input has parts, and the model reads text only.
    """
    if combine not in COMBINATIONS:
        raise InputError(f"combine must be 'one' or 'mean'; found {combine!r:.40}")
    if isinstance(given, (str, bytes, Part)) or not isinstance(given, Iterable) or isinstance(given, Mapping):
        what = "of inputs" if isinstance(given, Part) else "of str"
        raise InputError(f"texts must be a sequence {what}; found {type(given).__name__}")
    items: list[EmbeddingItem] = []
    offsets: list[int] = []
    for position, entry in enumerate(given):
        offsets.append(len(items))
        if isinstance(entry, str) or not isinstance(entry, (Part, Sequence)) or isinstance(entry, bytes):
            reason = rejection_reason(entry, position)  # raises for what is no text
            if reason is not None:
                raise InputError(f"text {position} cannot be embedded: {reason}")
            items.append(str(entry))
            continue
        parts = _parts(entry, position)
        for group in [parts] if combine == "one" else [[part] for part in parts]:
            items.append(_item(group, position, model, limits))
    return EmbeddingInputs(items, offsets if combine == "mean" else None)


def embedding_items(
    given: Sequence[EmbeddingInput], *, model: str, limits: PartLimits | None
) -> list[EmbeddingItem]:
    """Each input as one item; texts are not checked, all else raises as embedding_inputs()."""
    return [
        entry if isinstance(entry, str) else _item(_parts(entry, position), position, model, limits)
        for position, entry in enumerate(given)
    ]


def text_only(model: str) -> ConfigurationError:
    """The error for a model that is given anything but text."""
    return ConfigurationError(
        f"{model} reads text only: images, PDF pages and recordings need a model that reads them, such as "
        "gemini:gemini-embedding-2 (omop-emb models show says what a model reads)"
    )


def _parts(given: Part | Sequence[object], position: int) -> list[Part]:
    parts: list[Part] = []
    for number, part in enumerate([given] if isinstance(given, Part) else given):
        if not isinstance(part, (str, Part)):
            raise InputError(
                f"part {number} of input {position} must be a str or a Part; found {type(part).__name__}"
            )
        if isinstance(part, str) or part.kind is PartKind.TEXT:
            text = part if isinstance(part, str) else part.as_text
            reason = rejection_reason(text, position)
            if reason is not None:
                raise InputError(f"part {number} of input {position} cannot be embedded: {reason}")
            part = Part.text(text)
        parts.append(part)
    if not parts:
        raise InputError(f"input {position} has no parts")
    return parts


def _item(parts: list[Part], position: int, model: str, limits: PartLimits | None) -> EmbeddingItem:
    if len(parts) == 1 and parts[0].kind is PartKind.TEXT:
        return parts[0].as_text
    if limits is None:
        raise text_only(model)
    try:
        content: Content = limits.content(parts, model)
    except InputError as error:
        raise InputError(f"input {position} cannot be embedded: {error}") from None
    return content
