"""Inputs: what callers give to the interface, checked before anything is embedded, written or searched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from omop_emb import vectors
from omop_emb.arrays import Floats, Vectors
from omop_emb.errors import InputError
from omop_emb.providers.parts import EmbeddingInput, Part
from omop_emb.records import MAX_CONCEPT_ID, shown_number


def unit_rows(rows: ArrayLike, dimensions: int) -> Vectors:
    """A caller's vectors as unit rows, if this model can have made them."""
    unit, invalid_rows = vectors.unit_rows(_matrix(rows, dimensions, None))
    _refuse_invalid(invalid_rows)
    return unit


def valid_rows(rows: ArrayLike, dimensions: int, *, count: int) -> tuple[Vectors, Floats]:
    """`count` vectors of a caller, and the length of each, which is not zero."""
    matrix = _matrix(rows, dimensions, count)
    lengths, invalid_rows = vectors.row_lengths(matrix)
    _refuse_invalid(invalid_rows)
    return matrix, lengths


def _matrix(rows: ArrayLike, dimensions: int, count: int | None) -> Vectors:
    try:
        matrix = np.asarray(rows, np.float32)
    except (TypeError, ValueError):
        raise InputError("embeddings must be an array of numbers, one row of equal length per text") from None
    if matrix.ndim != 2 or matrix.shape[1] != dimensions or count not in (None, len(matrix)):
        raise InputError(
            f"embeddings of shape ({'n' if count is None else count}, {dimensions}) are needed; "
            f"found {matrix.shape}"
        )
    return matrix


def _refuse_invalid(invalid_rows: list[int]) -> None:
    if invalid_rows:
        raise InputError(f"embeddings[{invalid_rows[0]}] is zero or not finite, which no model's vector is")


def ids_and_texts(
    concept_ids: Sequence[int], concept_texts: Sequence[EmbeddingInput]
) -> tuple[list[int], list[EmbeddingInput]]:
    """Concept ids and as many texts, or sequences of parts with a text among them."""
    if isinstance(concept_texts, str):
        raise InputError("concept_texts must be a sequence of texts; found one text")
    ids, texts = _as_list(concept_ids), list(concept_texts)
    if len(ids) != len(texts):
        raise InputError(
            f"as many concept_ids as concept_texts are needed; found {len(ids)} and {len(texts)}"
        )
    ids = integer_ids(ids)
    for position, text in enumerate(texts):
        if not _is_document(text):
            raise InputError(f"concept_texts[{position}] must be a text; found {type(text).__name__}")
        if not isinstance(text, str) and not shown_text(text):
            raise InputError(
                f"concept_texts[{position}] has parts but no text: add a text that searches can show, "
                "such as the concept's name"
            )
        if "\0" in shown_text(text):
            raise InputError(
                f"concept_texts[{position}] holds a NUL character, which PostgreSQL cannot store"
            )
    return ids, texts


def _is_document(given: object) -> bool:
    return isinstance(given, str | Part | Sequence) and not isinstance(given, bytes)


def shown_text(given: EmbeddingInput) -> str:
    """What a search shows of a document: its text, or the texts among its parts."""
    if isinstance(given, str):
        return given
    parts = [given] if isinstance(given, Part) else given
    texts = (
        part if isinstance(part, str) else part.as_text for part in parts if isinstance(part, str | Part)
    )
    return " ".join(filter(None, texts))


def integer_ids(concept_ids: Iterable[int]) -> list[int]:
    """Concept ids as plain integers."""
    given = _as_list(concept_ids)
    if set(map(type, given)) <= {int} and (
        not given or -MAX_CONCEPT_ID <= min(given) <= max(given) <= MAX_CONCEPT_ID
    ):
        return given  # nearly always, and many times faster than looking at each
    ids = []
    for position, concept_id in enumerate(given):
        if isinstance(concept_id, bool) or not isinstance(concept_id, int | np.integer):
            raise InputError(
                f"concept_ids[{position}] must be a whole number; found {type(concept_id).__name__}"
            )
        if not -MAX_CONCEPT_ID <= concept_id <= MAX_CONCEPT_ID:
            raise InputError(f"concept_ids[{position}] must fit 32 bits; found {shown_number(concept_id)}")
        ids.append(int(concept_id))
    return ids


def _as_list(concept_ids: Iterable[int]) -> list[int]:
    if isinstance(concept_ids, np.ndarray) and concept_ids.ndim == 1:
        plain: list[int] = concept_ids.tolist()  # plain integers at once, not a numpy object for each
        return plain
    return list(concept_ids)
