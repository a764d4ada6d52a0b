"""Line charts as inline SVG, so that a report is one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import log

_WIDTH, _HEIGHT = 460, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 120, 16, 46
# Okabe and Ito's palette: told apart by colour-blind readers too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line: (x, y) in the axes' units, and the name at its end."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False


@dataclass(frozen=True, kw_only=True)
class Axes:
    """What the two axes say and hold.

    Attributes:
        x, y: labels.
        x_range, y_range: first and last value.
        x_ticks, y_ticks: values that are written.
        x_logarithmic: whether x is drawn by its logarithm; its range begins above 0 then.
        diagonal: whether the line x = y is drawn.
    """

    x: str
    y: str
    x_range: tuple[float, float] = (0, 1)
    y_range: tuple[float, float] = (0, 1)
    x_ticks: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)
    y_ticks: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)
    x_logarithmic: bool = False
    diagonal: bool = False


def line_chart(title: str, axes: Axes, series: Sequence[Series]) -> str:
    """An SVG element with one line for each series."""

    def x_at(value: float) -> float:
        first, last = axes.x_range
        if axes.x_logarithmic:
            first, last, value = log(first), log(last), log(value)
        return _LEFT + (value - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)

    def y_at(value: float) -> float:
        first, last = axes.y_range
        return _HEIGHT - _BOTTOM - (value - first) / (last - first) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    left, right, bottom, top = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM, _TOP
    for tick in axes.y_ticks:
        y = y_at(tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in axes.x_ticks:
        x = x_at(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    middle = (left + right) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(axes.x)}</text>')
    centre = (top + bottom) / 2
    parts.append(
        f'<text x="14" y="{centre}" text-anchor="middle" transform="rotate(-90 14 {centre})">'
        f"{escape(axes.y)}</text>"
    )
    if axes.diagonal:
        low, high = axes.x_range
        parts.append(
            f'<line class="diagonal" x1="{x_at(low):.1f}" y1="{y_at(low):.1f}" '
            f'x2="{x_at(high):.1f}" y2="{y_at(high):.1f}"/>'
        )
    for number, line in enumerate(series):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [(x_at(x), y_at(y)) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if line.dots:
            parts.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places)
        y = _TOP + 14 + 18 * number
        parts.append(f'<rect x="{right + 10}" y="{y - 9}" width="12" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{right + 27}" y="{y - 3}">{escape(line.name)}</text>')
    parts.append("</svg>")
    return "".join(parts)
