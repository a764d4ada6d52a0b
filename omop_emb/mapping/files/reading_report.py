"""Reading reports: what was understood of a file, in a few lines for the user and as values for reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omop_emb.mapping.files.delimited import NO_SEPARATOR, Problem
from omop_emb.mapping.files.file_format import FileKind
from omop_emb.mapping.files.header_row import LINE_OF_NO_HEADER
from omop_emb.mapping.files.name_template import NameTemplate
from omop_emb.mapping.files.problem_list import ProblemList
from omop_emb.mapping.files.term_file import TermFile
from omop_emb.records import counted

_LISTED_PROBLEMS = 5
_SEPARATOR_NAMES = {"\t": "tab", " ": "space", NO_SEPARATOR: "none, one term a line"}
_SPOKEN = {
    ",": "comma",
    ";": "semicolon",
    "|": "pipe",
}  # in a sentence


def reading_values(file: TermFile) -> dict[str, Any]:
    """What was understood: container, encoding, separator, sheet, header, columns by role, others."""
    table, columns = file.table, file.columns
    template = columns.template
    parts = template.headers if isinstance(template, NameTemplate) else ()
    roles = {
        "term": list(dict.fromkeys((*parts, *columns.names))),
        "code": columns.code,
        "frequency": columns.frequency,
        "domain": columns.domain,
        "source vocabulary": columns.source_vocabulary,
        "context": list(columns.context),
        "files": list(columns.files),
    }
    used = {
        *parts,
        *columns.names,
        *columns.context,
        *columns.files,
        *(name for name in roles.values() if isinstance(name, str)),
    }
    separator = table.separator
    return {
        "file": Path(file.source.name).name,
        "container": table.kind.value + (" with Usagi's columns" if file.kind is FileKind.USAGI else ""),
        "encoding": None if table.encoding is None else table.encoding.name,
        "separator": separator if separator is None else _SEPARATOR_NAMES.get(separator, separator),
        "sheet": table.sheet,
        "header_line": table.header_line,
        "columns": {role: name for role, name in roles.items() if name},
        "other_columns": [name for name in file.headers if name not in used],
    }


def reading_lines(file: TermFile) -> Iterator[str]:
    """What was understood, as two lines; then what the user should check."""
    values = reading_values(file)
    details = [values["container"]]
    spoken = values | {"separator": _SPOKEN.get(values["separator"], values["separator"])}
    details += (f"{name} {spoken[name]}" for name in ("encoding", "separator", "sheet") if spoken[name])
    line = values["header_line"]
    is_first_of_list = line == LINE_OF_NO_HEADER and file.table.kind is not FileKind.PARQUET
    details.append("no header, the first row is a term" if is_first_of_list else f"header in line {line}")
    if file.table.kind is FileKind.PARQUET:
        details.pop()
    yield f"{values['file']}: {', '.join(details)}"
    roles = "; ".join(
        f"{role}: {name if isinstance(name, str) else ', '.join(name)}"
        for role, name in values["columns"].items()
    )
    others: Sequence[str] = values["other_columns"]
    yield f"columns: {roles}" + (f"; others: {', '.join(others)}" if others else "")
    yield from file.notes


def count_lines(file: TermFile) -> Iterator[str]:
    """After reading: how many terms, how many rows were left out, what was not used, what was put right."""
    name = Path(file.source.name).name
    left_out = f"{counted(file.problems.total, 'row')} left out" if file.problems else "no row left out"
    yield f"{name}: {counted(file.terms_read, 'term')}, {left_out}"
    yield from first_problems(file.dropped_values, "such values")
    if file.repaired:
        names = counted(
            file.repaired, "name was encoded twice and has been", "names were encoded twice and have been"
        )
        yield f"{names} repaired: check the accented letters"


def first_problems(problems: Sequence[Problem], what: str = "such rows") -> Iterator[str]:
    """A line for each of the first problems, then how many more there are."""
    yield from map(str, problems[:_LISTED_PROBLEMS])
    total = problems.total if isinstance(problems, ProblemList) else len(problems)
    if total > _LISTED_PROBLEMS:
        yield f"{total - _LISTED_PROBLEMS:,} more {what}"
