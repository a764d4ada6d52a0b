"""Output of commands: data on stdout as a table, JSON, CSV or TSV, messages on stderr."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

Row = Mapping[str, Any]
_Command = TypeVar("_Command", bound=Callable[..., Any])


def format_option(command: _Command) -> _Command:
    """Add --format to a command that prints data."""
    return click.option(
        "--format",
        "format_",
        type=click.Choice(("table", "json", "csv", "tsv")),
        default="table",
        help="Format of the data on stdout.",
    )(command)


def render(rows: Iterable[Row], columns: Sequence[str], format_: str) -> None:
    """Write rows to stdout, columns in the given order; a missing or None value is empty (JSON: null)."""
    if format_ == "json":
        plain = [{column: row.get(column) for column in columns} for row in rows]
        click.echo(json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False))
    elif format_ == "table":
        _print_table(rows, columns)
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
    lines = [
        {"property": name.replace("_", " "), "value": value}
        for name, value in record.items()
        if value is not None
    ]
    render(lines, ("property", "value"), format_)


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


def _print_table(rows: Iterable[Row], columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        # Piped, a table is as wide as its contents: nothing is cut off.
        console.width = 10_000
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_plain(row.get(column))) for column in columns))
    console.print(table)
