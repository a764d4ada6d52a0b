"""Evaluation report: one self-contained HTML page, and the same data as JSON."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from omop_emb.errors import InputError
from omop_emb.mapping.evaluation.charts import Axes, Series, line_chart
from omop_emb.mapping.evaluation.comparison import Difference, GoldKey
from omop_emb.mapping.evaluation.metrics import MetricValue
from omop_emb.mapping.evaluation.outcomes import RANKINGS, TermOutcome
from omop_emb.mapping.records import Provenance
from omop_emb.safe_files.atomic_file import atomic_write

PAGE, DATA = "report.html", "report.json"
_MAX_MISSES = 8  # per domain
_CUTOFFS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1040px;margin:2em auto;padding:0 1em;color:#1b1b1b}
h1{font-size:1.6em}h2{margin-top:2em;border-bottom:1px solid #ccc}table{border-collapse:collapse;margin:1em 0}
td,th{padding:.2em .7em;text-align:left;border-bottom:1px solid #e4e4e4;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.small{color:#666;font-size:.85em}
.charts{display:flex;flex-wrap:wrap;gap:1em}.charts figure{flex:1 1 440px;margin:0}
svg{width:100%;font:12px system-ui,sans-serif}.grid{stroke:#e4e4e4}.diagonal{stroke:#999;stroke-dasharray:4}
"""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The content of a report."""

    title: str  # what was measured, such as the name of the gold file
    outcomes: Sequence[TermOutcome]
    metrics: Sequence[MetricValue]
    provenance: Provenance
    left_out: int = 0  # number of terms whose concepts lead to no standard concept
    notes: Sequence[str] = ()  # what the reader should know
    against: str = ""  # name of the earlier evaluation that this one is compared with; "" for none
    differences: Sequence[Difference] = ()

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values, including the terms and their names."""
        return {
            "title": self.title,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "provenance": asdict(self.provenance),
            "left_out": self.left_out,
            "notes": list(self.notes),
            "metrics": [metric.to_row() for metric in self.metrics],
            "against": self.against,
            "differences": [asdict(difference) for difference in self.differences],
            "terms": [outcome.to_json() for outcome in self.outcomes],
        }


def write_report(evaluation: Evaluation, folder: Path) -> tuple[Path, Path]:
    """Write the page and the data into a folder, which is created if need be; returns their paths."""
    check_report_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    page, data = folder / PAGE, folder / DATA
    with atomic_write(page) as out:
        out.write(_html(evaluation).encode())
    with atomic_write(data) as out:
        out.write(json.dumps(evaluation.to_json(), ensure_ascii=False, indent=1).encode())
    return page, data


def check_report_folder(folder: Path) -> None:
    """Raise InputError if a report cannot be written into a folder, which need not exist."""
    above = next(one for one in (folder, *folder.resolve().parents) if one.exists())
    if not above.is_dir():
        raise InputError(f"{above} is a file: a report is a folder, give another name")


def read_ranks(report: Path) -> dict[GoldKey, int]:
    """The ranker's ranks of findable terms from an earlier report, or its folder, for compare_ranks()."""
    path = report / DATA if report.is_dir() else report
    try:
        terms = json.loads(path.read_text(encoding="utf-8"))["terms"]
        return {
            (term["source"], term["code"], term["name"]): term["ranks"]["ranker"]
            for term in terms
            if term["findable"]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not the {DATA} of omop-emb evaluate --report") from error


def _html(evaluation: Evaluation) -> str:
    """The page: metrics, charts, the comparison, and the worst misses of each domain."""
    outcomes = evaluation.outcomes
    findable = [outcome for outcome in outcomes if outcome.findable]
    created = datetime.datetime.now(datetime.UTC).strftime("%d %B %Y")
    provenance, title = evaluation.provenance, escape(f"Mapping evaluation: {evaluation.title}")
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>{title}</title><style>{_STYLE}</style>",
        f"<h1>{title}</h1>",
        f"<p>{created}: {len(outcomes):,} terms, {len(findable):,} of them with a match in the vocabulary; "
        f"{evaluation.left_out:,} left out because their concepts lead to no standard concept. Ranker "
        f"<b>{escape(provenance.ranker)}</b>, model {escape(provenance.model)}, vocabulary "
        f"{escape(provenance.releases)}. No term was found by its own source "
        "concept or its own approval. Intervals are 95 %, by bootstrap over terms.</p>",
        *(f"<p><b>{escape(note)}</b></p>" for note in evaluation.notes),
        "<h2>Metrics</h2>",
        *_metric_tables(evaluation.metrics),
        '<h2>Charts</h2><div class="charts">',
        *(f"<figure>{chart}</figure>" for chart in _charts(outcomes, findable)),
        "</div>",
    ]
    if evaluation.differences:
        parts += [
            f"<h2>Compared with {escape(evaluation.against)}</h2>",
            _differences(evaluation.differences),
        ]
    parts += ["<h2>Worst misses by domain</h2>", *_misses(findable), "</html>"]
    return "\n".join(parts)


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Iterable[int]) -> str:
    """An HTML table of cells that are HTML already; `numeric` columns are aligned to the right."""
    right = set(numeric)

    def line(tag: str, cells: Sequence[str]) -> str:
        opening = {True: f"<{tag} class='n'>", False: f"<{tag}>"}
        return "".join(f"{opening[n in right]}{cell}</{tag}>" for n, cell in enumerate(cells))

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f"<table><tr>{line('th', headers)}</tr>{body}</table>"


