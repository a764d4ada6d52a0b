"""Delimited text: the separator and rows of CSV and TSV; malformed rows are reported and skipped."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TextIO

SEPARATORS = (",", ";", "\t", "|")
# For a single column: a separator that no text contains, so that quoting still works.
NO_SEPARATOR = "\x1f"
_SAMPLE_ROWS = 200
_MOST, _FEW = 0.5, 0.2  # the share of rows that must be as wide as a header; few if it is a usual header
_TITLE_ROWS = 20  # a header is looked for in so many rows
_QUOTED_WORDS = re.compile(r'"[^"]*"(?: "[^"]*")+')  # a header as R's write.table writes it
_ESCAPED = re.compile(r'\\(["\\])')
MOST_CHARACTERS = 131_072  # of a value: the csv module's limit, and the one of all other formats
TOO_LONG = f"a value is longer than {MOST_CHARACTERS:,} characters"
MOST_LINE = 1 << 20  # characters of a line
LINE_TOO_LONG = f"a line is longer than {MOST_LINE:,} characters"
_CSV_ERRORS = {  # words of the csv module's message -> what it means
    "field larger": f"{TOO_LONG}; is a quote opened and never closed?",
    "unexpected end": "a quote is opened and never closed",
    "expected after": "a quote within a quoted value is not doubled",
}


@dataclass(frozen=True, slots=True)
class TextRow:
    """A row of a table.

    Attributes:
        line: where it begins, from 1; in Parquet files the row's number.
        values: as text.
        raw: its text in a delimited file.
        doubtful: values that are not what was once typed, by position: why.
    """

    line: int
    values: list[str]
    raw: str = ""
    doubtful: Mapping[int, str] = field(default_factory=dict)


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


def bounded_lines(text: TextIO) -> Iterator[str]:
    """The lines of a text with their ends; one that is too long is cut after MOST_LINE + 1 characters."""
    while line := text.readline(MOST_LINE + 1):
        yield line
        while len(line) > MOST_LINE and not line.endswith(("\n", "\r")):
            line = text.readline(MOST_LINE + 1) or "\n"


def first_lines(text: TextIO, count: int) -> list[str]:
    """The first lines of a text; fewer if they are long."""
    lines, characters = list[str](), 0
    for line in islice(bounded_lines(text), count):
        lines.append(line)
        characters += len(line)
        if characters > MOST_LINE:
            break
    return lines


def detect_separator(lines: Iterable[str], is_header: Callable[[Sequence[str]], bool] = any) -> str:
    r"""The separator of a delimited text: , ; tab | (in R also a space), or NO_SEPARATOR for a single column.

    The one that splits most of the first rows into as many values as the header has. Lines above the
    header, such as a title, are allowed if `is_header` knows the header.
    """
    sample = list(islice(lines, _SAMPLE_ROWS))
    separators = (*SEPARATORS, " ") if sample and _QUOTED_WORDS.fullmatch(sample[0].strip()) else SEPARATORS
    tables = {separator: [row.values for row in read_rows(sample, separator)] for separator in separators}
    for tops in (1, _TITLE_ROWS):
        best, best_score = NO_SEPARATOR, (0.0, 0)
        for separator, rows in tables.items():
            score = max(
                (_score(rows[top:], is_header, top) for top in range(min(tops, len(rows)))), default=(0.0, 0)
            )
            if score > best_score and not _is_prose(rows, separator, is_header):
                best, best_score = separator, score
        if best != NO_SEPARATOR:
            return best
    return NO_SEPARATOR


def _score(
    rows: Sequence[Sequence[str]], is_header: Callable[[Sequence[str]], bool], top: int
) -> tuple[float, int]:
    """The share of rows as wide as the first, and their width; R writes one value more, a row's name."""
    is_known, body = is_header(rows[0]), rows[1:]
    width = used_width(rows[0])
    if width < 2 or (top and not is_known):
        return 0.0, 0
    as_wide = sum(used_width(row) <= width <= len(row) for row in body)
    wider = sum(len(row) == width + 1 for row in body)
    share = round(max(as_wide, wider) / len(body), 2) if body else 1.0
    return (share, width) if share >= (_FEW if is_known else _MOST) else (0.0, 0)


