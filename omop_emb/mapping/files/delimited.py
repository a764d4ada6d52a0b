"""Delimited text: the separator and rows of CSV and TSV; malformed rows are reported and skipped."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

SEPARATORS = (",", ";", "\t", "|")
# For a single column: a separator that no text contains, so that quoting still works.
NO_SEPARATOR = "\x1f"
_SAMPLE_ROWS = 200
_CSV_ERRORS = {  # words of the csv module's message -> what it means
    "field larger": "a value is longer than 131,072 characters; is a quote opened and never closed?",
    "unexpected end": "a quote is opened and never closed",
    "expected after": "a quote within a quoted value is not doubled",
}


@dataclass(frozen=True, slots=True)
class TextRow:
    """A row's values as text, the line where it begins (from 1), and its text in the file."""

    line: int
    values: list[str]
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that is skipped, or a value that is not used, and why.

    Attributes:
        line: where the row begins, from 1; in Parquet files the row's number.
        reason: for a person; it never repeats the row's text.
    """

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


def detect_separator(lines: Iterable[str]) -> str:
    r"""The separator of a delimited text: , ; tab | or NO_SEPARATOR for a single column.

    The one that splits most of the first rows into as many values as the header has.
    """
    sample = list(islice(lines, _SAMPLE_ROWS))
    best, best_score = NO_SEPARATOR, (0.0, 0)
    for separator in SEPARATORS:
        rows = [row.values for row in read_rows(sample, separator) if row.values]
        if not rows or len(rows[0]) < 2:
            continue
        width = len(rows[0])
        body = rows[1:]
        agreeing = sum(len(row) == width for row in body) / len(body) if body else 1.0
        if (score := (round(agreeing, 2), width)) > best_score and agreeing >= 0.5:
            best, best_score = separator, score
    return best


def read_rows(
    lines: Iterable[str], separator: str, report: Callable[[Problem], object] = lambda _problem: None
) -> Iterator[TextRow]:
    """The rows of a delimited text without blank lines and malformed rows; the latter are reported.

    After a malformed row, reading continues at the next line, so that a quote that is never closed costs
    one row and not the rest of the file. A value has at most 131,072 characters, the csv module's limit.
    """
    feed = _LineFeed(lines)
    while True:
        reader = csv.reader(feed, delimiter=separator, strict=True)
        while True:
            feed.begin_row()
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                report(Problem(feed.first_line, _explain(str(error))))
                # Further lines that were read for this row may be good rows of their own.
                feed.push_back()
                break
            if len(values) > 1 or (values and values[0].strip()):
                yield TextRow(feed.first_line, values, feed.raw)


def _explain(error: str) -> str:
    return next((reason for words, reason in _CSV_ERRORS.items() if words in error), error)


class _LineFeed:
    """Lines for the csv module, which knows the current row's lines and can push them back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._pushed_back: list[str] = []
        self._row_lines: list[str] = []
        self._line = 0
        self.first_line = 1

    def __iter__(self) -> _LineFeed:
        return self

    def __next__(self) -> str:
        line = self._pushed_back.pop() if self._pushed_back else next(self._lines)
        self._line += 1
        self._row_lines.append(line)
        return line

    @property
    def raw(self) -> str:
        return "".join(self._row_lines)

    def begin_row(self) -> None:
        self._row_lines.clear()
        self.first_line = self._line + 1

    def push_back(self) -> None:
        """Read the current row's lines again, except the first."""
        again = self._row_lines[1:]
        self._line -= len(again)
        self._pushed_back.extend(reversed(again))
