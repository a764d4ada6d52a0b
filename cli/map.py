"""omop-emb map: a file of source terms in, standard concepts with probabilities and reasons out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .map_options import input_options, judge_options, output_options
from .progress import counting
from .render import echo

if TYPE_CHECKING:
    from omop_emb.mapping.file_job import FileJob, JobReport


@click.command("map")
@click.argument("input", metavar="INPUT")
@output_options
@input_options
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="Candidates per term.")
@click.option("--site", default="default", show_default=True, help="Whose approvals and ranker are used.")
@click.option("--accept-precision", type=float, help="Accept where the precision is at least this.")
@click.option("--accept-untrained", is_flag=True, help="Accept without approvals of your own.")
@click.option(
    "--accept-codes", is_flag=True, help="Accept what a code leads to, unless the name says otherwise."
)
@click.option(
    "--explain",
    default=0,
    metavar="N",
    help="Say for the first N candidates which features speak for and against them.",
)
@click.option(
    "--previous",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Approved mappings (Usagi's or source_to_concept_map): kept where their targets still stand.",
)
@judge_options
@click.option("--resume", is_flag=True, help="Go on with an interrupted run of the same output.")
@click.option(
    "--batch-size", default=150, show_default=True, type=click.IntRange(min=1), help="Terms at once."
)
def command(**options: Any) -> int:
    """Map the terms of a file; INPUT is CSV, TSV, Excel, Parquet or Usagi's CSV, - is stdin.

    Nothing is accepted without review unless it is asked for. Rows that cannot be used are told by line and
    kept out; outputs appear whole or not at all.

    \b
    omop-emb map terms.csv -o mapped.csv --review-queue review.csv
    omop-emb map terms.csv -o mapped.usagi.csv --name-column term_fi --name-column term_en
    omop-emb map codes.xlsx -o mapped.csv --source-vocabulary ICD10CM --accept-codes
    omop-emb map terms.csv -o new.usagi.csv --previous approved.usagi.csv --outdated outdated.csv
    omop-emb map terms.csv -o mapped.csv --map-file map.csv --source-vocabulary-id MY_LAB
    omop-emb map terms.csv -o mapped.csv --judge ollama:llama3.1 --judge-terms 200
    """
    from omop_emb import config

    config.one_blas_thread()
    from omop_emb import database_engine
    from omop_emb.mapping.file_job import run
    from omop_emb.mapping.retrieval import keep_freed_memory

    keep_freed_memory()
    yes = options.pop("yes")
    job = _job(**options)
    asks = sys.stdin.isatty() and not yes

    def confirm(question: str) -> bool:
        echo(question)
        return not asks or click.confirm("go on?", err=True)

    engine = database_engine()
    try:
        with counting("terms mapped", in_lines=job.judge is not None) as on_progress:
            report = run(
                engine,
                job,
                on_message=echo,
                confirm=confirm,
                on_progress=on_progress,
                stdin=sys.stdin.buffer,
            )
    finally:
        engine.dispose()
    _echo_report(job, report)
    return 3 if report.problems else 0


def _job(
    input: str,
    output: str,
    k: int,
    site: str,
    accept_precision: float | None,
    accept_untrained: bool,
    accept_codes: bool,
    explain: int,
    previous: Path | None,
    resume: bool,
    batch_size: int,
    judge: str | None,
    judge_terms: int,
    judge_prices: tuple[float, float] | None,
    **files: Any,
) -> FileJob:
    from omop_emb.mapping import Settings
    from omop_emb.mapping.file_job import FileJob
    from omop_emb.mapping.judge import JudgeJob
    from omop_emb.mapping.ranking import Policy
    from omop_emb.providers import make_chat_model

    from .map_options import outputs, reading

    if accept_untrained and accept_precision is None:
        raise click.UsageError("--accept-untrained does nothing without --accept-precision, such as 0.98")
    if files["outdated"] is not None and previous is None:
        raise click.UsageError("--outdated lists what --previous FILE has lost: give both")
    policy = Policy(accept_precision=accept_precision, accept_untrained=accept_untrained)
    asked = None
    if judge is not None:
        asked = JudgeJob(model=make_chat_model(judge), max_terms=judge_terms, prices=judge_prices)
    return FileJob(
        input=input,
        reading=reading(files),
        outputs=outputs(output, files),
        settings=Settings(candidates=k, explain=explain, accept_codes=accept_codes, policy=policy),
        site=site,
        previous=previous,
        judge=asked,
        resume=resume,
        batch_size=batch_size,
    )


def _echo_report(job: FileJob, report: JobReport) -> None:
    for problem in report.problems:
        echo(f"{problem}; skipped")
    decisions = ", ".join(f"{count:,} {decision.value}" for decision, count in report.decisions.items())
    echo(f"{report.terms:,} terms mapped to {job.outputs.output} ({decisions or 'none'})")
    if report.reused:
        echo(f"{report.reused:,} of them keep an earlier approved mapping")
    if report.disagreeing:
        echo(f"{report.disagreeing:,} codes disagree with their names: see the column disagrees")
    if report.replaced_rows is not None:
        rows = report.replaced_rows
        echo(f"source_to_concept_map in {job.outputs.map_schema}: {rows:,} earlier rows replaced")
    if report.unreviewed:
        echo(
            f"{report.unreviewed:,} terms need review and are not in source_to_concept_map "
            "(add --unreviewed to include them)"
        )
    if report.run_id is not None:
        echo(f"every candidate is in omop_emb.mapping_result, run {report.run_id}")
    if report.problems:
        echo(f"{len(report.problems):,} rows were skipped")
