"""Excel and Parquet rows: every value as the text that a person would read."""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

from omop_emb.errors import InputError, MissingExtraError
from omop_emb.mapping.files.delimited import TextRow
from omop_emb.mapping.files.excel_cells import cell_text
from omop_emb.mapping.files.plain_text import plain_text

if TYPE_CHECKING:
    from omop_emb.mapping.files.input_file import InputFile

_BATCH_ROWS = 1_000


@contextmanager
def _open_workbook(source: InputFile) -> Iterator[Any]:
    try:
        import openpyxl
    except ImportError as error:
        raise MissingExtraError("reading Excel files", "excel") from error
    with warnings.catch_warnings():
        # The warnings are about styles and validations, which are not read.
        warnings.simplefilter("ignore", UserWarning)
        try:
            book = openpyxl.load_workbook(source.open(), read_only=True, data_only=True)
            try:
                yield book
            finally:
                book.close()
        except (zipfile.BadZipFile, zlib.error, SyntaxError, KeyError, ValueError, OSError) as error:
            raise InputError(f"{source.name} is not an Excel workbook (.xlsx): {error}") from error


def worksheets(source: InputFile) -> dict[str, bool]:
    """The names of a workbook's worksheets in their order, and whether a person sees each.

    Raises:
        InputError: it is not a workbook.
        MissingExtraError: openpyxl is not installed.
    """
    with _open_workbook(source) as book:
        return {page.title: page.sheet_state == "visible" for page in book.worksheets}


def excel_rows(source: InputFile, sheet: str) -> Iterator[TextRow]:
    """The non-blank rows of a worksheet, hidden ones too; read one by one, without the empty end of a row."""
    with _open_workbook(source) as book:
        page = book[sheet]
        # Some programs write a wrong size; without it openpyxl reads all rows.
        page.reset_dimensions()
        for number, cells in enumerate(page.iter_rows(), start=1):
            texts = [cell_text(cell) for cell in cells]
            values = [text for text, _ in texts]
            while values and not values[-1].strip():
                values.pop()
            if values:
                doubtful = {position: why for position, (_, why) in enumerate(texts) if why}
                yield TextRow(number, values, doubtful=doubtful)


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
