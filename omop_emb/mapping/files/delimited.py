"""Rows of a CSV or TSV file: the separator found, malformed rows reported by line and skipped."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

SEPARATORS = (",", ";", "\t", "|")
# A file with one column: a separator that no text contains, so that quoting still works.
NO_SEPARATOR = "\x1f"
_SAMPLE_ROWS = 200


@dataclass(frozen=True, slots=True)
class TextRow:
    """A row's values as text, the line on which it begins (counted from 1), and its text in the file."""

    line: int
    values: list[str]
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that is kept out, or a value that was left alone, and why.

    Attributes:
        line: where the row begins, counted from 1; in Parquet files the number of the row.
        reason: for a person; it never repeats the row's text.
    """

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


def detect_separator(lines: Iterable[str]) -> str:
    r"""The separator of a delimited text, one of , ; tab | or NO_SEPARATOR for a single column.

    It is the one that splits most of the first rows into as many values as the header has.
    """
    sample = list(islice(lines, _SAMPLE_ROWS))
    best, best_score = NO_SEPARATOR, (0.0, 0)
    for separator in SEPARATORS:
        rows = [row.values for row in read_rows(sample, separator, _ignore) if row.values]
        if not rows or len(rows[0]) < 2:
            continue
        width = len(rows[0])
        body = rows[1:]
        agreeing = sum(len(row) == width for row in body) / len(body) if body else 1.0
        if (score := (round(agreeing, 2), width)) > best_score and agreeing >= 0.5:
            best, best_score = separator, score
    return best


def read_rows(lines: Iterable[str], separator: str, report: Callable[[Problem], None]) -> Iterator[TextRow]:
    """The rows of a delimited text; blank lines are left out, malformed rows reported and left out.

    After a malformed row reading goes on at the next line, so that a quote which is opened and never
    closed costs one row and not the rest of the file. A value is at most as long as the csv module
    allows (131,072 characters).
    """
    feed = _Feed(lines)
    while True:
        reader = csv.reader(feed, delimiter=separator, strict=True)
        while True:
            feed.begin()
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                report(Problem(feed.first, _explain(str(error), feed)))
                # The rest of the lines that were taken for this row may be good rows of their own.
                feed.give_back()
                break
            if len(values) > 1 or (values and values[0].strip()):
                yield TextRow(feed.first, values, feed.raw)


def _ignore(problem: Problem) -> None:
    """Detection looks at rows; reading reports them."""


def _explain(error: str, feed: _Feed) -> str:
    if "field larger" in error:
        return "a value is longer than 131,072 characters; is a quote opened and never closed?"
    if "unexpected end" in error:
        return "a quote is opened and never closed"
    if "expected after" in error:
        return "a quote within a quoted value is not doubled"
    return error


class _Feed:
    """Lines for the csv module, with the place of the present row, and able to take lines back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._waiting: list[str] = []
        self._held: list[str] = []
        self._line = 0
        self.first = 1

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._waiting.pop() if self._waiting else next(self._lines)
        self._line += 1
        self._held.append(line)
        return line

    @property
    def raw(self) -> str:
        """The present row's lines."""
        return "".join(self._held)

    def begin(self) -> None:
        """A new row begins with the next line."""
        self._held.clear()
        self.first = self._line + 1

    def give_back(self) -> None:
        """Hand out the present row's lines again, but for its first."""
        again = self._held[1:]
        self._line -= len(again)
        self._waiting.extend(reversed(again))
