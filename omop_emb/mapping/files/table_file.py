"""Table files: the header and rows of a CSV, TSV, Excel or Parquet file, and how they were found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TextIO

from omop_emb.errors import InputError
from omop_emb.mapping.files.columns import unique_headers
from omop_emb.mapping.files.delimited import (
    NO_SEPARATOR,
    SEPARATORS,
    Problem,
    TextRow,
    bounded_lines,
    detect_separator,
    first_lines,
    read_rows,
)
from omop_emb.mapping.files.encoding import Encoding, detect_encoding, open_text
from omop_emb.mapping.files.file_format import FileKind, detect_format
from omop_emb.mapping.files.formula_text import APOSTROPHE, as_meant
from omop_emb.mapping.files.header_row import (
    LINE_OF_NO_HEADER,
    find_header,
    fit_header,
    has_row_numbers,
    knows_header,
)
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.parquet_rows import parquet_rows
from omop_emb.mapping.files.read_options import ReadOptions
from omop_emb.mapping.files.sheets import excel_rows, worksheets
from omop_emb.mapping.files.usagi_dialect import split_line
from omop_emb.mapping.files.usagi_values import REQUIRED

_SAMPLE_LINES = 2_000
_SAMPLE_ROWS = 200
_LONGEST_HEADER = 1 << 20
_MOST_COLUMNS = 16_384  # as in Excel
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel names the separator so


class TableFile:
    """A table in a file.

    Attributes:
        kind: the file's format; text is DELIMITED, whatever its columns.
        source: its bytes.
        encoding: of text, None for others.
        separator: of text, None for others; NO_SEPARATOR for a single column.
        sheet: of a workbook, None for others.
        header_line: line or row of the header, from 1; LINE_OF_NO_HEADER if there is none.
        headers: of all columns, made unique.
        is_usagi_csv: whether Usagi wrote it: read it with UsagiFile.
        row_numbers: the header of a first column that only numbers the rows, None if there is none.
        notes: what the user should know about how it was read.

    Raises:
        InputError: it cannot be read, or an option can do nothing with it.
    """

    def __init__(self, source: InputFile, options: ReadOptions) -> None:
        self.source, self._options = source, options
        self.notes: list[str] = []
        self.encoding: Encoding | None = None
        self.separator: str | None = None
        self.sheet: str | None = None
        self.row_numbers: str | None = None
        self.headers: Sequence[str]
        self.is_usagi_csv = False
        self._has_apostrophes = False  # before cells that a spreadsheet would calculate
        self._first_line, self._header_values = 1, list[str]()
        self.kind = detect_format(source)
        _refuse_useless_options(self.kind, options, source.name)
        if self.kind is FileKind.DELIMITED:
            self.encoding = self._given_or_detected_encoding()
            if self._read_usagi_header():
                return
            self.separator = self._given_or_detected_separator()
        elif self.kind is FileKind.EXCEL:
            self.sheet = self._given_or_first_sheet()
        self._read_header()

    def rows(self, report: Callable[[Problem], object] = lambda _problem: None) -> Iterator[TextRow]:
        """The rows below the header, as wide as it; those with more or fewer values are reported."""
        width = len(self.headers)
        for row in self._all_rows(report):
            if row.line <= self.header_line or not any(value.strip() for value in row.values):
                continue
            values = row.values
            if len(values) < width and self.kind is FileKind.EXCEL:
                values = values + [""] * (width - len(values))
            if len(values) > width and not any(value.strip() for value in values[width:]):
                values = values[:width]
            if len(values) != width:
                report(Problem(row.line, f"{len(values)} values where the header has {width}"))
            elif row.line > self.header_line + 1 and values == self._header_values:
                report(Problem(row.line, "the header again"))
            else:
                if self._has_apostrophes:
                    values = [*map(as_meant, values)]
                yield row if values is row.values else replace(row, values=values)

    @contextmanager
    def open_text(self) -> Iterator[TextIO]:
        """The text of a delimited file."""
        assert self.encoding is not None  # noqa: S101 - for mypy: the file is text
        with open_text(self.source, self.encoding) as text:
            yield text

    def _all_rows(self, report: Callable[[Problem], object], sheet: str | None = None) -> Iterator[TextRow]:
        if self.kind is FileKind.EXCEL:
            yield from excel_rows(self.source, sheet or self.sheet or "", report)
        elif self.kind is FileKind.PARQUET:
            yield from parquet_rows(self.source, report)
        else:
            assert self.separator is not None  # noqa: S101 - for mypy: the file is delimited
            with self.open_text() as text:
                rows = read_rows(bounded_lines(text), self.separator, report)
                yield from (row for row in rows if row.line >= self._first_line)

    def _read_header(self) -> None:
        sample = list(islice(self._all_rows(lambda _problem: None), _SAMPLE_ROWS))
        if not sample:
            raise InputError(f"{self.source.name} has no header and no rows")
        if (width := max(len(row.values) for row in sample)) > _MOST_COLUMNS:
            raise InputError(f"{self.source.name} has {width:,} columns; at most {_MOST_COLUMNS:,} are read")
        position = (
            0 if self.kind is FileKind.PARQUET else find_header(sample, self._options, self.source.name)
        )
        if position < 0:
            self.header_line = LINE_OF_NO_HEADER
            self.headers = [f"column {number}" for number in range(1, width + 1)]
            return
        self.header_line, self._header_values = sample[position].line, sample[position].values
        body = [row.values for row in sample[position + 1 :]]
        header = self._header_values
        if self.kind is FileKind.DELIMITED:
            header = fit_header(header, body)
        self.headers = unique_headers(header)
        stripped = {value.strip() for value in header}
        renamed = [name for name in self.headers if name not in stripped]
        if has_row_numbers(self.headers, body):
            self.row_numbers = self.headers[0]
            renamed = [name for name in renamed if name != self.row_numbers]
        if APOSTROPHE in self.headers and self.kind is not FileKind.PARQUET:
            self._has_apostrophes = True
            self.headers = [*map(as_meant, self.headers)]
        if renamed:
            self.notes.append(f"repeated or empty headers were renamed: {', '.join(renamed)}")

    def _read_usagi_header(self) -> bool:
        """Read the header of a file in Usagi's own dialect, whose quoting would mislead the rules here."""
        if self._options.separator not in (None, ",") or self._options.header_row not in (None, 1):
            return False
        with self.open_text() as text:
            headers = split_line(text.readline(_LONGEST_HEADER).rstrip("\r\n"))
        if set(REQUIRED) <= set(headers):
            self.is_usagi_csv = True
            self.separator, self.header_line, self.headers = ",", 1, headers
        return self.is_usagi_csv

    def _given_or_detected_encoding(self) -> Encoding:
        if self._options.encoding is not None:
            return Encoding(self._options.encoding)
        encoding = detect_encoding(self.source)
        if encoding.is_mixed:
            self.notes.append(
                "some bytes are not UTF-8 and were read as Windows-1252: check the accented letters"
            )
        elif encoding.guessed:
            self.notes.append(
                f"read as {encoding.name}, which is a guess: check the accented letters, "
                "and give another --encoding if they are wrong"
            )
        return encoding

    def _given_or_detected_separator(self) -> str:
        with self.open_text() as text:
            sample = first_lines(text, _SAMPLE_LINES)
        stated = _SEPARATOR_LINE.fullmatch(sample[0].lstrip("\ufeff")) if sample else None
        if stated:
            self._first_line = 2
            del sample[0]
        given = self._options.separator
        if given is None:
            if stated:
                return stated[1]
            columns = self._options.columns
            return detect_separator(sample, lambda values: knows_header(values, columns))
        if given in ("none", NO_SEPARATOR):
            return NO_SEPARATOR
        separator = "\t" if given in ("tab", "\\t") else given
        if len(separator) != 1 or separator in '\r\n"\0':
            raise InputError(
                f"a separator is one character, such as {' '.join(map(repr, SEPARATORS))}, or none"
            )
        if not any(separator in line for line in sample):
            raise InputError(
                f"{self.source.name} has no {given!r} in it: leave out --separator, or give the right one"
            )
        return separator

    def _given_or_first_sheet(self) -> str:
        sheets, wanted, name = worksheets(self.source), self._options.sheet, self.source.name
        if not sheets:
            raise InputError(f"{name} has no worksheet")
        if wanted is not None:
            by_name = {sheet.casefold().strip(): sheet for sheet in sheets}
            if wanted not in sheets and wanted.casefold().strip() not in by_name:
                raise InputError(f"{name} has no sheet {wanted!r}; it has {', '.join(sheets)}")
            return wanted if wanted in sheets else by_name[wanted.casefold().strip()]
        if len(sheets) == 1:
            return next(iter(sheets))
        # A cover or a hidden list of values may come first.
        visible = [sheet for sheet, is_visible in sheets.items() if is_visible] or list(sheets)
        with_terms = [sheet for sheet in visible if self._has_terms(sheet)]
        chosen = (with_terms or visible)[0]
        if len(with_terms) > 1:
            listed = ", ".join(map(repr, with_terms))
            self.notes.append(f"sheets {listed} have terms: the first is read; choose with --sheet")
        return chosen

    def _has_terms(self, sheet: str) -> bool:
        sample = list(islice(self._all_rows(lambda _problem: None, sheet), _SAMPLE_ROWS))
        columns = self._options.columns
        return any(knows_header(row.values, columns) for row in sample[:-1])


def _refuse_useless_options(kind: FileKind, options: ReadOptions, name: str) -> None:
    usable = {
        "encoding": kind is FileKind.DELIMITED,
        "separator": kind is FileKind.DELIMITED,
        "sheet": kind is FileKind.EXCEL,
        "header_row": kind is not FileKind.PARQUET,
    }
    for option, is_usable in usable.items():
        if getattr(options, option) is not None and not is_usable:
            written = f"--{option.replace('_', '-')}"
            raise InputError(f"{name} is {kind.value}, for which {written} does nothing: leave it out")
