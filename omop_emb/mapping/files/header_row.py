"""Header rows: where the header of a table is, below what titles, or that there is none."""

from __future__ import annotations

from collections.abc import Sequence

from omop_emb.errors import InputError
from omop_emb.mapping.files.columns import Columns, has_name_column, header_key, is_heading
from omop_emb.mapping.files.delimited import TextRow, used_width
from omop_emb.mapping.files.read_options import ReadOptions

LINE_OF_NO_HEADER = 0
_ROWS_SEARCHED = 25
# What pandas and R call the numbers of rows that they write as a first column; "column 1" has no header.
_ROW_NUMBERS = frozenset({"column 1", "Unnamed: 0", "__index_level_0__", "...1", "rownames"})


def find_header(rows: Sequence[TextRow], options: ReadOptions, file_name: str) -> int:
    """The position of the header among the first rows; -1 if the file has none, and its first row is data.

    A header below titles is taken only if it has a usual header of terms, or one that was asked for, and
    more values than any row above it. A list of one column has a header only if it reads like one.

    Raises:
        InputError: there is no row in the line that the options name.
    """
    if options.header_row is not None:
        if options.header_row == LINE_OF_NO_HEADER:
            return -1
        for position, row in enumerate(rows):
            if row.line == options.header_row:
                return position
        raise InputError(f"{file_name} has no row in line {options.header_row}: give another --header-row")
    most = 0
    for position, row in enumerate(rows[:_ROWS_SEARCHED]):
        filled = sum(bool(value.strip()) for value in row.values)
        if filled > max(most, 1) and knows_header(row.values, options.columns):
            return position
        most = max(most, filled)
    is_list = all(len(row.values) == 1 for row in rows)
    asked = options.columns.names or options.columns.template is not None
    if is_list and not asked and not is_heading(rows[0].values[0]):
        return -1
    return 0


def knows_header(values: Sequence[str], columns: Columns) -> bool:
    """Whether a row of several values has the columns that were asked for, or else a usual one of terms."""
    if columns.names:
        keys = {header_key(value) for value in values}
        return all(name in values or header_key(name) in keys for name in columns.names)
    return has_name_column(values)


def fit_header(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A header as wide as the rows of text below it: programs write one more or fewer separators."""
    fitted, width = list(header), len(header)
    longer = sum(len(row) == width + 1 and bool(row[-1].strip()) for row in body)
    if body and longer > 0.8 * len(body):
        return ["", *fitted]  # R's write.table gives the names of rows no header
    used = max((used_width(row) for row in body), default=width)
    while len(fitted) > max(used, 1) and not fitted[-1].strip():
        fitted.pop()
    return fitted


def has_row_numbers(headers: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether the first of several columns only numbers the rows, as pandas and R write them."""
    if len(headers) < 2 or headers[0] not in _ROW_NUMBERS:
        return False
    return all(row[0].strip().removesuffix(".0").isdecimal() for row in body if row)
