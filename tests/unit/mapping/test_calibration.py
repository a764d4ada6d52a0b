"""Calibration: the isotonic curve over bins, against what one can compute by hand, and stored ones."""

from __future__ import annotations

import numpy as np
import pytest

from omop_emb.errors import ConfigurationError
from omop_emb.mapping.ranking.calibration import SIGNALS, Calibration, fit_calibration, isotonic_knots


def test_bins_that_rise_are_the_knots_between_two_ends() -> None:
    xs, ys = isotonic_knots(np.repeat([0.2, 0.8], 30), np.repeat([0.0, 1.0], 30))
    assert xs == pytest.approx((0.0, 0.2, 0.8, 1.0))
    assert ys == (0.0, 0.0, 1.0, 1.0)


def test_bins_that_fall_are_pooled_into_one_knot_at_their_mean() -> None:
    x = np.repeat([0.2, 0.4, 0.8], 30)
    y = np.concatenate([np.arange(30) < 15, np.arange(30) < 9, np.ones(30)]).astype(float)
    xs, ys = isotonic_knots(x, y)
    assert xs == pytest.approx((0.0, 0.3, 0.8, 1.0))
    assert ys == pytest.approx((0.2, 0.4, 1.0, 1.0))


def test_bins_of_equal_share_are_one_knot() -> None:
    x = np.repeat([0.2, 0.4, 0.6], 30)
    y = np.tile(np.arange(30) < 15, 3).astype(float)
    xs, ys = isotonic_knots(x, y)
    assert xs == pytest.approx((0.0, 0.4, 1.0))
    assert ys == (0.25, 0.5, 0.75)


def test_a_calibration_of_an_earlier_version_is_refused_with_the_next_command() -> None:
    stored = Calibration(weights=(0.0,) * len(SIGNALS), intercepts={"": 0.0}).to_json()
    assert Calibration.from_json(stored).weights == (0.0,) * len(SIGNALS)
    stored["weights"]["reads alike"] = stored["weights"].pop("normalised equal")
    with pytest.raises(ConfigurationError, match="run omop-emb calibrate again"):
        Calibration.from_json(stored)


def test_a_signal_that_only_differs_in_its_last_digits_has_no_say() -> None:
    random = np.random.default_rng(3)
    signals = random.random((60, len(SIGNALS)))
    correct = signals[:, 1] > 0.5
    signals[:, 0] = 1 + 1e-7 * correct  # a share of 1, as a processor sums it
    learned = fit_calibration(signals, [""] * 60, correct, isotonic=False)
    assert abs(learned.weights[0]) < 10
    # With the warnings of these tests as errors: far away, where exp() alone would overflow.
    assert learned.probability(signals[:1] * -1e6, [""]).tolist() == pytest.approx([0.0], abs=1e-9)
