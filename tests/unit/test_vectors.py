"""Unit vectors: from rows of any magnitude, cut or not, and invalid rows."""

from __future__ import annotations

import numpy as np
import pytest

from omop_emb.errors import InvalidAnswerError
from omop_emb.vectors import as_matrix, unit_rows


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1e-4, 1.0, 1e5, 1e18, 1e30])
def test_rows_of_any_magnitude_come_to_unit_length(scale: float) -> None:
    rng = np.random.default_rng(1)
    rows = rng.uniform(-1, 1, (5, 768)) * scale
    unit, invalid = unit_rows(rows.astype(np.float32))
    valid = scale > 1e-12
    assert invalid == ([] if valid else [0, 1, 2, 3, 4])
    if valid:
        expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        np.testing.assert_allclose(unit, expected, rtol=0, atol=1e-6)


def test_invalid_rows_are_named_and_do_not_affect_others() -> None:
    nan, infinity = float("nan"), float("inf")
    rows = np.array([[3, 4], [nan, 1], [0, 0], [infinity, 1], [0, -2], [-infinity, nan]], np.float32)
    unit, invalid = unit_rows(rows)
    assert invalid == [1, 2, 3, 5]
    np.testing.assert_allclose(unit[[0, 4]], np.array([[0.6, 0.8], [0, -1]]), atol=1e-7)


def test_a_row_may_become_invalid_by_being_cut() -> None:
    unit, invalid = unit_rows(np.array([[0, 0, 1], [1, 1, 9]], np.float32), dimensions=2)
    assert invalid == [0]
    np.testing.assert_allclose(unit[1], np.full(2, 0.5**0.5), atol=1e-7)
    assert unit_rows(np.array([[1, 0, float("nan")]], np.float32), dimensions=2)[1] == [0]


def test_a_callers_rows_are_not_changed() -> None:
    rows = np.array([[3, 4]], np.float32)
    unit, _ = unit_rows(rows)
    assert rows.tolist() == [[3, 4]]
    assert unit.flags.c_contiguous
    assert not np.shares_memory(unit, rows)


@pytest.mark.parametrize("rows", [[[1, 2], [3]], [["a", "b"], ["c", "d"]], [[], []], [1, 2], [None, [1]]])
def test_rows_that_are_not_vectors_of_one_length_are_refused(rows: list[list[float]]) -> None:
    with pytest.raises(InvalidAnswerError, match="m returned rows that are not vectors of one length"):
        as_matrix(rows, count=2, source="m")


def test_more_or_fewer_rows_than_texts_are_refused() -> None:
    with pytest.raises(InvalidAnswerError, match="m returned 1 vectors for 2 texts"):
        as_matrix([[1.0]], count=2, source="m")
