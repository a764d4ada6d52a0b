"""Statistics figures: each with a chart, a sentence on how to read it, and the same numbers as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from omop_emb.mapping.evaluation.bar_charts import Bar, columns, stacked_bars
from omop_emb.mapping.evaluation.charts import Axes, Series, line_chart
from omop_emb.service.review.decision_records import ReviewState
from omop_emb.service.review.review_statistics import LONGEST_SECONDS, WAYS
from omop_emb.service.review.statistics_records import ReviewStatistics, Share

_DECIDED = tuple(state.value for state in ReviewState if state is not ReviewState.UNREVIEWED)
_STATES = (*_DECIDED, ReviewState.UNREVIEWED.value)
_MOST_BARS = 12
_MOST_HOURS = 60
_MOST_ROWS = 20  # of the curve's table


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart and its numbers.

    Attributes:
        svg: the chart, HTML already.
        words: how to read it.
        headers, rows: of the table; the first column is text, the others are numbers.
    """

    title: str
    svg: str
    words: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


def statistics_figures(statistics: ReviewStatistics) -> Iterator[Figure]:
    """The figures of a review; those about decisions only where there are any."""
    yield _domains(statistics)
    if any(statistics.ways.values()):
        yield _ways(statistics)
    if statistics.reviewers:
        yield _reviewers(statistics)
    if statistics.hours:
        yield _hours(statistics)
    if statistics.looked_at:
        yield _reliability(statistics)
    if statistics.coverage:
        yield _coverage(statistics)
    if len(statistics.quarters) > 1:
        yield _quarters(statistics)


def _domains(statistics: ReviewStatistics) -> Figure:
    rows = [
        (one.domain or "none", [one.states[state].terms for state in _STATES]) for one in statistics.domains
    ]
    shown, further = rows[:_MOST_BARS], rows[_MOST_BARS:]
    if further:
        shown.append(("others", [sum(counts) for counts in zip(*(own for _, own in further), strict=True)]))
    title = "Terms by domain and state"
    return Figure(
        title=title,
        svg=stacked_bars(title, _STATES, [Bar(name, counts) for name, counts in shown]),
        words="The domain is that of the first candidate.",
        headers=["domain", *_STATES],
        rows=[[name, *map(_count, counts)] for name, counts in rows],
    )


def _ways(statistics: ReviewStatistics) -> Figure:
    title, total = "How terms were decided", sum(statistics.ways.values())
    own = [(WAYS[way], count) for way, count in statistics.ways.items() if count]
    return Figure(
        title=title,
        svg=stacked_bars(title, ["terms"], [Bar(name, [count]) for name, count in own]),
        words="By the latest decision on each term. What was searched for was among no suggestions.",
        headers=["decided with", "terms", "share"],
        rows=[[name, _count(count), _percent(count / total)] for name, count in own],
    )


def _reviewers(statistics: ReviewStatistics) -> Figure:
    title = "Work by reviewer"
    rows = []
    for one in statistics.reviewers:
        taken = Share(one.ways["first suggestion"], sum(one.ways.values()))
        rows.append(
            [
                one.reviewer,
                _count(one.decisions),
                _count(one.terms),
                _seconds(one.seconds),
                *(_count(one.states.get(state, 0)) for state in _DECIDED),
                _percent(taken.value),
            ]
        )
    bars = [
        Bar(one.reviewer, [one.states.get(state, 0) for state in _DECIDED]) for one in statistics.reviewers
    ]
    largest = sorted(bars, key=lambda bar: -bar.total)[:_MOST_BARS]
    return Figure(
        title=title,
        svg=stacked_bars(title, _DECIDED, largest),
        words="Terms whose latest decision is theirs. Seconds are the median from one decision to the next; "
        f"what took over {LONGEST_SECONDS // 60} minutes is left out as a break, and a batch counts as one "
        "decision.",
        headers=["reviewer", "decisions", "terms decided", "seconds", *_DECIDED, "first suggestion"],
        rows=rows,
    )


