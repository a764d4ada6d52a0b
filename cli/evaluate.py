"""omop-emb evaluate: mapping quality on terms whose concepts are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omop_emb.records import counted

from .map_options import asking, judge_options, translate_options
from .options import also_space_option, gold_options, option_group, site_option
from .render import echo, format_option, render

if TYPE_CHECKING:
    from omop_emb.mapping.approvals import ApprovedColumns
    from omop_emb.mapping.evaluation import JudgeEvaluation
    from omop_emb.mapping.judge import JudgeJob, TranslationJob

_COLUMNS = ("by", "group", "ranking", "metric", "value", "low", "high", "terms")
_OPTIONAL_COLUMNS = (
    *("recall@50", "recall@5", "coverage at 0.98", "calibration error", "coverage at 0.95", "accuracy"),
)
_WIDE_COLUMNS = (
    *("by", "group", "ranking", "terms", "recall@1", "recall@5", "recall@10", "recall@50", "MRR"),
    *("accuracy", "coverage at 0.95", "coverage at 0.98", "calibration error"),
)


def _make_measured(
    space: str | None,
    also_spaces: tuple[str, ...] | None,
    site: str,
    shipped: bool,
    no_memory: bool,
    rules: tuple[str, ...],
) -> dict[str, Any]:
    from omop_emb.mapping import Settings
    from omop_emb.mapping.terms import RULES

    if unknown := sorted(set(rules) - set(RULES)):
        raise click.UsageError(f"there is no rule {unknown[0]!r}; the rules are {', '.join(RULES)}")
    return {
        "space": space,
        "also_spaces": also_spaces,
        "site": site,
        "shipped": shipped,
        "use_memory": not no_memory,
        "settings": Settings(rules=tuple(rule for rule in RULES if rule not in rules)),
    }


# Passes `measured`: what is measured, as values of an omop_emb.mapping.evaluation.EvaluationOptions.
_measured_options = option_group(
    "measured",
    _make_measured,
    click.option("--space", metavar="NAME", help="The space to measure; by default the active one."),
    also_space_option,
    site_option,
    click.option("--shipped", is_flag=True, help="Measure the shipped ranker even if the site has its own."),
    click.option("--no-memory", is_flag=True, help="Do not use the site's approved names."),
    click.option(
        "--without-rule",
        "rules",
        multiple=True,
        metavar="RULE",
        help="Do not use this rule for variants; repeatable.",
    ),
)


@click.command("evaluate")
@click.argument("gold", nargs=-1, required=True, metavar="GOLD…")
@judge_options
@click.option("--yes", is_flag=True, help="Do not ask about the cost of generative models.")
@click.option("--by", metavar="NAMES", help="Also measure each domain, each source, or both (domain,source).")
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write report.html and report.json to this folder.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="REPORT",
    help="Compare with an earlier report of the same terms, pair by pair.",
)
@_measured_options
@translate_options
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
    measured: dict[str, Any],
    translate: TranslationJob | None,
    judge: JudgeJob | None,
    yes: bool,
    no_match_below: float,
    columns: ApprovedColumns,
    format_: str,
) -> int:
    """Measure mapping on terms whose concepts are known; nothing is written to the database.

    GOLD is Usagi's file (its APPROVED rows), or a table with a column of concept ids, several separated by |.
    Its column reviewed (or --approved-column) says which rows a person approved; without one, every row
    counts, and an empty cell means no match. No term is found through its own source concept or approval.

    \b
    omop-emb evaluate approved.usagi.csv --by domain --report measured
    omop-emb evaluate approved.usagi.csv --space other --against measured
    omop-emb evaluate approved.usagi.csv --translate ollama:llama3.1 --against measured
    omop-emb evaluate approved.usagi.csv --judge ollama:llama3.1 --judge-terms 500
    """
    from omop_emb.database import waiting_session
    from omop_emb.mapping.evaluation import EvaluationOptions, check_report_folder, measure, write_report

    options = EvaluationOptions(
        **measured,
        translate=translate,
        judge=judge,
        by=tuple(part.strip() for part in (by or "").split(",") if part.strip()),
        no_match_below=no_match_below,
        against=against,
        columns=columns,
    )
    if report is not None:
        check_report_folder(report)
    with waiting_session() as session:
        evaluation, problems = measure(
            session, gold, options, on_message=echo, confirm=asking(is_asked=not yes)
        )
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
    if evaluation.judge is not None:
        _echo_judge(evaluation.judge)
    return 3 if problems or (judge is not None and not judge.estimate_only and not evaluation.judge) else 0


def _echo_judge(judge: JudgeEvaluation) -> None:
    """What the judge gains, as lines; the report has the same as a table."""
    asked = counted(judge.asked, "term")
    echo(f"{judge.judge} answered about {judge.answered:,} of {asked}, {judge.right:,} rightly")
    for note in judge.notes:
        echo(note)
    for gain in judge.gains:
        echo(
            f"{gain.group}, {gain.order}: recall@1 {gain.before:.3f} before, {gain.after:.3f} after "
            f"({gain.difference:+.3f}, 95 % {gain.low:+.3f} to {gain.high:+.3f}; {gain.better:,} better, "
            f"{gain.worse:,} worse of {counted(gain.terms, 'term')} with a match)"
        )


def _by_ranking(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per ranking with all its metrics; the intervals are in the other formats."""
    wide: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        key = row["by"], row["group"], row["ranking"] or "probability"
        line = wide.setdefault(key, dict(zip(("by", "group", "ranking"), key, strict=True)))
        line[row["metric"]] = f"{row['value']:.3f}"
        line["terms"] = max(row["terms"], line.get("terms", 0))
    return list(wide.values())
