"""Prior shift: an intercept checked by brute force, shrunk, reversible; certainty is never changed."""

from __future__ import annotations

import numpy as np
import pytest

from omop_emb.mapping.ranking.prior_shift import NO_SHIFT, PriorShift, fit_prior_shift


def posterior(rows: list[tuple[float, int, int]], shift: float) -> float:
    """The logarithm of how likely the rows are, and the shift before them."""
    p, terms, approved = np.array(rows, float).T
    corrected = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + shift)))
    likelihood = approved * np.log(corrected) + (terms - approved) * np.log(1 - corrected)
    return float(likelihood.sum() - shift**2 / 2 / 0.8**2)


@pytest.mark.parametrize(
    "rows",
    [
        [(0.6, 40, 18)],
        [(0.1, 10, 5), (0.5, 10, 9), (0.9, 10, 10)],
        [(0.95, 12, 0)],
        [(0.999, 200, 0)],
        [(0.001, 200, 200)],
    ],
)
def test_the_shift_is_the_most_likely_one(rows: list[tuple[float, int, int]]) -> None:
    candidates = np.linspace(-3, 3, 60_001)
    best = candidates[np.argmax([posterior(rows, shift) for shift in candidates])]
    assert fit_prior_shift(rows).log_odds == pytest.approx(best, abs=1e-3)


def test_few_rows_change_nothing_and_more_move_further() -> None:
    assert fit_prior_shift([]) == fit_prior_shift([(0.9, 9, 0)]) == NO_SHIFT
    shifts = [fit_prior_shift([(0.6, rows, rows // 3)]).log_odds for rows in (12, 30, 90, 3_000)]
    assert shifts == sorted(shifts, reverse=True)
    assert shifts[-1] == pytest.approx(np.log(0.5) - np.log(1.5), abs=0.01)


def test_what_was_said_and_approved_is_reported() -> None:
    shift = fit_prior_shift([(0.5, 10, 2), (0.8, 10, 8)])
    assert (shift.rows, shift.approved) == (20, 0.5)
    assert shift.said == pytest.approx(0.65)
    assert str(shift) == (
        "probabilities are corrected by 20 reviewed rows: the mean probability of their first "
        "candidates was 0.65, and 0.50 of these were approved"
    )


def test_certainty_and_ignorance_are_not_corrected() -> None:
    shift = PriorShift(log_odds=-1.0, rows=20)
    assert [shift.correct(value) for value in (None, 0.0, 1.0)] == [None, 0.0, 1.0]
    assert NO_SHIFT.correct(0.7) == 0.7


def test_undoing_gives_what_was_said() -> None:
    shift = PriorShift(log_odds=-0.7, rows=20)
    for said in (0.01, 0.5, 0.97):
        corrected = shift.correct(said)
        assert corrected is not None
        assert corrected < said
        assert shift.undo(corrected) == pytest.approx(said)
    assert shift.undo(None) is None
