"""Vectors of a model: checked, and brought to unit length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omop_emb.arrays import Doubles, Floats, Vectors
from omop_emb.errors import InvalidAnswerError

_MIN_LENGTH = 1e-12  # float32 cannot keep the direction of a shorter row: a zero vector, or nearly one


def as_matrix(rows: Vectors | Sequence[Sequence[float]], *, count: int, source: str) -> Vectors:
    """A provider's rows as (count, dimensions) float32.

    Args:
        rows: what the provider answered.
        count: how many texts were sent.
        source: the provider's name for the message.
    """
    if len(rows) != count:
        raise InvalidAnswerError(f"{source} returned {len(rows)} vectors for {count} texts")
    try:
        with np.errstate(over="ignore"):  # becomes infinity, an invalid row
            matrix = np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        raise InvalidAnswerError(f"{source} returned rows that are not vectors of one length") from None
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise InvalidAnswerError(f"{source} returned rows that are not vectors of one length")
    return np.ascontiguousarray(matrix)


def unit_rows(matrix: Vectors, *, dimensions: int | None = None) -> tuple[Vectors, list[int]]:
    """The rows cut to their first dimensions (Matryoshka) and brought to unit length, and which are invalid.

    Args:
        matrix: (n, d).
        dimensions: at most d; None keeps all.

    Returns:
        (n, dimensions) float32, C-contiguous, a copy; and the positions of rows that hold NaN or infinity or
        are zero, whose values mean nothing.
    """
    lengths, invalid_rows = row_lengths(matrix)
    cut = np.array(matrix[:, :dimensions], dtype=np.float32, order="C")
    if cut.shape != matrix.shape:
        # The first dimensions of a row can be zero although the row is not.
        lengths, invalid_when_cut = row_lengths(cut)
        invalid_rows = sorted({*invalid_rows, *invalid_when_cut})
    cut /= lengths[:, None]
    return cut, invalid_rows


def row_lengths(matrix: Vectors) -> tuple[Floats, list[int]]:
    """The rows' lengths, (n,) float32, 1 where a row is invalid; and the positions of invalid rows."""
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        squares: Doubles = np.einsum("ij,ij->i", matrix, matrix).astype(np.float64)
        usual = (squares > 1e-12) & (squares < 1e12)
        if usual.all():
            return np.sqrt(squares).astype(np.float32), []
        # Again and slower where float32 has overflowed or lost its digits, or holds NaN.
        odd = matrix[~usual]
        squares[~usual] = np.einsum("ij,ij->i", odd, odd, dtype=np.float64)
        lengths = np.sqrt(squares).astype(np.float32)
    valid = np.isfinite(lengths) & (lengths > _MIN_LENGTH)
    return np.where(valid, lengths, np.float32(1)), np.flatnonzero(~valid).tolist()
