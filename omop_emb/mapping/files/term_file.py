"""Term files: source terms from CSV, TSV, Excel, Parquet or Usagi's CSV, read row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from omop_emb.errors import InputError
from omop_emb.mapping.files.columns import resolve_columns
from omop_emb.mapping.files.delimited import Problem, TextRow
from omop_emb.mapping.files.encoding import Encoding
from omop_emb.mapping.files.file_format import FileKind as FileKind
from omop_emb.mapping.files.frequency import read_frequency
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.name_template import NameTemplate
from omop_emb.mapping.files.problem_list import ProblemList
from omop_emb.mapping.files.read_options import ReadOptions as ReadOptions
from omop_emb.mapping.files.repair import repair
from omop_emb.mapping.files.source_values import code_text, has_decimal_codes, without_missing
from omop_emb.mapping.files.table_file import TableFile
from omop_emb.mapping.files.usagi_file import ADD_INFO, UsagiFile, usagi_columns
from omop_emb.mapping.files.usagi_values import is_usagi_header
from omop_emb.mapping.records import SourceTerm


class TermFile:
    """A file of source terms; iterate it for its terms in the order of the file, repeatedly if needed.

    Attributes:
        kind: the file's format.
        source: its bytes.
        table: its rows, whatever their columns mean.
        headers: of all columns, made unique.
        columns: the headers by role.
        extra_headers: the keys of every term's `extra`, in the order of the file.
        usagi: the file as Usagi's, None for others.
        problems: rows that the last iteration skipped: the first, and how many.
        dropped_values: values that the last iteration did not use, of terms that it gave, likewise.
        repaired: terms of the last iteration whose names were encoded twice.
        notes: what the user should know about how the file was read.
    """

    def __init__(self, source: InputFile, options: ReadOptions | None = None) -> None:
        """Detect the format and read the header; raises as open_terms()."""
        self.source, self._options = source, options or ReadOptions()
        self.problems = ProblemList()
        self.dropped_values = ProblemList()
        self.repaired = 0
        self.terms_read = 0
        self.table = TableFile(source, self._options)
        self.notes = list(self.table.notes)
        self.kind = self.table.kind
        self.headers: Sequence[str] = self.table.headers
        self.usagi: UsagiFile | None = None
        requested = self._options.columns
        if self.table.is_usagi_csv or is_usagi_header(self.headers):
            self.kind = FileKind.USAGI
            if requested.template is not None:
                raise InputError("--name-template is not for Usagi's columns, whose term is sourceName")
            if self.table.is_usagi_csv and self.encoding is not None:
                self.usagi = UsagiFile(source, self.encoding)
            else:
                self.usagi = UsagiFile(source, table=self.table)
            self.notes.extend(self.usagi.notes)
            self.headers = self.usagi.headers
            self.columns = resolve_columns(self.headers, usagi_columns(requested), recognise=False)
            names = [name for name in self.headers if name.startswith(ADD_INFO)]
            self.extra_headers = tuple(name.removeprefix(ADD_INFO) for name in names)
            return
        self.columns = resolve_columns(self.headers, requested)
        if self.columns.code is None and (self._options.source_vocabulary or requested.source_vocabulary):
            raise InputError(
                "a source vocabulary is for codes, but no column with codes is recognised: name it with "
                "--code-column"
            )
        # A term made of several columns is written beside them.
        source_name = () if self.columns.template is not None else self.columns.names[:1]
        written = {*source_name, self.columns.code, self.columns.frequency, self.table.row_numbers}
        self.extra_headers = tuple(name for name in self.headers if name not in written)
        self._code_position = self.headers.index(self.columns.code) if self.columns.code else -1
        template = self.columns.template
        parts = template.headers if isinstance(template, NameTemplate) else ()
        self._text_headers = dict.fromkeys((*parts, *self.columns.names))
        self._has_decimal_codes = self._code_position >= 0 and has_decimal_codes(
            row.values[self._code_position] for row in self.table.rows()
        )

    @property
    def source_vocabulary(self) -> str | None:
        """OMOP vocabulary of all codes, if the user named one."""
        return self._options.source_vocabulary

    @property
    def encoding(self) -> Encoding | None:
        """Of a text file, None for others."""
        return self.table.encoding

    @property
    def separator(self) -> str | None:
        """Of a delimited file, None for others."""
        return self.table.separator

    @property
    def settings(self) -> dict[str, object]:
        """How the file was read: equal settings and bytes give equal terms."""
        return {
            "kind": self.kind.value,
            "encoding": self.encoding.name if self.encoding is not None else None,
            "separator": self.separator,
            "sheet": self.table.sheet,
            "header_line": self.table.header_line,
            "columns": asdict(self.columns),
            "source_vocabulary": self._options.source_vocabulary,
        }

    def __iter__(self) -> Iterator[SourceTerm]:
        self.problems.clear()
        self.dropped_values.clear()
        self.repaired = self.terms_read = 0
        for term in self._usagi_terms() if self.usagi is not None else self._table_terms():
            self.terms_read += 1
            yield term

    def check_has_terms(self) -> None:
        """Refuse a file without a term; in Usagi's, all may be decided.

        Raises:
            InputError: no row is a term; names the first reasons.
        """
        if self.usagi is None and next(iter(self), None) is None:
            reasons = "; ".join(map(str, self.problems[:3])) or "it has a header but no rows"
            raise InputError(f"{self.source.name} has no terms: {reasons}")

    def __enter__(self) -> TermFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()

    def _usagi_terms(self) -> Iterator[SourceTerm]:
        assert self.usagi is not None  # noqa: S101 - for mypy
        yield from self.usagi.terms(
            self.columns,
            self.problems.append,
            report_value=self.dropped_values.append,
            source_vocabulary=self._options.source_vocabulary,
        )

    def _table_terms(self) -> Iterator[SourceTerm]:
        for row in self.table.rows(self.problems.append):
            try:
                yield self._term(row)
            except InputError as error:
                self.problems.append(Problem(row.line, str(error)))

    def _term(self, row: TextRow) -> SourceTerm:
        """A row's term.

        Raises:
            InputError: the row cannot be used.
        """
        columns = self.columns
        cells = dict(zip(self.headers, row.values, strict=True))
        for name in self._text_headers:
            position = self.headers.index(name)
            if position in row.doubtful:
                raise InputError(f"its term cannot be trusted: {row.doubtful[position]}")
            cells[name] = without_missing(cells[name]).strip()
            self.repaired += repair(cells[name]) != cells[name]
        term = columns.term(
            cells,
            code=self._code(row),
            frequency=self._frequency(row, cells),
            source_vocabulary=self._options.source_vocabulary,
            extra={header: cells[header] for header in self.extra_headers},
            line=row.line,
        )
        if not term.can_be_mapped:
            raise InputError("no term in " + " or ".join(map(repr, self._text_headers)))
        return term

    def _code(self, row: TextRow) -> str:
        if self._code_position < 0:
            return ""
        try:
            if why := row.doubtful.get(self._code_position):
                raise InputError(f"its code is not used: {why}")
            return code_text(row.values[self._code_position], is_decimal=self._has_decimal_codes)
        except InputError as error:
            self.dropped_values.append(Problem(row.line, str(error)))
            return ""

    def _frequency(self, row: TextRow, cells: dict[str, str]) -> int | None:
        if self.columns.frequency is None:
            return None
        try:
            return read_frequency(cells[self.columns.frequency])
        except InputError as error:
            self.dropped_values.append(Problem(row.line, str(error)))
            return None


def open_terms(
    path: str | Path, options: ReadOptions | None = None, *, stdin: BinaryIO | None = None
) -> TermFile:
    """Open a file of source terms ("-" is stdin); use it in a `with`.

    Raises:
        InputError: the file does not exist, is empty or in no known format, a column is missing, or an
            option can do nothing with the file.
        MissingExtraError: Excel or Parquet, and the library for it is not installed.
    """
    source = InputFile(path, stdin=stdin)
    try:
        return TermFile(source, options)
    except BaseException:
        source.close()
        raise
