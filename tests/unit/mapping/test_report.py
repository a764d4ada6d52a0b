"""The evaluation's page: readable anywhere, explained in words, with every miss."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.evaluation.evaluation_record import Evaluation
from omop_emb.mapping.evaluation.gold import GoldTerm
from omop_emb.mapping.evaluation.metrics import compute_metrics
from omop_emb.mapping.evaluation.outcome_charts import precision_points
from omop_emb.mapping.evaluation.outcomes import RANKINGS, TermOutcome
from omop_emb.mapping.evaluation.page import page_html
from omop_emb.mapping.evaluation.report import check_report_folder, write_report
from omop_emb.mapping.records import Provenance, SourceTerm


def outcome(number: int, *, right: bool, probability: float | None = 0.5, name: str = "") -> TermOutcome:
    term = SourceTerm(name=name or f"term {number}", code=str(number))
    return TermOutcome(
        gold=GoldTerm(term=term, targets=frozenset({1}), source="a"),
        findable=True,
        trivial=False,
        domain="Drug",
        ranks=dict.fromkeys(RANKINGS, 1 if right else 2),
        probability=probability,
        first=(2, "first <b>", "Drug"),
        expected=("chosen & right",),
    )


def evaluated(outcomes: list[TermOutcome]) -> Evaluation:
    provenance = Provenance(
        space_id=1,
        model="local:m",
        fingerprint="f",
        vocabulary="v1",
        ranker="shipped",
        calibrated=True,
        accept_precision=None,
        accept_untrained=False,
        version="1",
    )
    return Evaluation(
        title="gold <1>.csv", outcomes=outcomes, metrics=compute_metrics(outcomes), provenance=provenance
    )


def page(outcomes: list[TermOutcome]) -> str:
    return page_html(evaluated(outcomes), "report.json")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]


def test_the_page_needs_no_other_file_and_fits_a_telephone_and_a_dark_screen() -> None:
    html = page([outcome(n, right=n % 3 > 0, probability=n / 60) for n in range(60)])
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    assert "prefers-color-scheme:dark" in html
    parsed = _Tags()
    parsed.feed(html)
    assert set(parsed.links) == {"report.json"}
    assert not {"script", "link", "img", "iframe"} & set(parsed.tags)
    assert parsed.tags.count("svg") == parsed.tags.count("figcaption") == 3
    assert html.count("<div class='wide'><table>") == html.count("<table>") > 0


@pytest.mark.parametrize(
    "word",
    ["recall@k", "MRR", "accuracy", "calibration error", "coverage at 0.95", "ranker", "trivial, hard"],
)
def test_each_figure_is_explained_in_words(word: str) -> None:
    assert f"<dt>{word}" in page([outcome(1, right=True)]) or f", {word}</dt>" in page(
        [outcome(1, right=True)]
    )


def test_every_miss_is_on_the_page_those_first_of_which_it_was_surest() -> None:
    html = page([outcome(n, right=False, probability=n / 100) for n in range(70)] + [outcome(99, right=True)])
    names = re.findall(r"<td>(term \d+)</td>", html)
    assert names == [f"term {n}" for n in range(69, -1, -1)]
    assert "Further misses: 50" in html


def test_many_misses_do_not_make_a_page_that_no_browser_opens() -> None:
    html = page([outcome(n, right=False) for n in range(2_500)])
    assert len(re.findall(r"<td>term \d+</td>", html)) == 2_000
    assert "report.json has the other 500" in html


def test_names_are_text() -> None:
    html = page([outcome(1, right=False, name="<script>alert(1)</script>")])
    assert "<script" not in html
    assert "first &lt;b&gt;" in html
    assert "gold &lt;1&gt;.csv" in html


def test_without_probabilities_and_misses_the_page_is_whole() -> None:
    html = page([outcome(1, right=True, probability=None)])
    assert html.count("<svg") == 1
    assert "There is none." in html


@pytest.mark.parametrize("first_is_right", [0.0, 1.0])
def test_the_precision_curve_begins_where_ten_terms_are_covered(first_is_right: float) -> None:
    probability = np.linspace(1, 0, 100)
    correct = np.ones(100)
    correct[0] = first_is_right
    points = precision_points(probability, correct)
    assert points[0] == (0.1, 0.9 if first_is_right == 0 else 1.0)
    assert points[-1][0] == 1.0


def test_terms_of_equal_probability_are_accepted_together() -> None:
    points = precision_points(np.full(40, 0.5), np.repeat([1.0, 0.0], 20))
    assert points == [(1.0, 0.5)]


def test_few_terms_have_a_curve_too() -> None:
    assert precision_points(np.array([0.9, 0.1]), np.array([1.0, 0.0])) == [(1.0, 0.5)]


def test_a_report_cannot_take_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(InputError, match="is a file, but a report is a folder"):
            check_report_folder(folder)
    written, data = write_report(evaluated([outcome(1, right=True)]), str(tmp_path / "new" / "folder"))
    assert written.is_file()
    assert data.is_file()
