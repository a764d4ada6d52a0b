"""Term files: source terms from CSV, TSV, Excel, Parquet or Usagi's CSV, read row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TextIO

from omop_emb.errors import InputError
from omop_emb.mapping.files.columns import Columns, read_frequency, resolve_columns, unique_headers
from omop_emb.mapping.files.delimited import SEPARATORS, Problem, TextRow, detect_separator, read_rows
from omop_emb.mapping.files.encoding import Encoding, detect_encoding, open_text
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.name_template import NameTemplate
from omop_emb.mapping.files.sheets import excel_rows, parquet_rows
from omop_emb.mapping.files.usagi_dialect import split_line
from omop_emb.mapping.files.usagi_file import ADD_INFO, UsagiFile, is_usagi_header, usagi_columns
from omop_emb.mapping.records import SourceTerm

_SAMPLE_LINES = 2_000


class FileKind(Enum):
    """Format of a file of terms."""

    DELIMITED = "CSV or TSV"
    EXCEL = "Excel"
    PARQUET = "Parquet"
    USAGI = "Usagi"


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a file is read, as far as it is not detected.

    Attributes:
        columns: headers by role.
        encoding: a Python codec; None detects it.
        separator: one character; None detects it.
        sheet: of an Excel workbook; None is the first.
        source_vocabulary: OMOP vocabulary of all codes; a column for it has precedence.
    """

    columns: Columns = field(default_factory=Columns)
    encoding: str | None = None
    separator: str | None = None
    sheet: str | None = None
    source_vocabulary: str | None = None


