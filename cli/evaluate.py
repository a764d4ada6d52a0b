"""omop-emb evaluate: mapping quality on terms whose concepts are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omop_emb.records import counted

from .options import gold_options, site_option
from .render import echo, format_option, render

if TYPE_CHECKING:
    from omop_emb.mapping.approvals import ApprovedColumns

_COLUMNS = ("by", "group", "ranking", "metric", "value", "low", "high", "terms")
_OPTIONAL_COLUMNS = (
    *("recall@50", "recall@5", "coverage at 0.98", "calibration error", "coverage at 0.95", "accuracy"),
)
_WIDE_COLUMNS = (
    *("by", "group", "ranking", "terms", "recall@1", "recall@5", "recall@10", "recall@50", "MRR"),
    *("accuracy", "coverage at 0.95", "coverage at 0.98", "calibration error"),
)


@click.command("evaluate")
@click.argument("gold", nargs=-1, required=True, metavar="GOLD…")
@click.option("--by", metavar="NAMES", help="Also measure each domain, source or both (domain,source).")
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write report.html and report.json into this folder.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="REPORT",
    help="Compare with an earlier report of the same terms, pair by pair.",
)
@click.option("--space", metavar="NAME", help="The space to measure; by default the active one.")
@site_option
@click.option("--shipped", is_flag=True, help="Measure the shipped ranker even if the site has its own.")
@click.option("--no-memory", is_flag=True, help="Do not use the site's approved names.")
@click.option(
    "--without-rule", "rules", multiple=True, metavar="RULE", help="Do not use this rule; repeatable."
)
@click.option(
    "--no-match-below",
    default=0.0,
    type=click.FloatRange(0, 1),
    help="A first candidate with a lower probability counts as the answer no match.",
)
@gold_options
@format_option
def command(
    gold: tuple[str, ...],
    by: str | None,
    report: Path | None,
    against: Path | None,
    space: str | None,
    site: str,
    shipped: bool,
    no_memory: bool,
    rules: tuple[str, ...],
    no_match_below: float,
    columns: ApprovedColumns,
    format_: str,
) -> int:
    """Measure mapping on terms whose concepts are known; nothing is written to the database.

    GOLD is Usagi's file (its APPROVED rows), or a table with a column of concept ids, several separated by
    |. Its column reviewed (or --approved-column) says which rows a person approved; without one, every row
    counts, and an empty cell is no match. No term is found by its own source concept or approval.

    \b
    omop-emb evaluate approved.usagi.csv --by domain --report measured
    omop-emb evaluate approved.usagi.csv --space other --against measured
    """
    from omop_emb.database import session_scope
    from omop_emb.mapping import Settings
    from omop_emb.mapping.evaluation import EvaluationOptions, check_report_folder, measure, write_report
    from omop_emb.mapping.terms import RULES

    if unknown := sorted(set(rules) - set(RULES)):
        raise click.UsageError(f"there is no rule {unknown[0]!r}; the rules are {', '.join(RULES)}")
    options = EvaluationOptions(
        site=site,
        space=space,
        shipped=shipped,
        use_memory=not no_memory,
        by=tuple(part.strip() for part in (by or "").split(",") if part.strip()),
        no_match_below=no_match_below,
        against=against,
        settings=Settings(rules=tuple(rule for rule in RULES if rule not in rules)),
        columns=columns,
    )
    if report is not None:
        check_report_folder(report)
    with session_scope() as session:
        evaluation, problems = measure(session, gold, options)
    rows = [metric.to_row() for metric in evaluation.metrics]
    rows += [difference.to_row(f"against {evaluation.against}") for difference in evaluation.differences]
    for note in evaluation.notes:
        echo(note)
    if evaluation.left_out:
        terms = counted(evaluation.left_out, "term was left out: its", "terms were left out: their")
        echo(f"{terms} concepts lead to no standard concept here")
    for problem in problems:
        echo(f"{problem}; skipped")
    if report is not None:
        page, data = write_report(evaluation, report)
        echo(f"report: {page}, its data: {data}")
    if format_ == "table":
        render(_by_ranking(rows), _WIDE_COLUMNS, format_, optional=_OPTIONAL_COLUMNS)
    else:
        render(rows, _COLUMNS, format_)
    return 3 if problems else 0


def _by_ranking(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per ranking with all its metrics; the intervals are in the other formats."""
    wide: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        key = row["by"], row["group"], row["ranking"] or "probability"
        line = wide.setdefault(key, dict(zip(("by", "group", "ranking"), key, strict=True)))
        line[row["metric"]] = f"{row['value']:.3f}"
        line["terms"] = max(row["terms"], line.get("terms", 0))
    return list(wide.values())
