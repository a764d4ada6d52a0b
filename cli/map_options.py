"""The options of omop-emb map that say which columns are read and which files are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from omop_emb.mapping.file_job import Outputs
    from omop_emb.mapping.files import ReadOptions

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FILE = click.Path(dir_okay=False, path_type=Path)

_OUTPUT = (
    click.option(
        "-o",
        "--output",
        required=True,
        help="What is written: .usagi.csv for Usagi, else a table as .csv, .tsv or .parquet; - is stdout.",
    ),
    click.option("--candidates-output", type=_FILE, help="All candidates with their scores, one a row."),
    click.option("--review-queue", type=_FILE, help="What is to be reviewed, most valuable first."),
    click.option("--map-file", type=_FILE, help="source_to_concept_map of CDM 5.4 as a file."),
    click.option(
        "--map-schema",
        is_flag=False,
        flag_value="omop_emb",
        metavar="SCHEMA",
        help="Fill this schema's source_to_concept_map; without a name omop_emb's own.",
    ),
    click.option("--source-vocabulary-id", help="Your own name for the codes in source_to_concept_map."),
    click.option("--unreviewed", is_flag=True, help="Put terms that nobody has reviewed there too."),
    click.option("--outdated", type=_FILE, help="Approved targets that no longer stand, and why."),
    click.option("--keep-run", is_flag=True, help="Keep every candidate in the database too."),
)
_INPUT = (
    click.option(
        "--name-column",
        "names",
        multiple=True,
        help="Column of the term; repeatable: each further one (a translation) is a query of its own.",
    ),
    click.option("--code-column", help="Column of the source code."),
    click.option("--frequency-column", help="Column that says how often a term occurs."),
    click.option("--domain-column", help="Column with the OMOP domain that the concept must be in."),
    click.option("--context-column", "context", multiple=True, help="Column that a judge sees; repeatable."),
    click.option(
        "--source-vocabulary", help="OMOP vocabulary that the codes are from; they are then looked up."
    ),
    click.option("--source-vocabulary-column", help="Column that names it row by row."),
    click.option("--encoding", help="Of a text file, such as cp1252; found if not given."),
    click.option("--separator", help="Of a text file; found if not given."),
    click.option("--sheet", help="Of an Excel workbook; the first if not given."),
)
_JUDGE = (
    click.option(
        "--judge",
        metavar="PROVIDER:MODEL",
        help="Ask ollama:…, gemini:… or openai:… about terms in review. It decides nothing.",
    ),
    click.option(
        "--judge-terms",
        default=1000,
        show_default=True,
        type=click.IntRange(min=1),
        help="Ask about so many terms at most, the most valuable ones.",
    ),
    click.option(
        "--judge-prices",
        type=(float, float),
        metavar="IN OUT",
        help="Prices of a million tokens in and out, to tell the cost before.",
    ),
    click.option("--yes", is_flag=True, help="Do not ask whether the judge's cost is all right."),
)


def _adding(options: Sequence[Callable[[Any], Any]]) -> Callable[[_Command], _Command]:
    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


output_options = _adding(_OUTPUT)
input_options = _adding(_INPUT)
judge_options = _adding(_JUDGE)


def reading(files: dict[str, Any]) -> ReadOptions:
    """How the input is read, of the values of input_options."""
    from omop_emb.mapping.files import Columns, ReadOptions

    columns = Columns(
        names=files["names"],
        code=files["code_column"],
        frequency=files["frequency_column"],
        domain=files["domain_column"],
        source_vocabulary=files["source_vocabulary_column"],
        context=files["context"],
    )
    separator = files["separator"]
    return ReadOptions(
        columns=columns,
        encoding=files["encoding"],
        separator="\t" if separator in ("\\t", "tab") else separator,
        sheet=files["sheet"],
        source_vocabulary=files["source_vocabulary"],
    )


def outputs(output: str, files: dict[str, Any]) -> Outputs:
    """What is written, of the values of output_options.

    Raises:
        click.UsageError: source_to_concept_map is asked for without a name for the codes, or the reverse.
    """
    from omop_emb.mapping.file_job import Outputs
    from omop_emb.mapping.files import MapSettings

    name, wanted = files["source_vocabulary_id"], files["map_file"] or files["map_schema"]
    if wanted and name is None:
        raise click.UsageError(
            "source_to_concept_map needs --source-vocabulary-id, a name of your own for the codes"
        )
    if name is not None and not wanted:
        raise click.UsageError("--source-vocabulary-id is for --map-file or --map-schema: give one of them")
    settings = None
    if name is not None:
        settings = MapSettings(source_vocabulary_id=name, unreviewed=files["unreviewed"])
    return Outputs(
        output=output,
        candidates=files["candidates_output"],
        review_queue=files["review_queue"],
        map_file=files["map_file"],
        map_schema=files["map_schema"],
        map_settings=settings,
        outdated=files["outdated"],
        keep_run=files["keep_run"],
    )
