"""Excel and Parquet rows: every value as the text that a person would read."""

from __future__ import annotations

import datetime
import decimal
import warnings
import zipfile
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from omop_emb.errors import InputError, MissingExtraError
from omop_emb.mapping.files.delimited import TextRow

if TYPE_CHECKING:
    from omop_emb.mapping.files.input_file import InputFile

_BATCH_ROWS = 1_000


def excel_rows(source: InputFile, sheet: str | None = None) -> Iterator[TextRow]:
    """The non-blank rows of a worksheet, the header first; the first sheet unless one is named.

    Rows are read one by one. A short row is padded with "" to the header's width.

    Raises:
        InputError: it is not a workbook, or has no such sheet.
        MissingExtraError: openpyxl is not installed.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise MissingExtraError("reading Excel files", "excel") from error
    with warnings.catch_warnings():
        # The warnings are about styles and validations, which are not read.
        warnings.simplefilter("ignore", UserWarning)
        try:
            book = openpyxl.load_workbook(source.open(), read_only=True, data_only=True)
        except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
            raise InputError(f"{source.name} is not an Excel workbook (.xlsx): {error}") from error
        try:
            if sheet is not None and sheet not in book.sheetnames:
                raise InputError(f"{source.name} has no sheet {sheet!r}; it has {', '.join(book.sheetnames)}")
            page = book[sheet] if sheet is not None else book.worksheets[0]
            # Some programs write a wrong size; without it openpyxl reads all rows.
            page.reset_dimensions()
            width = 0
            for number, cells in enumerate(page.iter_rows(values_only=True), start=1):
                values = [plain_text(cell) for cell in cells]
                while values and not values[-1]:
                    values.pop()
                if values:
                    width = width or len(values)
                    yield TextRow(number, values + [""] * (width - len(values)))
        finally:
            book.close()


def parquet_rows(source: InputFile) -> Iterator[TextRow]:
    """The header and the rows of a Parquet file; a row's "line" is its number, from 1.

    Raises:
        InputError: it is not a Parquet file.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("reading Parquet files", "parquet") from error
    try:
        table = pyarrow.parquet.ParquetFile(source.open(), pre_buffer=False)
        yield TextRow(0, list(table.schema_arrow.names))
        batches = table.iter_batches(batch_size=_BATCH_ROWS)
        rows = (zip(*(column.to_pylist() for column in batch.columns), strict=True) for batch in batches)
        for number, cells in enumerate(chain.from_iterable(rows), start=1):
            yield TextRow(number, [plain_text(cell) for cell in cells])
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{source.name} is not a Parquet file that can be read: {error}") from error


def plain_text(value: Any) -> str:
    """A cell's value as text: None is "", 12.0 is "12", a date is ISO 8601, text is unchanged."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        # Excel stores every number as a float, and so does pandas in a whole-number column with gaps.
        return "" if value != value else str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, decimal.Decimal):
        return str(int(value)) if value == value.to_integral_value() else str(value)
    if isinstance(value, datetime.datetime):
        at_midnight = value.time() == datetime.time()
        return value.date().isoformat() if at_midnight else value.isoformat(sep=" ")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)
