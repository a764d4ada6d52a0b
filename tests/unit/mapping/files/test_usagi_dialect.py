"""Usagi's dialect, compared with Usagi's own reading and writing, reimplemented in Python."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, strategies as st

from omop_emb.mapping.files.usagi_dialect import (
    UsagiDialect,
    detect_dialect,
    join_line,
    join_rfc4180,
    split_line,
)

# Anything that a value may be, with more than chance of what bites.
VALUES = st.text(
    alphabet=st.one_of(
        st.sampled_from(list("\",\\\n; n'|\t")),
        st.characters(exclude_categories=["Cs"], exclude_characters="\r"),
    ),
    max_size=12,
)
ROWS = st.lists(VALUES, min_size=1, max_size=6)


def usagi_writes(columns: list[str]) -> str:
    """WriteCSVFile.columns2line, step by step."""
    written = []
    for column in columns:
        has_quotes = '"' in column
        column = re.sub(r"\\", lambda _: "\\\\", column)
        if has_quotes:
            column = re.sub('"', lambda _: '\\"', column)
        column = column.replace("\r", "").replace("\n", "\\n")
        written.append(f'"{column}"' if has_quotes or "," in column else column)
    return ",".join(written)


def usagi_reads(line: str) -> list[str]:
    """StringUtilities.safeSplit and ReadCSVFile.line2columns, step by step; it leaves a line break as \\n."""
    parts, literal, escape, start = [], False, False, 0
    for i, c in enumerate(line):
        if c == '"' and not escape:
            literal = not literal
        if not literal and c == "," and not escape:
            parts.append(line[start:i])
            start = i + 1
        escape = not escape if c == "\\" else False
    parts.append(line[start:])
    columns = []
    for column in parts:
        if column.startswith('"') and column.endswith('"') and len(column) > 1:
            column = column[1:-1]
        columns.append(column.replace('\\"', '"').replace("\\\\", "\\"))
    return columns


@given(ROWS)
@example(["a,b", 'c"d', "e\\", "\n", "\\n", '"', '\\"', "", '""', ",\\"])
def test_lines_are_written_as_usagi_writes_them(values: list[str]) -> None:
    assert join_line(values) == usagi_writes(values)


@given(ROWS)
@example(["\\", ",\\", '"\\', "\\\\n", "x"])
def test_written_lines_are_read_back(values: list[str]) -> None:
    line = join_line(values)
    assert "\n" not in line
    assert split_line(line) == values


@given(ROWS)
@example(['\\"', '"\\', "\\n"])
def test_usagi_reads_written_lines_except_for_line_breaks(values: list[str]) -> None:
    without_breaks = [value.replace("\n", " ") for value in values]
    assert usagi_reads(join_line(without_breaks)) == without_breaks


@given(st.text(alphabet='ab",\\n', max_size=30))
def test_lines_are_split_where_usagi_splits_them(line: str) -> None:
    assert len(split_line(line)) == len(usagi_reads(line))


@given(st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=1, max_size=5))
def test_a_file_that_usagi_wrote_is_recognised_whatever_is_in_it(rows: list[list[str]]) -> None:
    lines = [join_line(row) + "\n" for row in [["sourceCode", "sourceName", "comment"], *rows]]
    assert detect_dialect(lines) is UsagiDialect.USAGI


@pytest.mark.parametrize(
    "value", ['say "ah"', '5" tube', 'two\nlines, "quoted"', "a\\b", "C:\\temp", "ends with \\"]
)
def test_a_file_in_rfc_4180_is_recognised(value: str) -> None:
    rows = [["sourceCode", "sourceName", "comment"], ["1", "plain, with comma", ""], ["2", value, ""]]
    text = "".join(join_rfc4180(row) + "\r\n" for row in rows)
    assert detect_dialect(text.splitlines(keepends=True)) is UsagiDialect.RFC4180
