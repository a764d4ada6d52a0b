"""Table writer: rows written to a CSV, TSV, Excel or Parquet file."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from omop_emb.errors import InputError, MissingExtraError
from omop_emb.mapping.files.excel_writer import SheetLayout, import_openpyxl, write_excel
from omop_emb.mapping.files.formula_text import APOSTROPHE, as_text
from omop_emb.safe_files.atomic_file import atomic_write, check_folder_of

Kind = Literal["text", "integer", "real", "boolean", "date"]
WriteRow = Callable[[Mapping[str, Any]], object]
"""Writes a row: values by column name; None or missing is no value."""
OpenFile = Callable[[str | Path], AbstractContextManager[BinaryIO]]
"""How a file is opened: atomic_write, or AtomicFiles.open for one that appears with others."""
_ENDINGS = (".csv", ".tsv", ".xlsx", ".parquet")
_PARQUET_ROWS = 5_000  # per row group: enough to compress well


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a written table."""

    name: str
    kind: Kind = "text"


def check_table_path(path: str | Path) -> None:
    """Refuse what write_table() cannot write, before any work is done.

    Raises:
        InputError: an unknown ending, or there is no such folder.
        MissingExtraError: Excel or Parquet, and the library for it is not installed.
    """
    suffix = _ending(path)
    if suffix == ".parquet":
        _import_pyarrow()
    if suffix == ".xlsx":
        import_openpyxl()
    if str(path) != "-":
        check_folder_of(path)


def _ending(path: str | Path) -> str:
    """The format of a table by its file's name, such as ".xlsx"; stdout, a pipe and the like take CSV."""
    target = Path(path)
    if (suffix := target.suffix.lower()) in _ENDINGS:
        return suffix
    if str(path) == "-" or Path("/dev") in target.parents or target.is_fifo():
        return ".csv"
    raise InputError(f"{path} must end in {', '.join(_ENDINGS[:-1])} or {_ENDINGS[-1]}")


@contextmanager
def write_table(
    path: str | Path,
    columns: Sequence[Column],
    *,
    for_people: bool = False,
    open_file: OpenFile = atomic_write,
    layout: SheetLayout | None = None,
) -> Iterator[WriteRow]:
    """A function that writes rows to a file, which appears, complete, when the block ends.

    .csv, .tsv, .xlsx or .parquet by the file's name. CSV and TSV follow RFC 4180 in UTF-8: a missing value
    is empty, a date is ISO 8601, a boolean true or false, a real number the shortest text that reads back to
    it. Text is written exactly, except `for_people`, who open CSV and TSV with a spreadsheet: there what it
    would calculate gets an apostrophe, and a further column says so, see formula_text.py. A `layout` is for
    Excel only.

    Raises:
        InputError: the file cannot be written, has another ending, or more rows than a sheet of Excel.
        MissingExtraError: Excel or Parquet, and the library for it is not installed.
    """
    names = [column.name for column in columns]
    check_table_path(path)  # raises before the file is created
    suffix = _ending(path)
    with open_file(path) as handle:
        if suffix == ".parquet":
            opened = _write_parquet(handle, columns)
        elif suffix == ".xlsx":
            opened = write_excel(path, handle, names, layout)
        else:
            separator = "\t" if suffix == ".tsv" else ","
            opened = (_write_for_people if for_people else _write_delimited)(handle, names, separator)
        with opened as write_values:
            yield lambda row: write_values([row.get(name) for name in names])


@contextmanager
def _write_delimited(
    handle: BinaryIO, names: Sequence[str], separator: str
) -> Iterator[Callable[[Sequence[Any]], object]]:
    text = io.TextIOWrapper(handle, encoding="utf-8", newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(names)
    try:
        yield lambda values: writer.writerow(map(_csv_text, values))
    finally:
        text.detach()  # flushes, and leaves the handle open


@contextmanager
def _write_for_people(
    handle: BinaryIO, names: Sequence[str], separator: str
) -> Iterator[Callable[[Sequence[Any]], object]]:
    with _write_delimited(handle, [*map(as_text, names), APOSTROPHE], separator) as write_values:

        def write(values: Sequence[Any]) -> None:
            texts = [as_text(value) if isinstance(value, str) else value for value in values]
            changed = [
                name
                for name, value, text in zip(names, values, texts, strict=True)
                if isinstance(value, str) and text != value
            ]
            write_values([*texts, as_text(", ".join(changed))])

        yield write


@contextmanager
def _write_parquet(
    handle: BinaryIO, columns: Sequence[Column]
) -> Iterator[Callable[[Sequence[Any]], object]]:
    pyarrow = _import_pyarrow()
    types = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "real": pyarrow.float64(),
        "boolean": pyarrow.bool_(),
        "date": pyarrow.date32(),
    }
    schema = pyarrow.schema([(column.name, types[column.kind]) for column in columns])
    rows: list[Sequence[Any]] = []

    def flush() -> None:
        arrays = [
            pyarrow.array(values, type=field.type)
            for values, field in zip(zip(*rows, strict=True), schema, strict=True)
        ]
        writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
        rows.clear()

    def write(values: Sequence[Any]) -> None:
        rows.append(values)
        if len(rows) >= _PARQUET_ROWS:
            flush()

    writer = pyarrow.parquet.ParquetWriter(handle, schema)
    try:
        yield write
        if rows:
            flush()
        writer.close()
    except BaseException:
        # Now, while its file is still open: its destructor would fail later.
        with suppress(Exception):
            writer.close()
        raise


def _import_pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("writing Parquet files", "parquet") from error
    return pyarrow


def _csv_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value)
