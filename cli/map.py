"""omop-emb map: a file of source terms in, standard concepts with probabilities and reasons out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omop_emb import config
from omop_emb.records import counted

from .map_options import (
    asking,
    judge_options,
    mapping_options,
    output_options,
    previous_options,
    translate_options,
)
from .options import also_space_option, option_group, site_option
from .progress import map_progress
from .reading_options import map_input_options
from .render import echo

if TYPE_CHECKING:
    from omop_emb.mapping import Settings
    from omop_emb.mapping.approvals import ApprovedColumns
    from omop_emb.mapping.file_job import FileJob, JobReport, Outputs
    from omop_emb.mapping.files import MapRowBuilder, ReadOptions
    from omop_emb.mapping.judge import JudgeJob, TranslationJob


_MOST_EXAMPLES = 5


def _one_blas_thread(command: Callable[..., int]) -> Callable[..., int]:
    """Limit numpy to one thread, before the values of the options import it."""

    @wraps(command)
    def run(**values: Any) -> int:
        config.one_blas_thread()
        return command(**values)

    return run


# Passes `running`, fields of an omop_emb.mapping.file_job.FileJob.
_running_options = option_group(
    "running",
    dict,
    click.option("--resume", is_flag=True, help="Continue an interrupted run with the same output."),
    click.option("--batch-size", default=150, type=click.IntRange(min=1), help="Terms per batch."),
)


@click.command("map")
@click.argument("input", metavar="INPUT")
@_one_blas_thread
@output_options
@map_input_options
@mapping_options
@site_option
@also_space_option
@click.option(
    "--shipped", is_flag=True, help="Use the shipped ranker even if the site has its own; its memory stays."
)
@previous_options
@translate_options
@judge_options
@click.option("--yes", is_flag=True, help="Do not ask about the cost of generative models.")
@_running_options
def command(
    input: str,
    outputs: Outputs,
    reading: ReadOptions,
    settings: Settings,
    site: str,
    also_spaces: tuple[str, ...] | None,
    shipped: bool,
    previous: tuple[Path | None, ApprovedColumns],
    translate: TranslationJob | None,
    judge: JudgeJob | None,
    yes: bool,
    running: dict[str, Any],
) -> int:
    """Map the terms of a file; INPUT is CSV, TSV, Excel, Parquet or Usagi's CSV, - is stdin.

    Nothing is accepted without review unless you ask for it. Rows that cannot be used are reported with their
    line and skipped; output files appear completely or not at all.

    \b
    omop-emb map terms.csv -o mapped.csv --review-queue review.csv
    omop-emb map terms.csv -o mapped.usagi.csv --name-column term_fi --name-column term_en
    omop-emb map codes.xlsx -o mapped.csv --source-vocabulary ICD10CM --accept-codes
    omop-emb map drugs.csv -o mapped.csv --domain Drug --vocabulary RxNorm,"RxNorm Extension"
    omop-emb map terms.csv -o new.usagi.csv --previous approved.usagi.csv --outdated outdated.csv
    omop-emb map terms.csv -o mapped.csv --map-file map.csv --source-vocabulary-id MY_LAB
    omop-emb map terms.csv -o mapped.csv --also-space multilingual
    omop-emb map terms.csv -o mapped.csv --translate ollama:llama3.1
    omop-emb map terms.csv -o mapped.csv --judge ollama:llama3.1 --judge-terms 200
    omop-emb map terms.csv -o mapped.csv --judge ollama:llama3.1 --judge-orders
    omop-emb map items.csv -o mapped.csv --part-column PAGE
    """
    from omop_emb.database import engine_scope
    from omop_emb.mapping.file_job import FileJob, run

    previous_file, previous_columns = previous
    if reading.columns.context and judge is None and translate is None:
        raise click.UsageError(
            "--context-column is for a generative model, and none is used: add --judge PROVIDER:MODEL or "
            "--translate PROVIDER:MODEL"
        )
    job = FileJob(
        input=input,
        reading=reading,
        outputs=outputs,
        settings=settings,
        site=site,
        shipped=shipped,
        also_spaces=also_spaces,
        previous=previous_file,
        previous_columns=previous_columns,
        translate=translate,
        judge=judge,
        **running,
    )
    with engine_scope() as engine, map_progress(in_lines=judge is not None) as on_progress:
        report = run(
            engine,
            job,
            on_message=echo,
            confirm=asking(is_asked=not yes),
            on_progress=on_progress,
            stdin=sys.stdin.buffer,
        )
    _echo_report(job, report)
    has_conflicts = report.map_rows is not None and report.map_rows.conflicting
    return 3 if report.problems or has_conflicts or report.failures else 0


def _echo_report(job: FileJob, report: JobReport) -> None:
    from omop_emb.mapping.files import first_problems

    for line in first_problems(report.problems):
        echo(line)
    decisions = ", ".join(f"{count:,} {decision.value}" for decision, count in report.decisions.items())
    echo(f"{counted(report.terms, 'term')} mapped to {job.outputs.output} ({decisions or 'none'})")
    if report.shift:
        echo(str(report.shift))
    for failure in report.failures:
        echo(f"warning: {failure}")
    if report.reused:
        echo(f"{counted(report.reused, 'of them keeps', 'of them keep')} an earlier approved mapping")
    if report.disagreeing:
        codes = counted(report.disagreeing, "code disagrees with its name", "codes disagree with their names")
        echo(f"{codes}: see the column disagrees")
    if report.unknown_codes:
        codes = counted(report.unknown_codes, "code does not exist in its", "codes do not exist in their")
        echo(f"{codes} vocabulary: see the column reason")
    if report.replaced_rows is not None:
        rows = report.replaced_rows
        echo(f"source_to_concept_map in {job.outputs.map_schema}: {counted(rows, 'earlier row')} replaced")
    if report.outdated:
        echo(
            f"{counted(report.outdated, 'term has', 'terms have')} a target that is not a valid standard "
            "concept in this vocabulary: see --outdated FILE, or the column outdated"
        )
    if report.map_rows is not None:
        _echo_map(report.map_rows)
    if report.run_id is not None:
        echo(f"every candidate is in omop_emb.mapping_result, run {report.run_id}")
    if report.problems:
        echo(f"{counted(report.problems.total, 'row was', 'rows were')} skipped")


def _echo_map(rows: MapRowBuilder) -> None:
    """What is not in source_to_concept_map; by code only, because names may be clinical text."""
    table = "source_to_concept_map"
    if rows.unreviewed:
        echo(
            f"{counted(rows.unreviewed, 'term needs review and is', 'terms need review and are')} not "
            f"in {table} "
            "(--unreviewed includes them)"
        )
    if rows.replaced:
        echo(
            f"{counted(rows.replaced, 'term is', 'terms are')} in {table} with what replaces a target "
            "that is no "
            "longer valid"
        )
    if rows.values:
        echo(
            f"targets that are values, units, operators, numbers or types: {rows.values:,} not in "
            f"{table}, which has no column for them: see value_concept_id and similar columns"
        )
    if rows.conflicting:
        echo(
            f"{counted(len(rows.conflicting), 'code is', 'codes are')} not in {table}, because their "
            f"names have different targets or one needs review: {_examples(rows.conflicting)}; --map-key "
            "code+name gives each name its own row"
        )
    if rows.only_case:
        echo(
            f"{counted(len(rows.only_case), 'code differs', 'codes differ')} only in case, which many "
            "databases ignore: "
            f"{_examples(rows.only_case)}"
        )


def _examples(codes: list[str]) -> str:
    shown = [code or "(no code)" for code in codes[:_MOST_EXAMPLES]]
    return ", ".join(shown) + (" …" if len(codes) > _MOST_EXAMPLES else "")
