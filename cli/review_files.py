"""Files of a review, for `omop-emb review`: its exports, and what people filled in one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omop_emb.records import counted

from .render import echo

if TYPE_CHECKING:
    from omop_emb.service.review.exports import ExportReport

_SHOWN = 10  # lines of problems


def export(
    name: str, output: Path | None, schema: str | None, format_name: str, settings: Sequence[str]
) -> None:
    """Write a review to a file, or what was approved in it to a schema's source_to_concept_map."""
    from omop_emb.database import engine_scope
    from omop_emb.service.review.exports import export_file

    if (output is None) is (schema is None):
        raise click.UsageError("--export needs --output FILE, or --schema SCHEMA")
    options = dict(_parse_setting(one) for one in settings)
    if output is None:
        _fill_schema(name, schema or "", options)
        return
    with engine_scope() as engine:
        report = export_file(engine, name, output, format_name=format_name, options=options)
    _echo_report(report, output)


def _fill_schema(name: str, schema: str, options: dict[str, str]) -> None:
    from omop_emb.database import engine_scope
    from omop_emb.service.review.exports import fill_map_table, find_export, parse_options

    values = parse_options(find_export("source-to-concept-map"), options)
    with engine_scope() as engine:
        report = fill_map_table(engine, name, values, schema=schema)
    _echo_report(report, f"{schema}.source_to_concept_map")


def read_file_back(name: str, file: Path, reviewer: str) -> None:
    """Decide what people changed in an export of a review."""
    from omop_emb.database import engine_scope
    from omop_emb.service.review.answers import read_back

    with engine_scope() as engine:
        report = read_back(engine, name, file, reviewer)
    echo(f"{counted(report.decided, 'row')} of {report.rows:,} decided, {report.unchanged:,} unchanged")
    if report.repeated:
        echo(f"{counted(report.repeated, 'row was', 'rows were')} read back before")
    if report.conflict_count:
        lines = ", ".join(str(one.line) for one in report.conflicts[:_SHOWN])
        rows = counted(report.conflict_count, "row is", "rows are")
        echo(
            f"{rows} not stored, because their terms have been decided in the meantime (lines {lines}): "
            "see the review"
        )
    for problem in report.problems[:_SHOWN]:
        echo(str(problem))
    if report.problem_count > _SHOWN:
        echo(f"{counted(report.problem_count, 'row')} could not be used")
    for note in report.notes:
        echo(note)


def _echo_report(report: ExportReport, output: Path | str) -> None:
    echo(f"{counted(report.rows, 'row')} written to {'stdout' if str(output) == '-' else output}")
    for one in report.left_out:
        shown = f", such as {', '.join(one.examples)}" if one.examples else ""
        echo(f"{counted(one.count, 'term is', 'terms are')} not in it: {one.reason}{shown}")
    for note in report.notes:
        echo(note)


def _parse_setting(text: str) -> tuple[str, str]:
    option, sign, value = text.partition("=")
    if not sign:
        raise click.UsageError(f"--set takes OPTION=VALUE; found {text[:60]!r}")
    return option.strip(), value
