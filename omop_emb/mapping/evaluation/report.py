"""The report of an evaluation: one HTML page that needs nothing else, and the same as JSON."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from omop_emb.atomic_file import atomic_write
from omop_emb.errors import InputError
from omop_emb.mapping.evaluation.charts import Axes, Series, line_chart
from omop_emb.mapping.evaluation.comparison import Difference, Key
from omop_emb.mapping.evaluation.metrics import Figure
from omop_emb.mapping.evaluation.outcomes import RANKINGS, Outcome
from omop_emb.mapping.records import Provenance

PAGE, DATA = "report.html", "report.json"
_MISSES = 8

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
    """Everything that a report tells.

    Attributes:
        title: what was measured, such as the name of the gold file.
        outcomes, figures: see evaluation.py and figures.py.
        provenance: what mapped.
        left_out: terms whose concepts lead to nothing standard.
        notes: what a reader must know.
        against: name of the evaluation that this is compared with; "" for none.
        differences: from it.
    """

    title: str
    outcomes: Sequence[Outcome]
    figures: Sequence[Figure]
    provenance: Provenance
    left_out: int = 0
    notes: Sequence[str] = ()
    against: str = ""
    differences: Sequence[Difference] = ()

    def to_json(self) -> dict[str, Any]:
        """All of it, as plain values; the terms with their names are in it."""
        return {
            "title": self.title,
            "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "provenance": asdict(self.provenance),
            "left_out": self.left_out,
            "notes": list(self.notes),
            "figures": [figure.to_row() for figure in self.figures],
            "against": self.against,
            "differences": [asdict(difference) for difference in self.differences],
            "terms": [outcome.to_json() for outcome in self.outcomes],
        }


def write_report(evaluation: Evaluation, folder: Path) -> tuple[Path, Path]:
    """Write the page and the data into a folder, which is made if need be; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    page, data = folder / PAGE, folder / DATA
    with atomic_write(page) as out:
        out.write(html(evaluation).encode())
    with atomic_write(data) as out:
        out.write(json.dumps(evaluation.to_json(), ensure_ascii=False, indent=1).encode())
    return page, data


def read_ranks(report: Path) -> dict[Key, int]:
    """Rank of each findable term from an earlier report's JSON (or the folder of one), for compare().

    Raises:
        InputError: it is no report of ours.
    """
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


def html(evaluation: Evaluation) -> str:
    """The page: figures, curves, the comparison, and the worst misses of each domain."""
    outcomes = evaluation.outcomes
    findable = [outcome for outcome in outcomes if outcome.findable]
    made = datetime.datetime.now(datetime.UTC).strftime("%d %B %Y")
    where = evaluation.provenance
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>Mapping measured: {escape(evaluation.title)}</title><style>{_STYLE}</style>",
        f"<h1>Mapping measured: {escape(evaluation.title)}</h1>",
        f"<p>{made}: {len(outcomes):,} terms, {len(findable):,} of them with a match in the vocabulary; "
        f"{evaluation.left_out:,} left out because their concepts lead to nothing standard. Ranker "
        f"<b>{escape(where.ranker)}</b>, model {escape(where.model)}, vocabulary "
        f"{escape(where.vocabulary or 'without a release name')}. No term was found by its own source "
        "concept or its own approval. Intervals are 95 %, by bootstrap over terms.</p>",
        *(f"<p><b>{escape(note)}</b></p>" for note in evaluation.notes),
        "<h2>Figures</h2>",
        _figure_table(evaluation.figures),
        '<h2>Curves</h2><div class="charts">',
        *(f"<figure>{chart}</figure>" for chart in _charts(outcomes, findable)),
        "</div>",
    ]
    if evaluation.differences:
        parts += [f"<h2>Against {escape(evaluation.against)}</h2>", _differences(evaluation.differences)]
    parts += ["<h2>Worst misses by domain</h2>", _misses(findable), "</html>"]
    return "\n".join(parts)