def _metric_tables(metrics: Sequence[MetricValue]) -> Iterable[str]:
    groups: dict[tuple[str, str], list[MetricValue]] = {}
    for metric in metrics:
        groups.setdefault((metric.by, metric.group), []).append(metric)
    for (by, group), own in groups.items():
        names = list(dict.fromkeys(metric.metric for metric in own if metric.ranking))
        rankings = list(dict.fromkeys(metric.ranking for metric in own if metric.ranking))
        cells = {(metric.ranking, metric.metric): _interval(metric) for metric in own}
        rows = [[ranking, *(cells.get((ranking, name), "") for name in names)] for ranking in rankings]
        others = "; ".join(
            f"{metric.metric} {metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"
            for metric in own
            if not metric.ranking
        )
        title, terms = f"{by}: {group}" if by else group, max(metric.terms for metric in own)
        yield f"<h3>{escape(title)} <span class='small'>{terms:,} terms</span></h3>"
        yield _table(["", *map(escape, names)], rows, numeric=range(1, len(names) + 1))
        yield f"<p>{escape(others)}</p>" if others else ""


def _interval(metric: MetricValue) -> str:
    return f"{metric.value:.3f}<br><span class='small'>{metric.low:.3f} to {metric.high:.3f}</span>"


def _charts(outcomes: Sequence[TermOutcome], findable: Sequence[TermOutcome]) -> Iterable[str]:
    if findable:
        yield _recall_chart(findable)
    if outcomes and all(outcome.probability is not None for outcome in outcomes):
        probability = np.array([outcome.probability for outcome in outcomes], np.float64)
        correct = np.array([outcome.correct for outcome in outcomes], np.float64)
        order = np.argsort(probability, kind="stable")
        parts = [part for part in np.array_split(order, 15) if len(part)]
        points = [(float(probability[part].mean()), float(correct[part].mean())) for part in parts]
        axes = Axes(x="predicted probability", y="share that was correct", diagonal=True)
        yield line_chart("Reliability", axes, [Series(name="15 equal parts", points=points, dots=True)])
        share = np.cumsum(correct[order[::-1]]) / np.arange(1, len(correct) + 1)
        counts = np.unique(np.linspace(0, len(correct) - 1, 80).astype(int)) + 1
        points = [(count / len(correct), float(share[count - 1])) for count in counts]
        axes = Axes(x="coverage: most probable terms first", y="precision")
        yield line_chart("Precision against coverage", axes, [Series(name="first candidate", points=points)])


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


def _differences(differences: Sequence[Difference]) -> str:
    rows = []
    for d in differences:
        interval, certain = f"{d.low:+.3f} to {d.high:+.3f}", "yes" if d.is_certain else "no"
        rows.append([escape(d.metric), f"{d.value:+.3f}", interval, str(d.better), str(d.worse), certain])
    headers = ["ranker", "difference", "95 %", "better", "worse", "certain"]
    terms = differences[0].terms
    return (
        _table(headers, rows, numeric=range(1, 5))
        + f"<p class='small'>Paired, on the {terms:,} terms in both evaluations.</p>"
    )


def _misses(findable: Sequence[TermOutcome]) -> Iterable[str]:
    domains: dict[str, list[TermOutcome]] = {}
    for outcome in findable:
        if not outcome.correct:
            domains.setdefault(outcome.domain, []).append(outcome)
    for domain, misses in sorted(domains.items()):
        # The most probable misses first, then those whose target was found, at the better rank first.
        misses.sort(key=lambda o: (-(o.probability or 0), o.ranks["ranker"] or 10**6, o.gold.term.name))
        rows = [
            [
                escape(miss.gold.term.name),
                escape(miss.first[1] if miss.first else "nothing"),
                escape("; ".join(miss.expected[:3])),
                str(miss.ranks["ranker"] or "none"),
                "" if miss.probability is None else f"{miss.probability:.2f}",
            ]
            for miss in misses[:_MAX_MISSES]
        ]
        headers = ["term", "first candidate", "chosen by people", "its rank", "probability"]
        yield f"<h3>{escape(domain)} <span class='small'>{len(misses):,} misses</span></h3>"
        yield _table(headers, rows, numeric=(3, 4))