class TermFile:
    """A file of source terms; iterate it for its terms in the order of the file, repeatedly if needed.

    Attributes:
        kind: the file's format.
        source: its bytes.
        headers: of all columns, made unique.
        columns: the headers by role.
        extra_headers: the keys of every term's `extra`, in the order of the file.
        usagi: the file as Usagi's, None for others.
        encoding: of a text file, None for others.
        separator: of a delimited file, None for others.
        problems: rows that the last iteration skipped.
        notes: what the user should know about how the file was read.
    """

    def __init__(self, source: InputFile, options: ReadOptions | None = None) -> None:
        """Detect the format and read the header; raises as open_terms()."""
        self.source, self._options = source, options or ReadOptions()
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.encoding: Encoding | None = None
        self.separator: str | None = None
        self.usagi: UsagiFile | None = None
        self.headers: Sequence[str]
        self.kind = self._detect_kind()
        requested = self._options.columns
        if self.kind is FileKind.DELIMITED:
            self.encoding = self._encoding_or_guess()
            with self._open_text() as text:
                first_line = text.readline(1 << 20).rstrip("\r\n")
            # Before detecting the separator, which Usagi's quoting would mislead.
            if is_usagi_header(split_line(first_line)):
                self.kind = FileKind.USAGI
                if requested.template is not None:
                    raise InputError("--name-template is not for Usagi's files, whose term is sourceName")
                self.usagi = UsagiFile(source, self.encoding.name)
                self.notes.extend(self.usagi.notes)
                self.headers = self.usagi.headers
                self.columns = resolve_columns(self.headers, usagi_columns(requested), recognise=False)
                names = [name for name in self.headers if name.startswith(ADD_INFO)]
                self.extra_headers = tuple(name.removeprefix(ADD_INFO) for name in names)
                return
            self.separator = self._given_or_detected_separator()
        header = next(self._rows(), None)
        if header is None:
            raise InputError(f"{source.name} has no header and no rows")
        self.headers = unique_headers(header.values)
        if repeated := [name for name in self.headers if name not in {v.strip() for v in header.values}]:
            self.notes.append(f"repeated or empty headers were renamed: {', '.join(repeated)}")
        self.columns = resolve_columns(self.headers, requested)
        # A term made of several columns is written beside them.
        source_name = () if self.columns.template is not None else self.columns.names[:1]
        written = {*source_name, self.columns.code, self.columns.frequency}
        self.extra_headers = tuple(name for name in self.headers if name not in written)

    @property
    def settings(self) -> dict[str, object]:
        """How the file was read: equal settings and bytes give equal terms."""
        return {
            "kind": self.kind.value,
            "encoding": self.encoding.name if self.encoding is not None else None,
            "separator": self.separator,
            "sheet": self._options.sheet,
            "columns": asdict(self.columns),
            "source_vocabulary": self._options.source_vocabulary,
        }

    def __iter__(self) -> Iterator[SourceTerm]:
        self.problems.clear()
        if self.usagi is not None:
            vocabulary = self._options.source_vocabulary
            yield from self.usagi.terms(self.columns, self.problems.append, source_vocabulary=vocabulary)
            return
        rows = self._rows(self.problems.append)
        next(rows, None)
        for row in rows:
            if not any(value.strip() for value in row.values):
                continue
            try:
                term = self._term(row)
            except InputError as error:
                self.problems.append(Problem(row.line, str(error)))
            else:
                yield term

    def __enter__(self) -> TermFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()

    def _detect_kind(self) -> FileKind:
        with self.source.open() as handle:
            start = handle.read(8)
        if not start:
            raise InputError(f"{self.source.name} is empty")
        if start.startswith(b"PAR1"):
            return FileKind.PARQUET
        if start.startswith(b"\xd0\xcf\x11\xe0"):
            raise InputError(
                f"{self.source.name} is an Excel workbook of the old format (.xls): save it as .xlsx or CSV"
            )
        if start.startswith(b"\x1f\x8b"):
            raise InputError(f"{self.source.name} is compressed: unpack it, or gunzip -c … | omop-emb map -")
        if start.startswith(b"PK\x03\x04"):
            return FileKind.EXCEL
        if self.source.suffix in {".xlsx", ".xlsm", ".parquet"}:
            raise InputError(f"{self.source.name} is not what its name says: not a {self.source.suffix} file")
        return FileKind.DELIMITED

    def _encoding_or_guess(self) -> Encoding:
        if self._options.encoding is not None:
            return Encoding(self._options.encoding)
        encoding = detect_encoding(self.source)
        if encoding.guessed:
            self.notes.append(
                f"read as {encoding.name}, which is a guess: check the accented letters, "
                "and give another --encoding if they are wrong"
            )
        return encoding

    @contextmanager
    def _open_text(self) -> Iterator[TextIO]:
        assert self.encoding is not None  # noqa: S101 - for mypy: the file is text
        with open_text(self.source, self.encoding.name) as text:
            try:
                yield text
            except UnicodeError as error:
                raise InputError(
                    f"{self.source.name} is not in {self.encoding.name}: leave out --encoding, or give the "
                    "right one"
                ) from error

    def _given_or_detected_separator(self) -> str:
        separator = self._options.separator
        if separator is None:
            with self._open_text() as text:
                return detect_separator(islice(text, _SAMPLE_LINES))
        if len(separator) != 1:
            raise InputError(f"a separator is one character, such as {' '.join(map(repr, SEPARATORS))}")
        return separator

    def _rows(self, report: Callable[[Problem], object] = lambda _problem: None) -> Iterator[TextRow]:
        """The header, then the rows."""
        if self.kind is FileKind.EXCEL:
            yield from excel_rows(self.source, self._options.sheet)
        elif self.kind is FileKind.PARQUET:
            yield from parquet_rows(self.source)
        else:
            assert self.separator is not None  # noqa: S101 - for mypy: the file is delimited
            with self._open_text() as text:
                yield from read_rows(text, self.separator, report)

    def _term(self, row: TextRow) -> SourceTerm:
        """A row's term.

        Raises:
            InputError: the row cannot be used.
        """
        values, width, columns = row.values, len(self.headers), self.columns
        if len(values) > width and not any(values[width:]):
            values = values[:width]
        if len(values) != width:
            raise InputError(f"{len(values)} values where the header has {width}")
        if any("\0" in value for value in values):
            raise InputError("a value has a NUL character in it")
        cells = dict(zip(self.headers, values, strict=True))
        term = columns.term(
            cells,
            code=cells[columns.code].strip() if columns.code else "",
            frequency=read_frequency(cells[columns.frequency]) if columns.frequency else None,
            source_vocabulary=self._options.source_vocabulary,
            extra={header: cells[header] for header in self.extra_headers},
            line=row.line,
        )
        if not term.can_be_mapped:
            headers = (
                columns.template.headers if isinstance(columns.template, NameTemplate) else columns.names
            )
            raise InputError("no term in " + " or ".join(repr(name) for name in headers))
        return term


def open_terms(
    path: str | Path, options: ReadOptions | None = None, *, stdin: BinaryIO | None = None
) -> TermFile:
    """Open a file of source terms ("-" is stdin); use it in a `with`.

    Raises:
        InputError: the file does not exist, is empty or in no known format, or a column is missing.
        MissingExtraError: Excel or Parquet, and the library for it is not installed.
    """
    source = InputFile(path, stdin=stdin)
    try:
        return TermFile(source, options)
    except BaseException:
        source.close()
        raise
