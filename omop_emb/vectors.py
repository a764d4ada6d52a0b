"""Rows of numbers from a model, checked and made into unit vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from omop_emb.arrays import Vectors
from omop_emb.errors import InvalidAnswerError

# Shorter rows carry no direction that float32 could keep: a model's zero vector, or one as good as zero.
_SHORTEST = 1e-12


def as_matrix(rows: Vectors | Sequence[Sequence[float]], *, count: int, source: str) -> Vectors:
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
        with np.errstate(over="ignore"):  # becomes infinity, which is looked for
            matrix = np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError):
        raise InvalidAnswerError(f"{source} answered rows that are not vectors of one length") from None
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise InvalidAnswerError(f"{source} answered rows that are not vectors of one length")
    return np.ascontiguousarray(matrix)


def unit_rows(matrix: Vectors, *, dimensions: int | None = None) -> tuple[Vectors, list[int]]:
    """The rows cut to their first dimensions (Matryoshka) and brought to unit length, and which are useless.

    Args:
        matrix: (n, d).
        dimensions: at most d; None keeps all.

    Returns:
        (n, dimensions) float32, C-contiguous, a copy; and the positions of rows that hold NaN or infinity, or
        are zero: what stands there is of no use either.
    """
    whole, useless = row_lengths(matrix)
    cut = np.array(matrix[:, :dimensions], dtype=np.float32, order="C")
    if cut.shape != matrix.shape:
        # Of a row that is not zero, the first dimensions can be.
        whole, of_cut = row_lengths(cut)
        useless = sorted({*useless, *of_cut})
    cut /= whole[:, None]
    return cut, useless


def row_lengths(matrix: Vectors) -> tuple[Vectors, list[int]]:
    """The rows' lengths, and which rows are useless.

    Returns:
        (n,) float32, 1 where a row is useless; and the positions of those rows, as of unit_rows().
    """
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        squares: NDArray[np.float64] = np.einsum("ij,ij->i", matrix, matrix).astype(np.float64)
        usual = (squares > 1e-12) & (squares < 1e12)
        if usual.all():
            return np.sqrt(squares).astype(np.float32), []
        # Where float32 has overflowed or lost its digits, again and slower; NaN comes along.
        odd = matrix[~usual]
        squares[~usual] = np.einsum("ij,ij->i", odd, odd, dtype=np.float64)
        found = np.sqrt(squares).astype(np.float32)
    useful = np.isfinite(found) & (found > _SHORTEST)
    return np.where(useful, found, np.float32(1)), np.flatnonzero(~useful).tolist()
