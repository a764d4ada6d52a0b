"""Outcome charts: recall, reliability, and precision against coverage, each with what it shows in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from omop_emb.arrays import Doubles
from omop_emb.mapping.evaluation.charts import Axes, Series, line_chart
from omop_emb.mapping.evaluation.outcomes import RANKINGS, TermOutcome

_CUTOFFS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)
_PARTS = 15  # of the reliability chart
_FEWEST = 10  # terms of a point: the precision of fewer says nothing


def outcome_charts(outcomes: Sequence[TermOutcome]) -> Iterator[tuple[str, str]]:
    """Charts as SVG, and a sentence about each; those of probabilities only if there are any."""
    findable = [outcome for outcome in outcomes if outcome.findable]
    if findable:
        yield (
            _recall_chart(findable),
            "Recall by number of candidates: how often the right concept is among the first k. Where the "
            "curve is flat, a longer list of candidates does not help.",
        )
    if outcomes and all(outcome.probability is not None for outcome in outcomes):
        probability = np.array([outcome.probability for outcome in outcomes], np.float64)
        correct = np.array([outcome.correct for outcome in outcomes], np.float64)
        yield (
            _reliability_chart(probability, correct),
            "Reliability: each point is an equal part of the terms. On the dashed line, probabilities "
            "are right; below it omop-emb is too confident, above it too cautious.",
        )
        if points := precision_points(probability, correct):
            axes = Axes(x="share of terms accepted", y="share of these that is right")
            yield (
                line_chart(
                    "Precision against coverage", axes, [Series(name="first candidate", points=points)]
                ),
                "Precision against coverage: if the most probable terms are accepted without review, how "
                "many of these are right. Choose the precision that you need, and read off how much work "
                "is saved.",
            )


def _recall_chart(findable: Sequence[TermOutcome]) -> str:
    series = []
    for ranking in RANKINGS:
        ranks = np.array([outcome.ranks[ranking] for outcome in findable])
        if ranks.any():
            points = [(float(k), float(((ranks > 0) & (ranks <= k)).mean())) for k in _CUTOFFS]
            series.append(Series(name=ranking, points=points))
    axes = Axes(
        x="first k candidates",
        y="recall at k",
        x_range=(1, 50),
        x_ticks=(1, 2, 5, 10, 20, 50),
        x_logarithmic=True,
    )
    return line_chart("Recall by number of candidates", axes, series)


def _reliability_chart(probability: Doubles, correct: Doubles) -> str:
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, _PARTS) if len(part)]
    points = [(float(probability[part].mean()), float(correct[part].mean())) for part in parts]
    axes = Axes(x="predicted probability", y="share that was right", diagonal=True)
    return line_chart("Reliability", axes, [Series(name="equal parts", points=points, dots=True)])


def precision_points(probability: Doubles, correct: Doubles) -> list[tuple[float, float]]:
    """Points (coverage, precision), most probable terms first, where at least ten terms are covered.

    Terms of equal probability are accepted together; before ten terms the share jumps between 0 and 1.
    """
    order = np.argsort(-probability, kind="stable")
    share = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    ends = np.flatnonzero(np.append(np.diff(probability[order]) != 0, True)) + 1
    ends = ends[ends >= min(_FEWEST, len(order))]
    if len(ends) > 80:
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, 80).astype(int))]
    return [(int(count) / len(order), float(share[count - 1])) for count in ends]
