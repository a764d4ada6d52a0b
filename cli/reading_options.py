"""The options of files of terms: which columns and sheets are read, and how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import FILE_OPTIONS, option_group

if TYPE_CHECKING:
    from omop_emb.mapping.files import ReadOptions


def _make_reading(
    encoding: str | None,
    separator: str | None,
    sheet: str | None,
    header_row: int | None,
    source_vocabulary: str | None,
    source_vocabulary_column: str | None,
    **columns: Any,
) -> ReadOptions:
    from omop_emb.mapping.files import Columns, ReadOptions

    return ReadOptions(
        columns=Columns(source_vocabulary=source_vocabulary_column, **columns),
        encoding=encoding,
        separator=separator,
        sheet=sheet,
        header_row=header_row,
        source_vocabulary=source_vocabulary,
    )


def _make_term_file(
    file: Path | None, names: str | None, template: str | None, **how: Any
) -> tuple[Path, ReadOptions] | None:
    from omop_emb.mapping.files import Columns, ReadOptions

    if file is None:
        given = {"--name-column": names, "--name-template": template}
        given |= {f"--{name.replace('_', '-')}": value for name, value in how.items()}
        if unused := [option for option, value in given.items() if value is not None]:
            raise click.UsageError(f"{unused[0]} says how --file is read: give --file FILE")
        return None
    columns = Columns(names=() if names is None else (names,), template=template)
    return file, ReadOptions(columns=columns, **how)


_TEMPLATE_OPTION = click.option(
    "--name-template",
    "template",
    metavar="TEMPLATE",
    help='Build the term from several columns, such as "{LABEL} in {FLUID}"; text around an empty column '
    "is left out.",
)

_INPUT_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--name-column",
        "names",
        multiple=True,
        help="Column with the term; repeatable: each additional one (a translation) is a separate query.",
    ),
    _TEMPLATE_OPTION,
    click.option("--code-column", "code", help="Column of the source code."),
    click.option("--frequency-column", "frequency", help="Column that says how often a term occurs."),
    click.option(
        "--domain-column", "domain", help="Column with the OMOP domain that the concept must be in."
    ),
    click.option(
        "--candidate-column",
        "suggestions",
        help="Column with concept ids to add as candidates; a person still decides.",
    ),
    click.option("--context-column", "context", multiple=True, help="Column that a judge sees; repeatable."),
    click.option("--unused-column", "unused", multiple=True, help="Column that has no role; repeatable."),
    click.option("--source-vocabulary", help="OMOP vocabulary in which to look up the source codes."),
    click.option("--source-vocabulary-column", help="Column of the source vocabulary."),
    *FILE_OPTIONS,
)

# Each passes `reading`, an omop_emb.mapping.files.ReadOptions.
input_options = option_group("reading", _make_reading, *_INPUT_OPTIONS)
map_input_options = option_group(
    "reading",
    _make_reading,
    *_INPUT_OPTIONS,
    click.option(
        "--part-column",
        "files",
        multiple=True,
        help="Column that names a file belonging to the term: an image, a PDF (file.pdf#page=N is one "
        "page) or a recording, in the input's folder or below. For models that read such files; "
        "repeatable.",
    ),
)

# Passes `term_file`, a path and an omop_emb.mapping.files.ReadOptions, or None.
term_file_options = option_group(
    "term_file",
    _make_term_file,
    click.option(
        "--file",
        "file",
        type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
        help="Terms from a file, as omop-emb map reads it: a list or a table (CSV, TSV, Excel, Parquet); "
        "- is stdin.",
    ),
    click.option("--name-column", "names", help="Column of the term in --file."),
    _TEMPLATE_OPTION,
    *FILE_OPTIONS,
)
