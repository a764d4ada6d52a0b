"""Vocabulary COPY: one file into one table; errors name file and line.

PostgreSQL checks fields, numbers, dates and encoding of every line as it reads them. Python only cuts the
file into whole lines and escapes COPY's special characters, in a few mebibytes however long the file is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors as postgres
from psycopg.sql import SQL, Composable, Identifier

from omop_emb.errors import VocabularyError
from omop_emb.vocabulary.download import VocabularyFile

_MAX_LINE_BYTES = 16 << 20
_BOM = b"\xef\xbb\xbf"
_CONTEXT = re.compile(r"^COPY [^\n]*?, line (\d+)(?:, column (\w+): (null|\"(.*)\"))?", re.DOTALL)
# 20993112 can only be YYYYDDMM, the thirty-first of December; published vocabularies hold hundreds of these.
_EXCHANGED_DATE = re.compile(rb"\t([0-9]{4})(1[3-9]|2[0-9]|3[01])(0[1-9]|1[0-2])(?=[\t\r\n])")
_COPY = SQL("copy {} ({}) from stdin (format text, delimiter e'\\t', null '', encoding 'UTF8')")


@dataclass(frozen=True)
class CopiedFile:
    """What was read from a file."""

    rows: int
    sha256: str  # of the file's bytes
    exchanged_dates: int  # dates that could only be, and were read as, YYYYDDMM


def copy_file(
    connection: psycopg.Connection[Any],
    file: VocabularyFile,
    table: Composable,
    progress: Callable[[int], None],
) -> CopiedFile:
    """Append a file's rows to a table; `progress` is called with the number of bytes of each piece.

    A damaged file, a missing column or an invalid line raise VocabularyError.
    """
    digest = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for piece in file.pieces():
            digest.update(piece)
            progress(len(piece))
            yield piece

    blocks = _whole_lines(file, pieces())
    columns = _columns(file, next(blocks, b""))
    table_columns = [column for column in columns if column is not None]
    date_fields = {index for index, column in enumerate(columns) if column and column.endswith("_date")}
    statement = _COPY.format(table, SQL(", ").join(map(Identifier, table_columns)))
    first_line, exchanged_dates = 2, 0
    with connection.cursor() as cursor:
        try:
            with cursor.copy(statement) as copy:
                for block in blocks:
                    lines, exchanged = _with_dates_in_order(block, date_fields)
                    exchanged_dates += exchanged
                    if len(table_columns) < len(columns):
                        lines = _without_extra_columns(file, lines, first_line, columns)
                        first_line += block.count(b"\n")
                    copy.write(_as_copy_text(lines))
        except (postgres.DataError, postgres.IntegrityError) as error:
            raise _vocabulary_error(file, error, columns) from error
        return CopiedFile(cursor.rowcount, digest.hexdigest(), exchanged_dates)


def lines_with_key(file: VocabularyFile, key: str) -> list[int]:
    """The numbers of the first two lines whose key columns, joined with ", ", are the given text."""
    lines: list[int] = []
    number = 1
    blocks = _whole_lines(file, file.pieces())
    columns = _columns(file, next(blocks, b""))
    key_fields = [columns.index(column) for column in file.layout.key]
    for block in blocks:
        for line in block.split(b"\n")[:-1]:
            number += 1
            fields = line.rstrip(b"\r").decode().split("\t")
            if ", ".join(_without_leading_zeros(fields[index]) for index in key_fields) == key:
                lines.append(number)
                if len(lines) == 2:
                    return lines
    return lines


def _whole_lines(file: VocabularyFile, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The header line, then blocks of whole lines that end in a line feed, without blank lines at the end."""
    rest = b""
    is_header = True
    for piece in pieces:
        rest += piece
        # Blank lines may turn out to be the end of the file: they wait, with the line before them.
        cut = rest.rfind(b"\n", 0, len(rest.rstrip(b"\r\n"))) + 1
        if is_header and cut:
            header_end = rest.find(b"\n") + 1
            yield rest[:header_end]
            is_header = False
            if cut > header_end:
                yield rest[header_end:cut]
            rest = rest[cut:]
        elif cut:
            yield rest[:cut]
            rest = rest[cut:]
        if len(rest) > _MAX_LINE_BYTES:
            raise VocabularyError("has a line of more than 16 MiB: is it a text file?", file=file.name)
    rest = rest.rstrip(b"\r\n")
    if rest:
        yield rest + b"\n"


