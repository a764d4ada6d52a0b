"""Plots: reliability, precision against coverage, and recall at k, drawn by matplotlib (extra `plots`).

Each function takes a DataFrame with one row per term, such as Evaluation.to_frame(), and returns the Axes
that it drew on, so that a caller can label, combine and save them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from omop_emb.arrays import Doubles
from omop_emb.errors import InputError, MissingExtraError, checked_keywords
from omop_emb.mapping.evaluation.outcome_charts import precision_points
from omop_emb.service.review.agreement import wilson_interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_CUTOFFS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)


@checked_keywords
def reliability(frame: pd.DataFrame, *, parts: int = 15, ax: Axes | None = None) -> Axes:
    """Predicted probability against the share that was right, in equal parts of the terms.

    Points on the dashed line are true probabilities; below it the ranker is too sure of itself. Bars are
    Wilson's 95 % intervals (1927).

    Args:
        frame: columns `probability` (0 to 1) and `correct` (bool, or 0 and 1); rows without one
            are left out.
        parts: number of equal parts, at least 1; fewer if there are fewer terms.
        ax: drawn on; None makes a figure.

    Raises:
        InputError: a column is missing, a value is out of range, or no row is left.
        MissingExtraError: matplotlib is not installed.
    """
    if parts < 1:
        raise InputError(f"parts must be at least 1; found {parts}")
    probability, correct = _probabilities(frame)
    ax = _axes(ax)
    groups = [part for part in np.array_split(np.argsort(probability, kind="stable"), parts) if len(part)]
    x = np.array([probability[part].mean() for part in groups])
    y = np.array([correct[part].mean() for part in groups])
    intervals = [wilson_interval(int(correct[part].sum()), len(part)) for part in groups]
    bars = np.array([y - [one.low for one in intervals], [one.high for one in intervals] - y])
    ax.plot([0, 1], [0, 1], linestyle="--", color="grey", linewidth=1)
    ax.errorbar(x, y, yerr=bars, marker="o", capsize=2)
    ax.set(xlabel="predicted probability", ylabel="share that was right", xlim=(0, 1), ylim=(0, 1.02))
    return ax


@checked_keywords
def coverage_precision(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Precision against coverage: how many are right if the most probable terms are accepted unseen.

    Terms of equal probability are accepted together; the line begins at ten terms.

    Args:
        frame: as for reliability().
        ax: drawn on; None makes a figure.

    Raises:
        InputError: as for reliability().
        MissingExtraError: matplotlib is not installed.
    """
    points = precision_points(*_probabilities(frame))
    ax = _axes(ax)
    ax.plot(*zip(*points, strict=True), marker="." if len(points) < 20 else "")
    ax.set(
        xlabel="share of terms accepted", ylabel="share of these that is right", xlim=(0, 1), ylim=(0, 1.02)
    )
    return ax


@checked_keywords
def recall(
    frame: pd.DataFrame,
    *,
    columns: Sequence[str] = ("rank",),
    cutoffs: Sequence[int] = _CUTOFFS,
    ax: Axes | None = None,
) -> Axes:
    """Recall at k: the share of terms whose chosen concept is among the first k candidates.

    Args:
        frame: columns of ranks, 1 the best; 0 or missing: the concept was not found. If there is a column
            `findable`, rows where it is false are left out: no concept is right for them.
        columns: a line is drawn for each; of several, their names are the legend.
        cutoffs: each k, at least 1.
        ax: drawn on; None makes a figure.

    Raises:
        InputError: a column is missing, a rank is negative or no whole number, or no row is left.
        MissingExtraError: matplotlib is not installed.
    """
    if not cutoffs or min(cutoffs) < 1:
        raise InputError(f"cutoffs must be numbers of at least 1; found {list(cutoffs)}")
    if "findable" in frame.columns:
        frame = frame[frame["findable"].astype(bool)]
    all_ranks = {column: _column(frame, column, missing=0.0) for column in columns}
    if not len(frame):
        raise InputError("a plot needs terms; found none whose concept could be found")
    for column, ranks in all_ranks.items():
        if (ranks < 0).any() or (ranks % 1 != 0).any():
            raise InputError(
                f"column {column!r} must have ranks (1 is the best, 0 not found); found another value"
            )
    ax = _axes(ax)
    for column, ranks in all_ranks.items():
        ax.plot(cutoffs, [((ranks > 0) & (ranks <= k)).mean() for k in cutoffs], marker=".", label=column)
    ax.set_xscale("log")
    ax.set_xticks(list(cutoffs), labels=[str(k) for k in cutoffs], minor=False)
    ax.minorticks_off()
    ax.set(xlabel="first k candidates", ylabel="recall at k", ylim=(0, 1.02))
    if len(all_ranks) > 1:
        ax.legend()
    return ax


def _probabilities(frame: pd.DataFrame) -> tuple[Doubles, Doubles]:
    """The columns `probability` and `correct` of rows that have both."""
    probability, correct = (_column(frame, name, missing=np.nan) for name in ("probability", "correct"))
    known = ~(np.isnan(probability) | np.isnan(correct))
    probability, correct = probability[known], correct[known]
    if not len(probability):
        raise InputError("a plot needs terms with a probability; found none: is the ranker calibrated?")
    if ((probability < 0) | (probability > 1)).any():
        raise InputError("column 'probability' must be from 0 to 1; found another value")
    if (~np.isin(correct, (0, 1))).any():
        raise InputError("column 'correct' must be true or false; found another value")
    return probability, correct


def _column(frame: pd.DataFrame, name: str, *, missing: float) -> Doubles:
    if name not in frame.columns:
        raise InputError(f"a column {name!r} is needed; found {', '.join(map(str, frame.columns))}")
    try:
        return np.asarray(frame[name].astype("Float64").to_numpy(np.float64, na_value=missing), np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"column {name!r} must have numbers; found something else") from error


def _axes(ax: Axes | None) -> Axes:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtraError("a plot", "plots") from error
    if ax is None:
        _, ax = plt.subplots(figsize=(5, 4), layout="constrained")
    ax.grid(visible=True, alpha=0.3)
    return ax