def _hours(statistics: ReviewStatistics) -> Figure:
    title, latest = "Decisions by hour", statistics.hours[-_MOST_HOURS:]
    return Figure(
        title=title,
        svg=columns(title, [Bar(f"{one.hour:%d %b %H:%M}", [one.decisions]) for one in latest]),
        words=f"Hours of the clock in UTC in which somebody decided, the latest {_MOST_HOURS} at most.",
        headers=["hour (UTC)", "decisions", "terms decided", "reviewers", "seconds"],
        rows=[
            [
                f"{one.hour:%Y-%m-%d %H:%M}",
                _count(one.decisions),
                _count(one.terms),
                _count(one.reviewers),
                _seconds(one.seconds),
            ]
            for one in latest
        ],
    )


def _reliability(statistics: ReviewStatistics) -> Figure:
    title, bins = "Reliability", statistics.reliability
    axes = Axes(x="predicted probability", y="share decided with the first candidate", diagonal=True)
    line = Series(
        name="decided",
        points=[(one.mean, one.first.count / one.first.of) for one in bins],
        dots=True,
        intervals=[one.first.interval for one in bins],
    )
    return Figure(
        title=title,
        svg=line_chart(title, axes, [line]),
        words="The probability said for the first candidate, against how often a person then chose it, with "
        "95 % intervals. On the dashed line, probabilities are true; below it omop-emb is too sure of "
        "itself, above it too careful. What was approved in bulk or decided in the file is left out: nobody "
        "looked at it by itself.",
        headers=["probability", "terms", "mean probability", "first candidate", "95 % interval"],
        rows=[
            [
                f"{one.low:.1f} to {one.high:.1f}",
                _count(one.first.of),
                f"{one.mean:.3f}",
                _percent(one.first.value),
                _interval(one.first),
            ]
            for one in bins
        ],
    )


def _coverage(statistics: ReviewStatistics) -> Figure:
    title, points = "Precision against coverage", statistics.coverage
    axes = Axes(x="share of the decided terms", y="share decided with the first candidate")
    line = [(one.coverage, one.first.count / one.first.of) for one in points]
    step = max(1, -(-len(points) // _MOST_ROWS))
    shown = [*points[:-1:step], points[-1]]
    return Figure(
        title=title,
        svg=line_chart(title, axes, [Series(name="first candidate", points=line)]),
        words="If the most probable of these terms had been accepted without review, how many would have "
        "been decided the same way. It is about the terms decided so far: where the uncertain ones are "
        "decided first, the others will do better.",
        headers=["probability at least", "coverage", "terms", "precision", "95 % interval"],
        rows=[
            [
                f"{one.threshold:.3f}",
                _percent(one.coverage),
                _count(one.first.of),
                _percent(one.first.value),
                _interval(one.first),
            ]
            for one in shown
        ],
    )


def _quarters(statistics: ReviewStatistics) -> Figure:
    title, quarters = "First suggestions by quarter of the decisions", statistics.quarters
    axes = Axes(
        x="quarter of the decisions",
        y="share decided with the first suggestion",
        x_range=(0.5, len(quarters) + 0.5),
        x_ticks=range(1, len(quarters) + 1),
    )
    line = Series(
        name="first suggestion",
        points=[(number, one.count / one.of) for number, one in enumerate(quarters, start=1)],
        dots=True,
        intervals=[one.interval for one in quarters],
    )
    return Figure(
        title=title,
        svg=line_chart(title, axes, [line]),
        words="Approvals are remembered, so later suggestions should be better. The order of the queue "
        "counts too: where uncertain terms are decided first, the share rises without any learning.",
        headers=["quarter", "terms", "first suggestion", "95 % interval"],
        rows=[
            [str(number), _count(one.of), _percent(one.value), _interval(one)]
            for number, one in enumerate(quarters, start=1)
        ],
    )


def _count(number: int) -> str:
    return f"{number:,}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"{low:.1%} to {high:.1%}"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f}"
