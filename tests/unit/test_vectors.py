"""Rows of numbers made into unit vectors: of any magnitude, cut or whole, and those that cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from omop_emb.errors import InvalidAnswerError
from omop_emb.vectors import as_matrix, unit_rows


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1e-4, 1.0, 1e5, 1e18, 1e30])
def test_rows_of_any_magnitude_come_to_unit_length(scale: float) -> None:
    rng = np.random.default_rng(1)
    rows = rng.uniform(-1, 1, (5, 768)) * scale
    found, invalid = unit_rows(rows.astype(np.float32))
    usable = scale > 1e-12
    assert invalid == ([] if usable else [0, 1, 2, 3, 4])
    if usable:
        expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_rows_of_no_use_are_named_and_harm_no_other() -> None:
    nan, infinity = float("nan"), float("inf")
    rows = np.array([[3, 4], [nan, 1], [0, 0], [infinity, 1], [0, -2], [-infinity, nan]], np.float32)
    found, invalid = unit_rows(rows)
    assert invalid == [1, 2, 3, 5]
    np.testing.assert_allclose(found[[0, 4]], np.array([[0.6, 0.8], [0, -1]]), atol=1e-7)


def test_a_row_may_lose_its_use_by_being_cut() -> None:
    found, invalid = unit_rows(np.array([[0, 0, 1], [1, 1, 9]], np.float32), dimensions=2)
    assert invalid == [0]
    np.testing.assert_allclose(found[1], np.full(2, 0.5**0.5), atol=1e-7)
    assert unit_rows(np.array([[1, 0, float("nan")]], np.float32), dimensions=2)[1] == [0]


def test_a_callers_rows_stay_as_they_are() -> None:
    rows = np.array([[3, 4]], np.float32)
    found, _ = unit_rows(rows)
    assert rows.tolist() == [[3, 4]]
    assert found.flags.c_contiguous
    assert not np.shares_memory(found, rows)


@pytest.mark.parametrize("rows", [[[1, 2], [3]], [["a", "b"], ["c", "d"]], [[], []], [1, 2], [None, [1]]])
def test_rows_that_are_not_vectors_of_one_length_are_refused(rows: list[list[float]]) -> None:
    with pytest.raises(InvalidAnswerError, match="m answered rows that are not vectors of one length"):
        as_matrix(rows, count=2, source="m")


def test_more_or_fewer_rows_than_texts_are_refused() -> None:
    with pytest.raises(InvalidAnswerError, match="m answered 1 vectors for 2 texts"):
        as_matrix([[1.0]], count=2, source="m")