def _figure_table(figures: Sequence[Figure]) -> str:
    groups: dict[tuple[str, str], list[Figure]] = {}
    for figure in figures:
        groups.setdefault((figure.by, figure.group), []).append(figure)
    parts = []
    for (by, group), own in groups.items():
        metrics = list(dict.fromkeys(figure.metric for figure in own if figure.ranking))
        rankings = list(dict.fromkeys(figure.ranking for figure in own if figure.ranking))
        cells = {(figure.ranking, figure.metric): figure for figure in own}
        title = f"{by}: {group}" if by else group
        largest = max(figure.terms for figure in own)
        head = "".join(f"<th class='n'>{escape(metric)}</th>" for metric in metrics)
        rows = [
            f"<tr><td>{ranking}</td>{''.join(_cell(cells.get((ranking, m))) for m in metrics)}</tr>"
            for ranking in rankings
        ]
        others = "; ".join(
            f"{figure.metric} {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
            for figure in own
            if not figure.ranking
        )
        heading = f"<h3>{escape(title)} <span class='small'>{largest:,} terms</span></h3>"
        table = f"<table><tr><th></th>{head}</tr>{''.join(rows)}</table>"
        parts.append(heading + table + (f"<p>{escape(others)}</p>" if others else ""))
    return "\n".join(parts)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "<td></td>"
    interval = f"{figure.low:.3f} to {figure.high:.3f}"
    return f"<td class='n'>{figure.value:.3f}<br><span class='small'>{interval}</span></td>"


def _charts(outcomes: Sequence[Outcome], findable: Sequence[Outcome]) -> Iterable[str]:
    cuts = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)
    if findable:
        series = []
        for ranking in RANKINGS:
            ranks = np.array([outcome.ranks[ranking] for outcome in findable])
            if ranks.any():
                points = [(float(cut), float(((ranks > 0) & (ranks <= cut)).mean())) for cut in cuts]
                series.append(Series(name=ranking, points=points))
        axes = Axes(
            x="first k candidates",
            y="recall at k",
            x_range=(1, 50),
            x_ticks=(1, 2, 5, 10, 20, 50),
            x_logarithmic=True,
        )
        yield line_chart("Recall by number of candidates", axes, series)
    if outcomes and all(outcome.probability is not None for outcome in outcomes):
        probability = np.array([outcome.probability for outcome in outcomes], np.float64)
        right = np.array([outcome.right for outcome in outcomes], np.float64)
        order = np.argsort(probability, kind="stable")
        parts = [part for part in np.array_split(order, 15) if len(part)]
        points = [(float(probability[part].mean()), float(right[part].mean())) for part in parts]
        axes = Axes(x="probability that was said", y="share that was right", diagonal=True)
        yield line_chart("Reliability", axes, [Series(name="15 equal parts", points=points, dots=True)])
        share = np.cumsum(right[order[::-1]]) / np.arange(1, len(right) + 1)
        places = np.unique(np.linspace(0, len(right) - 1, 80).astype(int))
        points = [((place + 1) / len(right), float(share[place])) for place in places]
        axes = Axes(x="coverage: most probable terms first", y="precision")
        yield line_chart("Precision against coverage", axes, [Series(name="first candidate", points=points)])


def _differences(differences: Sequence[Difference]) -> str:
    rows = "".join(
        f"<tr><td>{escape(d.metric)}</td><td class='n'>{d.value:+.3f}</td>"
        f"<td class='n'>{d.low:+.3f} to {d.high:+.3f}</td><td class='n'>{d.better}</td>"
        f"<td class='n'>{d.worse}</td><td>{'yes' if d.is_certain else 'no'}</td></tr>"
        for d in differences
    )
    return (
        "<table><tr><th>ranker</th><th class='n'>difference</th><th class='n'>95 %</th>"
        "<th class='n'>better</th><th class='n'>worse</th><th>certain</th></tr>" + rows + "</table>"
        f"<p class='small'>Paired, on the {differences[0].terms:,} terms that both measured.</p>"
    )


def _misses(findable: Sequence[Outcome]) -> str:
    domains: dict[str, list[Outcome]] = {}
    for outcome in findable:
        if not outcome.right:
            domains.setdefault(outcome.domain, []).append(outcome)
    parts = []
    for domain in sorted(domains):
        # the surest misses first, then those that were not found at all
        worst = sorted(
            domains[domain],
            key=lambda o: (-(o.probability or 0), o.ranks["ranker"] or 10**6, o.gold.term.name),
        )[:_MISSES]
        rows = "".join(
            f"<tr><td>{escape(o.gold.term.name)}</td><td>{escape(o.first[1] if o.first else 'nothing')}</td>"
            f"<td>{escape('; '.join(o.expected[:3]))}</td><td class='n'>{o.ranks['ranker'] or 'none'}</td>"
            f"<td class='n'>{'' if o.probability is None else f'{o.probability:.2f}'}</td></tr>"
            for o in worst
        )
        parts.append(
            f"<h3>{escape(domain)} <span class='small'>{len(domains[domain]):,} misses</span></h3>"
            "<table><tr><th>term</th><th>first candidate</th><th>chosen by people</th>"
            f"<th class='n'>its rank</th><th class='n'>probability</th></tr>{rows}</table>"
        )
    return "\n".join(parts)
