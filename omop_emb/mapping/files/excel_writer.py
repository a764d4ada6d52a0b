"""Excel files: rows written to a sheet one by one."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO

from omop_emb.errors import InputError, MissingExtraError
from omop_emb.mapping.files.formula_text import is_formula

_EXCEL_ROWS = 1_048_576  # of a sheet, its header among them
_NOT_IN_EXCEL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(frozen=True, kw_only=True)
class SheetLayout:
    """How a sheet looks to people who fill it.

    Attributes:
        rows: below the header.
        frozen: columns on the left that stay in sight, as the header does.
        widths: of columns by name, in characters.
        choices: by the name of a column, the values that its cells offer and accept.
        hidden: names of columns that are for programs.
    """

    rows: int
    frozen: int = 0
    widths: Mapping[str, int] = field(default_factory=dict)
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()


@contextmanager
def write_excel(
    path: str | Path, handle: BinaryIO, names: Sequence[str], layout: SheetLayout | None = None
) -> Iterator[Callable[[Sequence[Any]], object]]:
    """A function that writes rows to a new workbook, which goes to the handle when the block ends.

    openpyxl keeps the rows in a temporary file until then: it is beside `path`, and has no name, so that it
    is gone with the process.
    """
    openpyxl = import_openpyxl()
    workbook = openpyxl.Workbook(write_only=True)
    sheet = workbook.create_sheet("omop-emb")
    kept_rows = tempfile.TemporaryFile(prefix="omop-emb-", dir=Path(path).resolve().parent)
    if layout is not None:
        _arrange(sheet, names, layout)
    sheet._writer = _sheet_writer(sheet, kept_rows)
    sheet._writer.write_top()
    rows = 0

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = openpyxl.cell.WriteOnlyCell(sheet, _NOT_IN_EXCEL.sub("", value))
        text.data_type = "s"  # a text that begins with "=" is no formula
        if is_formula(value):
            text.quotePrefix = True  # nor does it become one when a person edits the cell
        return text

    def write(values: Sequence[Any]) -> None:
        nonlocal rows
        rows += 1
        if rows > _EXCEL_ROWS:
            raise InputError(f"more than {_EXCEL_ROWS - 1:,} rows do not fit in a sheet of Excel: use .csv")
        sheet.append([cell(value) for value in values])

    try:
        write(names)
        yield write
        _save(workbook, handle)
    except BaseException:
        with suppress(Exception):
            sheet.close()
        raise
    finally:
        kept_rows.close()


def _arrange(sheet: Any, names: Sequence[str], layout: SheetLayout) -> None:
    """Freeze, size, hide and restrict columns; before the first row is written."""
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.datavalidation import DataValidation

    letters = {name: get_column_letter(number) for number, name in enumerate(names, start=1)}
    last_row = max(layout.rows, 1) + 1
    sheet.freeze_panes = f"{get_column_letter(layout.frozen + 1)}2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(names))}{last_row}"
    for name, width in layout.widths.items():
        sheet.column_dimensions[letters[name]].width = width
    for name in layout.hidden:
        sheet.column_dimensions[letters[name]].hidden = True
    for name, values in layout.choices.items():
        listed = ",".join(values)
        choice = DataValidation("list", formula1=f'"{listed}"', allow_blank=True, showErrorMessage=True)
        choice.error = f"Choose one of: {', '.join(values)}"
        choice.add(f"{letters[name]}2:{letters[name]}{last_row}")
        sheet.data_validations.append(choice)


def _sheet_writer(sheet: Any, kept_rows: IO[bytes]) -> Any:
    """What writes a sheet to a file of our own; openpyxl's temporary files outlive a killed process."""
    from openpyxl.worksheet._writer import WorksheetWriter

    writer = WorksheetWriter(sheet, out=kept_rows)
    writer.cleanup = lambda: None  # write_excel() closes the file
    return writer


def _save(workbook: Any, handle: BinaryIO) -> None:
    """As openpyxl does, which puts a sheet into the archive by the name of its file."""
    from openpyxl.writer.excel import ExcelWriter

    ExcelWriter(workbook, _Archive(handle, "w", zipfile.ZIP_DEFLATED)).save()


class _Archive(zipfile.ZipFile):
    """An archive that takes open files, too."""

    def write(self, filename: Any, arcname: Any = None, *rest: Any) -> None:
        """Add the file from its beginning."""
        info = zipfile.ZipInfo(arcname)
        info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, filename.seek(0, os.SEEK_END)
        filename.seek(0)
        with self.open(info, "w") as member:
            shutil.copyfileobj(filename, member)


def import_openpyxl() -> Any:
    """The library, or MissingExtraError."""
    try:
        import openpyxl
        import openpyxl.cell
    except ImportError as error:
        raise MissingExtraError("writing Excel files", "excel") from error
    return openpyxl
