"""Output of commands: data on stdout as a table, JSON, CSV or TSV, messages on stderr."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import click

from .streams import write_utf8
from .suggestions import Choice
from .table import one_line, stacked_lines, table_lines

Row = Mapping[str, Any]
_Command = TypeVar("_Command", bound=Callable[..., Any])


def format_option(command: _Command) -> _Command:
    """Add --format to a command that prints data."""
    return click.option(
        "--format",
        "format_",
        type=Choice(("table", "json", "csv", "tsv")),
        default="table",
        help="Format of the data on stdout.",
    )(command)


def render(
    rows: Iterable[Row], columns: Sequence[str], format_: str, *, optional: Sequence[str] = ()
) -> None:
    """Write rows to stdout, columns in the given order; a missing or None value is empty (JSON: null).

    A table on a narrow terminal is without as many of the `optional` columns, the least important one
    first, as need be.
    """
    if format_ != "table":
        write_utf8()
    if format_ == "json":
        plain = [{column: row.get(column) for column in columns} for row in rows]
        click.echo(json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False))
    elif format_ == "table":
        _print_table(rows, columns, optional)
    else:
        dialect = "excel-tab" if format_ == "tsv" else "excel"
        writer = csv.writer(sys.stdout, dialect=dialect, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_plain(row.get(column)) for column in columns])


def render_record(record: Row, format_: str) -> None:
    """Write one record: as a table, a line for each value that is not None; otherwise as one row."""
    if format_ != "table":
        render([record], tuple(record), format_)
        return
    shown = {_header(name): one_line(_plain(value)) for name, value in record.items() if value is not None}
    for line in stacked_lines(tuple(shown), [tuple(shown.values())], terminal_width()):
        click.echo(line)


def echo(message: str) -> None:
    """Print a message to stderr."""
    click.echo(message, err=True)


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value)


def _print_table(rows: Iterable[Row], columns: Sequence[str], optional: Sequence[str]) -> None:
    width = terminal_width()
    lines, left_out = table_lines(
        [_header(column) for column in columns],
        [[one_line(_plain(row.get(column))) for column in columns] for row in rows],
        width,
        optional=[_header(column) for column in optional],
        emphasise=str if width is None else partial(click.style, bold=True),
    )
    for line in lines:
        click.echo(line)
    if left_out:
        echo(f"not shown: {', '.join(left_out)} (a wider window or --format csv shows all)")


def _header(column: str) -> str:
    return column.replace("_", " ")


def terminal_width() -> int | None:
    """Characters of a line; None if stdout is no terminal: piped, a table is as wide as its contents."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
