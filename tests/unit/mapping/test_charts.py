"""Charts of a report: positions of points, and names as text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from omop_emb.mapping.evaluation.charts import Axes, Series, line_chart


def points(svg: str) -> list[tuple[float, float]]:
    match = re.search(r'polyline points="([^"]*)"', svg)
    assert match is not None
    pairs = (pair.split(",") for pair in match[1].split())
    return [(float(x), float(y)) for x, y in pairs]


def test_larger_values_are_further_right_and_higher() -> None:
    drawn = points(line_chart("a", Axes(x="x", y="y"), [Series(name="s", points=[(0, 0), (0.5, 1), (1, 1)])]))
    assert drawn[0][0] < drawn[1][0] < drawn[2][0]
    assert drawn[0][1] > drawn[1][1] == drawn[2][1]


def test_on_a_logarithmic_axis_equal_ratios_are_equally_far_apart() -> None:
    axes = Axes(x="k", y="y", x_range=(1, 100), x_ticks=(1, 10, 100), x_logarithmic=True)
    drawn = points(line_chart("a", axes, [Series(name="s", points=[(1, 0), (10, 0), (100, 0)])]))
    assert abs((drawn[1][0] - drawn[0][0]) - (drawn[2][0] - drawn[1][0])) < 0.2


def test_names_are_text_and_the_chart_is_well_formed() -> None:
    svg = line_chart("<b>&", Axes(x="<x>", y="&"), [Series(name="<script>", points=[(0, 1)], dots=True)])
    root = ElementTree.fromstring(svg)  # noqa: S314 - made two lines above
    assert "<script>" not in svg
    assert root.attrib["aria-label"] == "<b>&"
