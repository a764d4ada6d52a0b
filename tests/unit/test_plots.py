"""Plots: their points are what numpy counts, and wrong frames are refused in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from omop_emb import plots
from omop_emb.arrays import Doubles
from omop_emb.errors import InputError, MissingExtraError

pytest.importorskip("matplotlib").use("agg")

import matplotlib.pyplot as plt  # noqa: E402 - after the skip, and with a backend that needs no screen
from matplotlib.axes import Axes  # noqa: E402 - likewise
from matplotlib.collections import LineCollection  # noqa: E402 - likewise


@pytest.fixture(autouse=True)
def _closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


def _frame(terms: int = 300) -> pd.DataFrame:
    """Terms that are right as often as their probability says."""
    random = np.random.default_rng(7)
    probability = random.uniform(0, 1, terms)
    return pd.DataFrame({"probability": probability, "correct": random.uniform(0, 1, terms) < probability})


def _points(ax: Axes, line: int = 0) -> tuple[Doubles, Doubles]:
    x, y = ax.lines[line].get_data()
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


def test_reliability_draws_the_mean_and_the_share_of_equal_parts() -> None:
    frame = _frame().sort_values("probability")
    ax = plots.reliability(frame, parts=3)
    x, y = _points(ax, 1)
    thirds = [frame.iloc[:100], frame.iloc[100:200], frame.iloc[200:]]
    np.testing.assert_allclose(x, [part["probability"].mean() for part in thirds])
    np.testing.assert_allclose(y, [part["correct"].mean() for part in thirds])
    assert ax.get_xlabel() == "predicted probability"


def test_all_right_terms_have_an_interval_too() -> None:
    frame = pd.DataFrame({"probability": [0.9] * 10, "correct": [True] * 10})
    ax = plots.reliability(frame, parts=1)
    [bars] = [one for one in ax.collections if isinstance(one, LineCollection)]
    [(low, high)] = [np.asarray(segment)[:, 1] for segment in bars.get_segments()]
    assert low == pytest.approx(0.7225, abs=1e-3)  # Wilson's, 10 of 10
    assert high == pytest.approx(1)


def test_precision_is_that_of_the_most_probable_terms() -> None:
    frame = pd.DataFrame({"probability": np.arange(40)[::-1] / 40, "correct": [True] * 20 + [False] * 20})
    x, y = _points(plots.coverage_precision(frame))
    expected = {coverage: min(1, 20 / (coverage * 40)) for coverage in x}
    np.testing.assert_allclose(y, list(expected.values()))
    assert min(expected) == 0.25  # ten terms


def test_recall_counts_found_concepts_only() -> None:
    frame = pd.DataFrame({"rank": pd.array([1, 3, None, 0, 1], "Int64"), "findable": [True] * 4 + [False]})
    _, y = _points(plots.recall(frame, cutoffs=(1, 3, 10)))
    np.testing.assert_allclose(y, [0.25, 0.5, 0.5])


def test_several_rankings_share_a_legend_and_the_callers_axes() -> None:
    _, ax = plt.subplots()
    frame = pd.DataFrame({"before": [1, 2], "after": [1, 1]})
    assert plots.recall(frame, columns=("before", "after"), ax=ax) is ax
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["before", "after"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"probability": [0.5]}), "a column 'correct' is needed; found probability"),
        (pd.DataFrame({"probability": [1.5], "correct": [True]}), "from 0 to 1"),
        (pd.DataFrame({"probability": [0.5], "correct": [2]}), "true or false"),
        (pd.DataFrame({"probability": ["much"], "correct": [True]}), "must have numbers"),
        (pd.DataFrame({"probability": [None], "correct": [True]}), "is the ranker calibrated"),
    ],
)
def test_a_frame_that_cannot_be_drawn_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plots.reliability(frame)


def test_ranks_are_whole_numbers() -> None:
    with pytest.raises(InputError, match="1 is the best"):
        plots.recall(pd.DataFrame({"rank": [1.5]}))
    with pytest.raises(InputError, match="found none"):
        plots.recall(pd.DataFrame({"rank": [1], "findable": [False]}))


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[plots\]'"):
        plots.reliability(_frame())
