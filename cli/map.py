"""omop-emb map: a file of source terms in, standard concepts with probabilities and reasons out."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import click

from .render import say


@click.command("map")
@click.argument("input", metavar="INPUT")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="What is written: .usagi.csv for Usagi, else .csv, .tsv or .parquet.",
)
@click.option(
    "--candidates-output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="All candidates with their scores, one a row, to this file too.",
)
@click.option(
    "--review-queue",
    type=click.Path(dir_okay=False, path_type=Path),
    help="What is to be reviewed, most valuable first, to this file too.",
)
@click.option("--name-column", "names", multiple=True, help="Column of the term; several may be given.")
@click.option("--code-column", help="Column of the source code.")
@click.option("--frequency-column", help="Column that says how often a term occurs.")
@click.option("--domain-column", help="Column with the OMOP domain that the concept must be in.")
@click.option("--source-vocabulary", help="OMOP vocabulary that the codes are from; they are then looked up.")
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="Candidates per term.")
@click.option("--site", default="default", show_default=True, help="Whose approvals and ranker are used.")
@click.option("--accept-precision", type=float, help="Accept where the precision is at least this.")
@click.option("--accept-untrained", is_flag=True, help="Accept without approvals of your own.")
@click.option("--explain", default=0, show_default=True, help="Candidates whose features are listed.")
@click.option(
    "--batch-size", default=1000, show_default=True, type=click.IntRange(min=1), help="Terms at once."
)
def command(
    input: str,
    output: Path,
    candidates_output: Path | None,
    review_queue: Path | None,
    names: tuple[str, ...],
    code_column: str | None,
    frequency_column: str | None,
    domain_column: str | None,
    source_vocabulary: str | None,
    k: int,
    site: str,
    accept_precision: float | None,
    accept_untrained: bool,
    explain: int,
    batch_size: int,
) -> int:
    """Map the terms of a file; INPUT is CSV, TSV, Excel, Parquet or Usagi's CSV, - is stdin.

    \b
    omop-emb map terms.csv -o mapped.csv
    omop-emb map terms.csv -o mapped.usagi.csv --review-queue review.csv
    omop-emb map codes.xlsx -o mapped.csv --source-vocabulary ICD10CM
    """
    from omop_emb.database import session_scope
    from omop_emb.mapping.decision import Policy
    from omop_emb.mapping.engine import Settings
    from omop_emb.mapping.files.candidates import candidate_columns, candidate_rows, term_columns, term_row
    from omop_emb.mapping.files.columns import Columns
    from omop_emb.mapping.files.review_queue import ReviewQueueWriter
    from omop_emb.mapping.files.table_out import TableWriter
    from omop_emb.mapping.files.terms import ReadOptions, open_terms
    from omop_emb.mapping.files.usagi_out import UsagiWriter
    from omop_emb.mapping.pipeline import Mapper

    policy = Policy(accept_precision=accept_precision, accept_untrained=accept_untrained)
    settings = Settings(candidates=k, explain=explain, policy=policy)
    columns = Columns(names=names, code=code_column, frequency=frequency_column, domain=domain_column)
    options = ReadOptions(columns=columns, source_vocabulary=source_vocabulary)
    with open_terms(input, options, stdin=sys.stdin.buffer) as file, ExitStack() as stack:
        for note in file.notes:
            say(note)
        roles = {*file.columns.names[:1], file.columns.code, file.columns.frequency}
        extras = tuple(header for header in file.headers if header not in roles)
        with session_scope() as session:
            mapper = Mapper(session, site=site, settings=settings)
        for note in mapper.notes:
            say(note)
        usagi = file.usagi is not None or output.name.endswith(".usagi.csv")
        writer: UsagiWriter | TableWriter
        if usagi:
            writer = UsagiWriter(output, original=file.usagi, extra_headers=() if file.usagi else extras)
        else:
            writer = TableWriter(output, term_columns(extras))
        stack.enter_context(writer)
        listed = TableWriter(candidates_output, candidate_columns(extras)) if candidates_output else None
        queue = ReviewQueueWriter(review_queue, extra_headers=extras) if review_queue else None
        for opened in (listed, queue):
            if opened is not None:
                stack.enter_context(opened)
        count = 0
        for mapped in mapper.map(file, batch_size=batch_size):
            count += 1
            if isinstance(writer, UsagiWriter):
                writer.write(mapped)
            else:
                writer.write(term_row(mapped))
            if listed is not None:
                for row in candidate_rows(mapped):
                    listed.write(row)
            if queue is not None:
                queue.write(mapped)
        problems = [*file.problems, *(writer.problems if isinstance(writer, UsagiWriter) else [])]
    for problem in problems:
        say(f"line {problem.line}: {problem.reason}; kept out")
    say(f"{count:,} terms mapped to {output}, {len(problems):,} rows kept out")
    return 3 if problems else 0
