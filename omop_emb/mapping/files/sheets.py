"""Excel rows: every value as the text that a person would read."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from omop_emb.errors import InputError, MissingExtraError
from omop_emb.mapping.files.delimited import MOST_CHARACTERS, TOO_LONG, Problem, TextRow
from omop_emb.mapping.files.excel_cells import cell_text
from omop_emb.mapping.files.workbook_archive import WorkbookArchive
from omop_emb.safe_files.foreign_errors import foreign_errors, foreign_items
from omop_emb.safe_files.foreign_text import clean_text
from omop_emb.safe_files.zip_archive import open_zip

if TYPE_CHECKING:
    from omop_emb.mapping.files.input_file import InputFile

_WHAT = "is not an Excel workbook (.xlsx)"
_MOST_ROWS, _MOST_COLUMNS, _MOST_SHEETS = 1_048_576, 16_384, 1_000  # of Excel, but for the sheets
_MOST_CELLS = 100_000_000  # a cell far to the right of an otherwise empty row costs as many as are skipped
_MOST_CHARACTERS = 4 << 30  # a text that is stored once can be in every cell


@contextmanager
def _open_workbook(source: InputFile) -> Iterator[Any]:
    try:
        from openpyxl.reader.excel import ExcelReader
    except ImportError as error:
        raise MissingExtraError("reading Excel files", "excel") from error
    with (
        warnings.catch_warnings(),
        open_zip(source.open(), source.name, _WHAT, archive_class=WorkbookArchive) as archive,
    ):
        # The warnings are about styles and validations, which are not read.
        warnings.simplefilter("ignore")
        assert isinstance(archive, WorkbookArchive)  # noqa: S101 - for mypy
        archive.label = source.name
        with foreign_errors(source.name, _WHAT):
            reader = ExcelReader(source.open(), read_only=True, data_only=True, keep_links=False)
            reader.archive.close()
            reader.archive = archive
            reader.read()
        yield reader.wb


def worksheets(source: InputFile) -> dict[str, bool]:
    """The names of a workbook's worksheets in their order, and whether a person sees each.

    Raises:
        InputError: it is not a workbook.
        MissingExtraError: openpyxl is not installed.
    """
    with _open_workbook(source) as book:
        pages = book.worksheets
        if len(pages) > _MOST_SHEETS:
            raise InputError(f"{source.name} has more than {_MOST_SHEETS:,} sheets: save one as CSV")
        return {page.title: page.sheet_state == "visible" for page in pages}


def excel_rows(
    source: InputFile, sheet: str, report: Callable[[Problem], object] = lambda _problem: None
) -> Iterator[TextRow]:
    """The non-blank rows of a worksheet, hidden ones too; read one by one, without the empty end of a row.

    A row with too long a value is reported and left out.
    """
    with _open_workbook(source) as book:
        page = next(page for page in book.worksheets if page.title == sheet)
        # Some programs write a wrong size; without it openpyxl reads all rows.
        page.reset_dimensions()
        cells_read = characters = 0
        for number, cells in enumerate(foreign_items(page.iter_rows(), source.name, _WHAT), start=1):
            cells_read += len(cells)
            if number > _MOST_ROWS or len(cells) > _MOST_COLUMNS or cells_read > _MOST_CELLS:
                raise InputError(
                    f"{source.name} has more cells than a sheet of Excel ({_MOST_ROWS:,} rows of "
                    f"{_MOST_COLUMNS:,} values): save the sheet {sheet[:80]!r} as CSV"
                )
            if not cells:
                continue
            values, doubtful = [""] * len(cells), dict[int, str]()
            with foreign_errors(source.name, _WHAT):
                for position, cell in enumerate(cells):
                    if cell.value is not None:
                        text, why = cell_text(cell)
                        values[position] = clean_text(text)
                        if why:
                            doubtful[position] = why
            characters += sum(map(len, values))
            if characters > _MOST_CHARACTERS:
                raise InputError(f"{source.name} repeats its texts too often: save the sheet as CSV")
            while values and not values[-1].strip():
                values.pop()
            if any(len(value) > MOST_CHARACTERS for value in values):
                report(Problem(number, TOO_LONG))
            elif values:
                yield TextRow(number, values, doubtful=doubtful)
