"""Charts: lines as inline SVG, for a page that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import log

_WIDTH, _HEIGHT = 460, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, _WIDTH - 104, 16, _HEIGHT - 46  # edges of the plot
_TICKS = (0, 0.25, 0.5, 0.75, 1)
# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "currentColor")


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line through (x, y) points, and its name in the legend.

    Attributes:
        dots: whether the points are marked.
        intervals: of y, one per point, drawn as a vertical line; empty for none.
    """

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False
    intervals: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, kw_only=True)
class Axes:
    """The labels of the two axes, and the scale of x; y goes from 0 to 1."""

    x: str
    y: str
    x_range: tuple[float, float] = (0, 1)  # first and last value of x
    x_ticks: Sequence[float] = _TICKS  # labelled values of x
    x_logarithmic: bool = False  # whether x is on a logarithmic scale; its range starts above 0 then
    diagonal: bool = False  # whether the line x = y is drawn

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The position of a point on the page."""
        first, last = self.x_range
        if self.x_logarithmic:
            first, last, x = log(first), log(last), log(x)
        return _LEFT + (x - first) / (last - first) * (_RIGHT - _LEFT), _BOTTOM - y * (_BOTTOM - _TOP)


def line_chart(title: str, axes: Axes, series: Sequence[Series]) -> str:
    """An SVG element with one line per series, and a legend if there are several."""
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        *_grid(axes),
    ]
    for number, line in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        points = [axes.at(x, y) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if line.dots:
            parts.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)
        for (at, _), ends in zip(line.points, line.intervals, strict=False):
            (x, low), (_, high) = (axes.at(at, end) for end in ends)
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}"/>'
            )
        if len(series) == 1:
            continue
        y = _TOP + 14 + 18 * number
        parts.append(f'<rect x="{_RIGHT + 10}" y="{y - 9}" width="12" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{_RIGHT + 27}" y="{y - 3}">{escape(line.name)}</text>')
    return "".join([*parts, "</svg>"])


def _grid(axes: Axes) -> list[str]:
    """Grid lines, tick labels, labels of the axes, and the diagonal."""
    parts = []
    for tick in _TICKS:
        _, y = axes.at(axes.x_range[0], tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in axes.x_ticks:
        x, _ = axes.at(tick, 0)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{_BOTTOM + 16}" text-anchor="middle">{tick:g}</text>')
    middle, centre = (_LEFT + _RIGHT) / 2, (_TOP + _BOTTOM) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(axes.x)}</text>')
    parts.append(
        f'<text x="13" y="{centre}" text-anchor="middle" transform="rotate(-90 13 {centre})">'
        f"{escape(axes.y)}</text>"
    )
    if axes.diagonal:
        (x1, y1), (x2, y2) = axes.at(0, 0), axes.at(1, 1)
        parts.append(f'<line class="diagonal" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    return parts
