"""Rows of numbers from a model, checked and made into unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omop_emb.errors import InputError, InvalidAnswerError

Matrix: TypeAlias = NDArray[np.float32]

# Shorter rows carry no direction that float32 could keep: a model's zero vector, or one as good as zero.
_SHORTEST = 1e-12


def as_matrix(rows: Matrix | Sequence[Sequence[float]], *, count: int, source: str) -> Matrix:
    """A provider's rows as (count, dimensions) float32.

    Args:
        rows: what the provider answered.
        count: how many texts were sent.
        source: the provider's name for the message.

    Raises:
        InvalidAnswerError: another number of rows, rows of different lengths, no numbers.
    """
    if len(rows) != count:
        raise InvalidAnswerError(f"{source} answered {len(rows)} vectors for {count} texts")
    try:
        matrix = np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError):
        raise InvalidAnswerError(f"{source} answered rows that are not vectors of one length") from None
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise InvalidAnswerError(f"{source} answered rows that are not vectors of one length")
    return np.ascontiguousarray(matrix)


def useless_rows(matrix: Matrix) -> list[int]:
    """The positions of rows that hold NaN or infinity, or are zero."""
    lengths = _lengths(matrix)
    return np.flatnonzero(~(np.isfinite(lengths) & (lengths > _SHORTEST))).tolist()


def unit_rows(rows: ArrayLike, *, dimensions: int, count: int | None = None) -> Matrix:
    """A caller's own vectors as (n, dimensions) float32 rows of unit length, C-contiguous, a copy.

    Args:
        rows: (n, dimensions) numbers, such as an array or a list of lists; empty is no row.
        dimensions: of the model that they come from.
        count: how many there must be; None takes any number.

    Raises:
        InputError: another shape, no numbers, a row that is zero or holds NaN or infinity.
    """
    try:
        matrix = np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError):
        raise InputError("embeddings must be rows of numbers, all of one length") from None
    if matrix.size == 0 and matrix.ndim <= 2:
        matrix = matrix.reshape(0, dimensions)
    if matrix.ndim != 2 or matrix.shape[1] != dimensions or count not in (None, len(matrix)):
        wanted = f"({'n' if count is None else count}, {dimensions})"
        raise InputError(f"embeddings must be of the shape {wanted}; found {matrix.shape}")
    useless = useless_rows(matrix)
    if useless:
        raise InputError(f"row {useless[0]} of the embeddings is zero or holds NaN or infinity")
    return cut_rows(matrix)


def cut_rows(matrix: Matrix, *, dimensions: int | None = None) -> Matrix:
    """The rows cut to their first dimensions (Matryoshka) and brought to unit length.

    Args:
        matrix: (n, d) finite rows, none of them zero.
        dimensions: at most d; None keeps all.

    Returns:
        (n, dimensions) float32, C-contiguous, a copy.
    """
    cut = np.array(matrix[:, :dimensions], dtype=np.float32, order="C")
    cut /= _lengths(cut)[:, None].astype(np.float32)
    return cut


def _lengths(matrix: Matrix) -> NDArray[np.float64]:
    # Summed in float64: squares of large float32 values would overflow to infinity.
    with np.errstate(invalid="ignore", over="ignore"):
        squares: NDArray[np.float64] = np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64)
        return np.sqrt(squares)
