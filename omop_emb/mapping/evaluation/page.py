"""Evaluation page: figures, charts and misses in one HTML file, each explained in words."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from html import escape

from omop_emb.mapping.evaluation.comparison import Difference
from omop_emb.mapping.evaluation.evaluation_record import Evaluation
from omop_emb.mapping.evaluation.judge_gain import JudgeEvaluation
from omop_emb.mapping.evaluation.metrics import MetricValue
from omop_emb.mapping.evaluation.outcome_charts import outcome_charts
from omop_emb.mapping.evaluation.outcomes import TermOutcome
from omop_emb.records import counted

_FIRST_MISSES = 20  # per domain; the others are shown at a click
_MOST_MISSES = 2_000  # per domain, so that a browser opens the page at once
_STYLE = """
:root{color-scheme:light dark;--text:#1b1b1b;--faint:#5c5c5c;--line:#ddd;--page:#fff;--link:#0057a8}
@media(prefers-color-scheme:dark){:root{--text:#e8e8e8;--faint:#a8a8a8;--line:#444;--page:#16181c;--link:#8ab8ff}}
body{font:16px/1.5 system-ui,sans-serif;max-width:1040px;margin:1.5em auto;padding:0 1em;color:var(--text);
background:var(--page);overflow-wrap:anywhere}a{color:var(--link)}h1{font-size:1.5em}
h2{margin-top:2em;border-bottom:1px solid var(--line)}.wide{overflow-x:auto;overflow-wrap:normal}
table{border-collapse:collapse;margin:.5em 0}summary{cursor:pointer;color:var(--link);margin:.5em 0}
td,th{padding:.25em .7em .25em 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.small{color:var(--faint);font-size:.85em}
.charts{display:flex;flex-wrap:wrap;gap:1.5em}figure{flex:0 1 480px;margin:0}
figcaption{font-size:.9em}svg{width:100%;font:14px system-ui,sans-serif;fill:var(--text)}
.grid{stroke:var(--line)}.diagonal{stroke:var(--faint);stroke-dasharray:4}
dt{font-weight:600}dd{margin:0 0 .5em}
"""
_WORDS = (
    ("recall@k", "Share of the terms with a match whose chosen concept is among the first k candidates."),
    ("MRR", "Mean of 1 / rank of the chosen concept: 1 if it is always first, 0.5 if it is always second."),
    (
        "accuracy",
        "Share of all terms that are answered correctly: the chosen concept first, or no match if there "
        "is none.",
    ),
    (
        "calibration error",
        "How far probabilities are from the truth on average: at 0.05, about 85 to 95 % of the terms "
        "with a probability of 0.90 are right. Smaller is better.",
    ),
    (
        "coverage at 0.95",
        "Largest share of terms that could be accepted without review, most probable first, so that 95 % of "
        "them are right on these terms.",
    ),
    (
        "exact, dense, lexical, memory",
        "Each way of finding candidates on its own: equal names, vectors, words, approvals.",
    ),
    ("fusion, ranker", "All of them together: added up, and ranked as omop-emb map does it."),
    (
        "trivial, hard",
        "Trivial terms have the same words and signs as a name of the concept; any method finds those.",
    ),
    (
        "0.81 to 0.87",
        "95 % interval, from a bootstrap over terms: how far the figure could differ for other terms of "
        "this kind. Two figures whose intervals overlap may be equal.",
    ),
)  # fmt: skip


def page_html(evaluation: Evaluation, data: str) -> str:
    """The page; `data` is the name of the file beside it with every term."""
    title = escape(f"Mapping evaluation: {evaluation.title}")
    findable = [outcome for outcome in evaluation.outcomes if outcome.findable]
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1>",
        *_summary(evaluation, findable),
        *(f"<p><b>{escape(note)}</b></p>" for note in evaluation.notes),
        '<h2>Charts</h2><div class="charts">',
        *(
            f"<figure>{chart}<figcaption>{escape(words)}</figcaption></figure>"
            for chart, words in outcome_charts(evaluation.outcomes)
        ),
        "</div><h2>Figures</h2>",
        *_metric_tables(evaluation.metrics),
        "<details><summary>What the figures mean</summary><dl>",
        *(f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in _WORDS),
        "</dl></details>",
    ]
    if evaluation.differences:
        parts += [
            f"<h2>Compared with {escape(evaluation.against)}</h2>",
            _differences(evaluation.differences),
        ]
    if evaluation.judge is not None:
        parts += [f"<h2>With judge {escape(evaluation.judge.judge)}</h2>", _judge(evaluation.judge)]
    parts += ["<h2>Misses by domain</h2>", *_misses(findable, data), "</body></html>"]
    return "\n".join(parts)


def _summary(evaluation: Evaluation, findable: Sequence[TermOutcome]) -> Iterable[str]:
    outcomes, provenance = evaluation.outcomes, evaluation.provenance
    ranks = [outcome.ranks["ranker"] for outcome in findable]
    if ranks:
        first, ten = (sum(0 < rank <= k for rank in ranks) for k in (1, 10))
        yield (
            f"<p><b>{first / len(ranks):.0%} of the terms with a match have the right concept first, "
            f"{ten / len(ranks):.0%} among the first ten.</b></p>"
        )
    created = datetime.datetime.now(datetime.UTC)
    left_out = f", {evaluation.left_out:,} left out because their concepts lead to no standard concept"
    yield (
        f"<p>{created.day} {created:%B %Y}. Terms: {len(outcomes):,}, with a match in the vocabulary: "
        f"{len(findable):,}{left_out if evaluation.left_out else ''}. Ranker {escape(provenance.ranker)}, "
        f"model {escape(provenance.model)}, vocabulary {escape(provenance.releases)}. No term was found by "
        "its own source concept or its own approval.</p>"
    )


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Iterable[int]) -> str:
    """An HTML table of cells that are HTML already; `numeric` columns are aligned to the right."""
    right = set(numeric)

    def line(tag: str, cells: Sequence[str]) -> str:
        opening = {True: f"<{tag} class='n'>", False: f"<{tag}>"}
        return "".join(f"{opening[n in right]}{cell}</{tag}>" for n, cell in enumerate(cells))

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f"<div class='wide'><table><tr>{line('th', headers)}</tr>{body}</table></div>"


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
        yield f"<h3>{escape(title)} <span class='small'>terms: {terms:,}</span></h3>"
        yield _table(["", *map(escape, names)], rows, numeric=range(1, len(names) + 1))
        yield f"<p>{escape(others)}</p>" if others else ""


def _interval(metric: MetricValue) -> str:
    return f"{metric.value:.3f}<br><span class='small'>{metric.low:.3f} to {metric.high:.3f}</span>"


def _differences(differences: Sequence[Difference]) -> str:
    rows = []
    for d in differences:
        interval, certain = f"{d.low:+.3f} to {d.high:+.3f}", "yes" if d.is_certain else "no"
        rows.append([escape(d.metric), f"{d.value:+.3f}", interval, str(d.better), str(d.worse), certain])
    headers = ["ranker", "difference", "95 %", "better", "worse", "certain"]
    return (
        "<p>Term by term, on the terms in both evaluations ("
        + f"{differences[0].terms:,}). A difference is more than chance if its interval excludes 0; "
        "better and worse are numbers of terms.</p>" + _table(headers, rows, numeric=range(1, 5))
    )


def _judge(judge: JudgeEvaluation) -> str:
    rows = [
        [
            escape(gain.group), escape(gain.order), f"{gain.before:.3f}", f"{gain.after:.3f}",
            f"{gain.difference:+.3f}", f"{gain.low:+.3f} to {gain.high:+.3f}", str(gain.better),
            str(gain.worse), str(gain.terms),
        ]
        for gain in judge.gains
    ]  # fmt: skip
    headers = ["terms", "order", "before", "after", "difference", "95 %", "better", "worse", "count"]
    return (
        f"<p>It answered about {judge.answered:,} of {counted(judge.asked, 'term')}, {judge.right:,} rightly "
        f"({escape(judge.cost)}). Recall@1, paired term by term.</p>"
        + "".join(f"<p>{escape(note)}</p>" for note in judge.notes)
        + _table(headers, rows, numeric=range(2, len(headers)))
    )


def _misses(findable: Sequence[TermOutcome], data: str) -> Iterable[str]:
    yield (
        "<p>Terms with a match whose first candidate is not what people chose, starting with those that "
        "omop-emb was most confident about. The rank is that of the chosen concept; none means that it is "
        "not a candidate. In some cases people chose another concept for the same thing. "
        f'<a href="{escape(data)}">{escape(data)}</a>, beside this page, has every term.</p>'
    )
    domains: dict[str, list[TermOutcome]] = {}
    for outcome in findable:
        if not outcome.correct:
            domains.setdefault(outcome.domain, []).append(outcome)
    if not domains:
        yield "<p>There is none.</p>"
    for domain, misses in sorted(domains.items()):
        # The most probable misses first, then those whose target was found, at the better rank first.
        misses.sort(key=lambda o: (-(o.probability or 0), o.ranks["ranker"] or 10**6, o.gold.term.name))
        yield f"<h3>{escape(domain)} <span class='small'>misses: {len(misses):,}</span></h3>"
        yield _miss_table(misses[:_FIRST_MISSES])
        if further := misses[_FIRST_MISSES:_MOST_MISSES]:
            yield f"<details><summary>Further misses: {len(further):,}</summary>"
            yield _miss_table(further)
            if len(misses) > _MOST_MISSES:
                yield f"<p>{escape(data)} has the other {len(misses) - _MOST_MISSES:,}.</p>"
            yield "</details>"


def _miss_table(misses: Sequence[TermOutcome]) -> str:
    rows = [
        [
            escape(miss.gold.term.name),
            escape(miss.first[1] if miss.first else "nothing"),
            escape("; ".join(miss.expected[:3])),
            str(miss.ranks["ranker"] or "none"),
            "" if miss.probability is None else f"{miss.probability:.2f}",
        ]
        for miss in misses
    ]
    return _table(
        ["term", "first candidate", "chosen by people", "its rank", "probability"], rows, numeric=(3, 4)
    )
