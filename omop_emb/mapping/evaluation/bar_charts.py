"""Bar charts: counts as inline SVG, for a page that needs no other file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from omop_emb.mapping.evaluation.charts import COLOURS

_WIDTH, _LEFT, _RIGHT = 460, 150, 400
_ROW, _BAR = 24, 16
_COLUMNS_HEIGHT, _COLUMNS_TOP, _COLUMNS_BOTTOM = 220, 24, 180
_LONGEST_LABEL = 18  # characters that fit to the left of the bars


@dataclass(frozen=True)
class Bar:
    """A bar, and how many of each part there are in it."""

    label: str
    parts: Sequence[int]

    @property
    def total(self) -> int:
        """Its length."""
        return sum(self.parts)


def stacked_bars(title: str, parts: Sequence[str], bars: Sequence[Bar]) -> str:
    """An SVG element with a horizontal bar per row, and a legend of the parts if there are several."""
    legend = [*_legend(parts)] if len(parts) > 1 else []
    top = _ROW * -(-len(parts) // 3) + 4 if legend else 4
    longest = max((bar.total for bar in bars), default=0) or 1
    drawn = [*legend]
    for number, bar in enumerate(bars):
        y = top + number * _ROW
        label = bar.label if len(bar.label) <= _LONGEST_LABEL else bar.label[: _LONGEST_LABEL - 1] + "…"
        drawn.append(f'<text x="{_LEFT - 6}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        x = float(_LEFT)
        for part, count in enumerate(bar.parts):
            width = count / longest * (_RIGHT - _LEFT)
            if width:
                drawn.append(
                    f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{_colour(part)}"/>'
                )
            x += width
        drawn.append(f'<text x="{x + 5:.1f}" y="{y + 13}">{bar.total:,}</text>')
    return _svg(title, top + len(bars) * _ROW + 4, drawn)


def columns(title: str, bars: Sequence[Bar]) -> str:
    """An SVG element with a vertical bar each; the first, the last and the highest are labelled."""
    highest = max((bar.total for bar in bars), default=0) or 1
    peak = next((number for number, bar in enumerate(bars) if bar.total == highest), 0)
    step = (_WIDTH - 40) / max(len(bars), 1)
    width = min(step * 0.8, 40)
    drawn = [f'<line class="grid" x1="20" x2="{_WIDTH - 20}" y1="{_COLUMNS_BOTTOM}" y2="{_COLUMNS_BOTTOM}"/>']
    for number, bar in enumerate(bars):
        height = bar.total / highest * (_COLUMNS_BOTTOM - _COLUMNS_TOP)
        x, y = 20 + number * step, _COLUMNS_BOTTOM - height
        drawn.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{COLOURS[0]}">'
            f"<title>{escape(bar.label)}: {bar.total:,}</title></rect>"
        )
        if len(bars) <= 10 or number == peak:
            drawn.append(
                f'<text x="{x + width / 2:.1f}" y="{y - 5:.1f}" text-anchor="middle">{bar.total:,}</text>'
            )
    if bars:
        y = _COLUMNS_BOTTOM + 18
        drawn.append(f'<text x="20" y="{y}">{escape(bars[0].label)}</text>')
    if len(bars) > 1:
        drawn.append(
            f'<text x="{_WIDTH - 20}" y="{y + 18}" text-anchor="end">{escape(bars[-1].label)}</text>'
        )
    return _svg(title, _COLUMNS_HEIGHT, drawn)


def _legend(parts: Sequence[str]) -> Iterator[str]:
    for number, part in enumerate(parts):
        x, y = 8 + number % 3 * 150, 4 + number // 3 * _ROW
        yield f'<rect x="{x}" y="{y + 2}" width="12" height="12" fill="{_colour(number)}"/>'
        yield f'<text x="{x + 17}" y="{y + 13}">{escape(part)}</text>'


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _svg(title: str, height: int, drawn: Sequence[str]) -> str:
    return "".join(
        [
            f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">',
            f"<title>{escape(title)}</title>",
            *drawn,
            "</svg>",
        ]
    )
