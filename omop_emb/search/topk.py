"""Top-k selection: the largest scores of each query, from blocks of scores or from one row of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omop_emb.arrays import Floats, Ints

if TYPE_CHECKING:
    from scipy import sparse

Scores = NDArray[Any]
"""float32 without NaN, or int32."""

# So many times k new scores of each query are collected before the score that they must reach is raised.
_COLLECTED = 2
_GROUPS = 4  # times k: into so many groups a row is divided, whose largest scores bound the k-th of all


class TopK:
    """The k largest scores of each query among blocks that come one after the other.

    Args:
        queries: how many.
        k: how many scores of each.
    """

    def __init__(self, queries: int, k: int) -> None:
        self._queries, self._k = queries, k
        self._limits: Scores | None = None  # (queries, 1) what a score must reach
        self._query = [np.zeros(0, np.int64)]
        self._row = [np.zeros(0, np.int64)]
        self._score: list[Scores] = []
        self._collected, self._retained = 0, 0

    def add(self, scores: Scores, first_row: int) -> None:
        """Take a block of (queries, width) scores, whose columns are the rows from first_row on."""
        width = scores.shape[1]
        if self._limits is None and width > self._k:
            self._limits = np.partition(scores, width - self._k, axis=1)[:, width - self._k, None]
        flat = np.arange(scores.size) if self._limits is None else np.flatnonzero(scores >= self._limits)
        self._query.append(flat // width)
        self._row.append(flat % width + first_row)
        self._score.append(scores.ravel()[flat])
        self._collected += len(flat)
        if self._collected > _COLLECTED * max(self._k * self._queries, self._retained):
            self._narrow()

    def merge(self, other: TopK) -> None:
        """Take what another one of the same queries and k has collected from other rows."""
        self._query += other._query
        self._row += other._row
        self._score += other._score

    def pairs(self) -> tuple[Ints, Ints, Scores]:
        """(query, row, score) of each query's k largest and all that equal the k-th, in no order."""
        if not self._score:
            return self._query[0], self._row[0], np.zeros(0, np.float32)
        self._narrow()
        return self._query[0], self._row[0], self._score[0]

    def table(self) -> tuple[Scores, Ints]:
        """(queries, k) scores, largest first, equal ones by row, and their rows; k must have been added."""
        query, row, score = self.pairs()
        order = np.lexsort((row, -score, query))
        order = order[rank_in_group(query[order]) < self._k]
        shape = self._queries, self._k
        return score[order].reshape(shape), row[order].reshape(shape)

    def _narrow(self) -> None:
        query, row, score = (np.concatenate(part) for part in (self._query, self._row, self._score))
        # Query and score in one integer that sorts as they do.
        keys = np.sort((query << 32) + _as_integers(score))
        owner = np.arange(self._queries, dtype=np.int64) << 32
        start, stop = np.searchsorted(keys, owner - (1 << 31)), np.searchsorted(keys, owner + (1 << 31))
        kth = (keys[np.maximum(stop - self._k, 0)] - owner).astype(np.int32)
        limits, lowest = kth, float(np.iinfo(np.int32).min)
        if score.dtype == np.float32:
            limits, lowest = _as_integers(kth.view(np.float32)).view(np.float32), -np.inf
        self._limits = np.where(stop - start >= self._k, limits, lowest).astype(score.dtype)[:, None]
        chosen = score >= self._limits[query, 0]
        self._query, self._row, self._score = [query[chosen]], [row[chosen]], [score[chosen]]
        self._collected, self._retained = 0, len(self._score[0])


def _as_integers(scores: Scores) -> NDArray[np.int32]:
    """float32 as integers of the same order, and such integers back; int32 unchanged."""
    if scores.dtype != np.float32:
        return scores
    bits = scores.view(np.int32)
    return np.asarray(bits ^ ((bits >> 31) & 0x7FFFFFFF))


def rank_in_group(groups: NDArray[np.integer[Any]]) -> Ints:
    """(n,) how many entries of the same group stand before each; groups are ascending."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups)


def largest(
    scores: Floats, k: int, *, above: float = -np.inf, repeated: tuple[Ints, int] | None = None
) -> tuple[Ints, Floats]:
    """(row, score) of the k largest scores above a bound: largest first, equal ones by row.

    Args:
        scores: (n,) of the rows 0 to n - 1, or of others.
        k: how many rows.
        above: the bound.
        repeated: ((n,) the row of each score, how many equal scores a row has at most).
    """
    needed = k * (1 if repeated is None else repeated[1])
    groups = _GROUPS * needed
    limit = np.float32(above)
    if len(scores) > 2 * groups:
        # The k-th of the groups' largest is no more than the k-th of all: few scores are left to be sorted.
        tops = scores[: len(scores) // groups * groups].reshape(-1, groups).max(axis=0)
        limit = max(limit, np.partition(tops, groups - needed)[groups - needed])
    positions = np.flatnonzero(scores >= limit if limit > above else scores > above)
    rows, values = positions, scores[positions]
    if repeated is not None:
        rows, first = np.unique(repeated[0][positions], return_index=True)
        values = values[first]
    order = np.argsort(-values, kind="stable")[:k]
    return rows[order], values[order]


def largest_of_rows(scores: sparse.csr_matrix, k: int) -> tuple[Ints, Ints, Floats]:
    """(row, column, score) of each row's k largest stored entries: largest first, equal ones by column."""
    rows, columns, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for row in range(scores.shape[0]):
        stored = slice(scores.indptr[row], scores.indptr[row + 1])
        score, column = scores.data[stored], scores.indices[stored]
        if len(score) > k:
            # What equals the k-th stays in until ties are broken by column.
            chosen = score >= np.partition(score, len(score) - k)[len(score) - k]
            score, column = score[chosen], column[chosen]
        order = np.lexsort((column, -score))[:k]
        rows.append(np.full(len(order), row, np.int64))
        columns.append(column[order].astype(np.int64))
        values.append(score[order])
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(values)