def _columns(file: VocabularyFile, header: bytes) -> list[str | None]:
    """The table's column for each field of the file, None for a field that the table does not have."""
    if header.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise VocabularyError("is UTF-16: save it as UTF-8", file=file.name)
    try:
        text = header.removeprefix(_BOM).decode().strip("\r\n")
    except UnicodeDecodeError as error:
        raise VocabularyError("is not UTF-8 text", file=file.name, line=1) from error
    if not text.strip():
        raise VocabularyError("is empty: its first line must name the columns", file=file.name)
    names = [name.strip().strip('"').lower() for name in text.split("\t")]
    missing = [name for name in file.layout.required if name not in names]
    if missing:
        hint = ""
        if len(names) == 1 and ("," in text or ";" in text):
            hint = " (fields must be separated by tabs)"
        shown = ", ".join(names)
        shown = shown if len(shown) <= 200 else shown[:200] + "…"
        raise VocabularyError(
            f"column {' and '.join(missing)} is missing; found: {shown}{hint}", file=file.name, line=1
        )
    repeated = sorted({name for name in names if names.count(name) > 1 and name in file.layout.columns})
    if repeated:
        raise VocabularyError(f"column {' and '.join(repeated)} appears twice", file=file.name, line=1)
    return [name if name in file.layout.columns else None for name in names]


def _with_dates_in_order(lines: bytes, date_fields: set[int]) -> tuple[bytes, int]:
    """The lines with each YYYYDDMM in a date column turned into YYYYMMDD, and the number of these."""
    parts, end = [], 0
    for match in _EXCHANGED_DATE.finditer(lines) if date_fields else ():
        line_start = lines.rfind(b"\n", 0, match.start()) + 1
        if lines.count(b"\t", line_start, match.start() + 1) in date_fields:
            parts += [lines[end : match.start(2)], match[3], match[2]]
            end = match.end()
    return (b"".join([*parts, lines[end:]]) if parts else lines), len(parts) // 3


def _as_copy_text(lines: bytes) -> bytes:
    # A backslash is COPY's escape character, and a carriage return inside a line would end it.
    return lines.replace(b"\\", b"\\\\").replace(b"\r\n", b"\n").replace(b"\r", b"\\r")


def _without_extra_columns(
    file: VocabularyFile, lines: bytes, first_line: int, columns: list[str | None]
) -> bytes:
    table_fields = [index for index, column in enumerate(columns) if column is not None]
    out = []
    for number, line in enumerate(lines.split(b"\n")[:-1], start=first_line):
        fields = line.removesuffix(b"\r").split(b"\t")
        if len(fields) != len(columns):
            raise VocabularyError(_field_count(len(columns), len(fields)), file=file.name, line=number)
        out.append(b"\t".join([fields[index] for index in table_fields]) + b"\n")
    return b"".join(out)


def _vocabulary_error(
    file: VocabularyFile, error: postgres.DataError | postgres.IntegrityError, columns: list[str | None]
) -> VocabularyError:
    # The server counts from the line after the header.
    context = _CONTEXT.match(error.diag.context or "")
    line = int(context[1]) + 1 if context else None
    column, value = (context[2], context[4]) if context else (None, None)
    shown = repr(value if value is None or len(value) <= 40 else value[:40] + "…")
    if isinstance(error, postgres.BadCopyFileFormat) and line is not None:
        message = _field_count(len(columns), _fields_in_line(file, line))
    elif isinstance(error, postgres.NotNullViolation):
        message = f"{error.diag.column_name} is empty"
    elif isinstance(error, postgres.CharacterNotInRepertoire):
        message = "contains bytes that are not UTF-8 text (or a NUL): save the file as UTF-8"
    elif isinstance(error, postgres.InvalidDatetimeFormat | postgres.DatetimeFieldOverflow):
        message = f"{column} must be a date as YYYYMMDD; found {shown}"
    elif isinstance(error, postgres.InvalidTextRepresentation | postgres.NumericValueOutOfRange):
        message = f"{column} must be a whole number up to 2147483647; found {shown}"
    else:
        message = error.diag.message_primary or "cannot be read"
    return VocabularyError(message, file=file.name, line=line)


def _field_count(expected: int, found: int) -> str:
    return f"expected {expected} fields separated by tabs; found {found}"


def _fields_in_line(file: VocabularyFile, line: int) -> int:
    number = 0
    for block in _whole_lines(file, file.pieces()):
        count = block.count(b"\n")
        if number + count >= line:
            return block.split(b"\n")[line - number - 1].count(b"\t") + 1
        number += count
    return 0


def _without_leading_zeros(field: str) -> str:
    return (field.lstrip("0") or "0") if field.isascii() and field.isdigit() else field