def used_width(row: Sequence[str]) -> int:
    """The number of values of a row without its empty end."""
    return max((position for position, value in enumerate(row, start=1) if value.strip()), default=0)


def _is_prose(
    rows: Sequence[Sequence[str]], separator: str, is_header: Callable[[Sequence[str]], bool]
) -> bool:
    """Whether it is a list of phrases such as "Pain, chest": a space after each sign, and no header."""
    if separator not in ",;" or is_header(rows[0]):
        return False
    return all(value.startswith(" ") for row in rows for value in row[1:])


def read_rows(
    lines: Iterable[str],
    separator: str,
    report: Callable[[Problem], object] = lambda _problem: None,
    *,
    only_rfc4180: bool = False,
) -> Iterator[TextRow]:
    r"""The rows of a delimited text without blank lines and malformed rows; the latter are reported.

    Quotes within quotes are doubled or have a backslash. In text separated by tabs, as databases write it,
    a quote may be a plain character. After a malformed row, reading continues at the next line, so that a
    quote that is never closed costs one row and not the rest of the file. A value has at most
    MOST_CHARACTERS, a line MOST_LINE; what bounded_lines() has cut is reported.
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
                is_cut = len(feed.row_lines[0]) > MOST_LINE
                others = None if only_rfc4180 or is_cut else _read_otherwise(feed, separator)
                if others is None:
                    report(Problem(feed.first_line, _explain(str(error))))
                    feed.push_back(1)
                    break
                values, restart = others, True
            else:
                restart = separator == "\t" and _are_rows(feed.row_lines, len(values))
                if restart:
                    values = _plain_values(feed.row_lines[0], separator)
                    feed.push_back(1)
            if len(values) > 1 or (values and values[0].strip()):
                yield TextRow(feed.first_line, values, feed.raw)
            if restart:
                break


def _read_otherwise(feed: _LineFeed, separator: str) -> list[str] | None:
    """The values of a row that is malformed by RFC 4180; lines that do not belong to it are pushed back."""
    if '\\"' in feed.row_lines[0]:
        first_lines = list(feed.row_lines)
        doubled = (_ESCAPED.sub(_doubled, line) for line in chain(first_lines, feed))
        try:
            values = next(counted := csv.reader(doubled, delimiter=separator, strict=True))
        except (csv.Error, StopIteration):
            pass
        else:
            feed.push_back(counted.line_num)
            return values
    if separator in ("\t", NO_SEPARATOR):
        values = _plain_values(feed.row_lines[0], separator)
        feed.push_back(1)
        return values
    return None


def _doubled(match: re.Match[str]) -> str:
    return '""' if match[1] == '"' else "\\"


def _plain_values(line: str, separator: str) -> list[str]:
    return line.rstrip("\r\n").split(separator)


def _are_rows(lines: Sequence[str], width: int) -> bool:
    """Whether what a quote has joined are rows of their own, in a file whose quotes are plain characters."""
    return len(lines) > 1 and all(line.count("\t") == width - 1 for line in lines)


def _explain(error: str) -> str:
    return next((reason for words, reason in _CSV_ERRORS.items() if words in error), error)


class _LineFeed:
    """Lines for the csv module, which knows the current row's lines and can push them back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._pushed_back: list[str] = []
        self.row_lines: list[str] = []
        self._line = 0
        self.first_line = 1

    def __iter__(self) -> _LineFeed:
        return self

    def __next__(self) -> str:
        line = self._pushed_back.pop() if self._pushed_back else next(self._lines)
        self._line += 1
        self.row_lines.append(line)
        if len(line) > MOST_LINE:
            raise csv.Error(LINE_TOO_LONG)
        return line.replace("\0", "")

    @property
    def raw(self) -> str:
        return "".join(self.row_lines)

    def begin_row(self) -> None:
        self.row_lines.clear()
        self.first_line = self._line + 1

    def push_back(self, count: int) -> None:
        """Keep the first lines of the current row, and read the others again."""
        again = self.row_lines[count:]
        del self.row_lines[count:]
        self._line -= len(again)
        self._pushed_back.extend(reversed(again))
