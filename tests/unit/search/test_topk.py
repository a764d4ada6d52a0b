"""Top-k selection against a sort of everything: ties, integers, blocks of any width, rows of zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from omop_emb.search.topk import TopK, largest, largest_of_rows, rank_in_group

ROWS = 3_000


def scores_of(dtype: Any, spread: int) -> np.ndarray:
    random = np.random.default_rng(spread)
    scores = random.integers(-spread, spread, (5, ROWS)) / (7 if dtype is np.float32 else 1)
    scores[1] = 0  # all are equal
    scores[2, ::2] *= -0.0 if dtype is np.float32 else 0
    return scores.astype(dtype)


def added_in_blocks(scores: np.ndarray, k: int, width: int) -> TopK:
    top = TopK(len(scores), k)
    for first in range(0, ROWS, width):
        top.add(scores[:, first : first + width], first)
    return top


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("spread", [3, 1_000_000])
@pytest.mark.parametrize(("k", "width"), [(1, 256), (20, 256), (20, 7), (20, ROWS), (ROWS, 256)])
def test_pairs_are_each_querys_largest_and_what_equals_the_last(
    dtype: Any, spread: int, k: int, width: int
) -> None:
    scores = scores_of(dtype, spread)
    query, row, score = added_in_blocks(scores, k, width).pairs()
    assert score.dtype == dtype
    assert (score == scores[query, row]).all()
    for number, of_query in enumerate(scores):
        expected = np.flatnonzero(of_query >= np.sort(of_query)[-k])
        assert sorted(row[query == number]) == expected.tolist()


@pytest.mark.parametrize(("k", "width"), [(1, 256), (20, 7), (ROWS, 256)])
def test_the_table_is_sorted_by_score_and_then_by_row(k: int, width: int) -> None:
    scores = scores_of(np.float32, 3)
    values, rows = added_in_blocks(scores, k, width).table()
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    assert (rows == expected).all()
    assert (values == np.take_along_axis(scores, expected, axis=1)).all()


def test_fewer_scores_than_k_are_all_kept() -> None:
    top = TopK(2, 10)
    top.add(np.array([[1, 2], [-3, -4]], np.int32), 5)
    query, row, score = top.pairs()
    assert sorted(zip(query.tolist(), row.tolist(), score.tolist(), strict=True)) == [
        (0, 5, 1),
        (0, 6, 2),
        (1, 5, -3),
        (1, 6, -4),
    ]


def test_nothing_added_gives_nothing() -> None:
    assert [len(part) for part in TopK(3, 10).pairs()] == [0, 0, 0]


def test_rank_in_group_counts_from_zero_in_each_group() -> None:
    assert rank_in_group(np.array([2, 2, 2, 5, 7, 7])).tolist() == [0, 1, 2, 0, 0, 1]


@pytest.mark.parametrize("size", [0, 5, 100, 5_000])
@pytest.mark.parametrize("distinct", [1, 7, 100_000])
@pytest.mark.parametrize("above", [-np.inf, 0])
@pytest.mark.parametrize("repeats", [0, 4])
def test_the_largest_of_a_row_are_those_of_a_sort(
    size: int, distinct: int, above: float, repeats: int
) -> None:
    random = np.random.default_rng(size + distinct)
    scores = random.integers(-1, distinct + 1, size).astype(np.float32)
    for k in (1, 2, 3, 10):
        if repeats:
            rows = random.permutation(np.repeat(np.arange(size), random.integers(1, repeats + 1, size)))
            best, values = largest(scores[rows], k, above=above, repeated=(rows, repeats))
        else:
            best, values = largest(scores, k, above=above)
        in_order = np.argsort(-scores, kind="stable")
        expected = in_order[scores[in_order] > above][:k]
        assert best.tolist() == expected.tolist()
        assert values.tolist() == scores[expected].tolist()


@pytest.mark.parametrize("k", [1, 3, 50])
def test_the_largest_of_sparse_rows_break_ties_by_column_however_they_are_stored(k: int) -> None:
    dense = np.random.default_rng(k).integers(0, 4, (6, 30)).astype(np.float32)
    dense[2] = 0
    stored = sparse.csr_matrix(dense[:, ::-1])
    stored.indices = 29 - stored.indices  # each row is stored with falling columns
    row, column, score = largest_of_rows(stored, k)
    expected = [
        (number, place, dense[number, place])
        for number in range(6)
        for place in np.argsort(-dense[number], kind="stable")[:k]
        if dense[number, place]
    ]
    assert list(zip(row.tolist(), column.tolist(), score.tolist(), strict=True)) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("k", [1, 20, ROWS])
def test_parts_that_are_merged_have_what_one_has_of_all_rows(dtype: Any, k: int) -> None:
    scores = scores_of(dtype, 3)
    parts = [TopK(len(scores), k) for _ in range(3)]
    for number, first in enumerate(range(0, ROWS, 256)):
        parts[number % 2].add(scores[:, first : first + 256], first)
    for other in parts[1:]:  # the last has nothing
        parts[0].merge(other)
    expected = zip(*added_in_blocks(scores, k, 256).pairs(), strict=True)
    assert sorted(zip(*parts[0].pairs(), strict=True)) == sorted(expected)
