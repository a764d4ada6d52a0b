"""File formats: told by a file's first bytes; what cannot be read is named, with what to do instead."""

from __future__ import annotations

from enum import Enum

from omop_emb.errors import InputError
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.safe_files.zip_archive import open_zip


class FileKind(Enum):
    """Format of a file of terms; USAGI has the columns of Usagi, in whatever container."""

    DELIMITED = "CSV or TSV"
    EXCEL = "Excel"
    PARQUET = "Parquet"
    USAGI = "Usagi"


_COMPRESSED = "compressed: unpack it first"
_UNREADABLE = (  # first bytes -> what the file is, and what to do
    (b"\x1f\x8b", _COMPRESSED),
    (b"BZh", _COMPRESSED),
    (b"\xfd7zXZ", _COMPRESSED),
    (b"\x28\xb5\x2f\xfd", _COMPRESSED),
    (b"7z\xbc\xaf", _COMPRESSED),
    (b"%PDF", "a PDF: export its table as CSV or .xlsx"),
    (b"SQLite format 3", "an SQLite database: export the table as CSV"),
    (b"ARROW1", "an Arrow (Feather) file: write it as Parquet or CSV"),
    (b"FEA1", "a Feather file: write it as Parquet or CSV"),
    (b"$FL2", "an SPSS file: export it as CSV"),
    (b"\0\0\0\0\0\0\0\0\0\0\0\0\xc2\xea\x81\x60", "a SAS data set: export it as CSV"),
    (b"<stata_dta>", "a Stata file: export it as CSV"),
)
_MARKUP = ("<html", "<!doctype html", "<table", "<?xml", "<workbook", "<meta")


def detect_format(source: InputFile) -> FileKind:
    """The format of a file; whether text is Usagi's shows in its header.

    Raises:
        InputError: it is empty, or in a format that is not read.
    """
    with source.open() as handle:
        start = handle.read(512)
    name = source.name
    if not start:
        raise InputError(f"{name} is empty")
    if start.startswith(b"PAR1"):
        return FileKind.PARQUET
    if start.startswith(b"PK\x03\x04"):
        _check_workbook(source)
        return FileKind.EXCEL
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        raise InputError(
            f"{name} is an Excel workbook in the old format (.xls), or has a password: save it as .xlsx "
            "or CSV, without a password"
        )
    if found := next((what for first, what in _UNREADABLE if start.startswith(first)), None):
        raise InputError(f"{name} is {found}")
    if source.suffix in {".xlsx", ".xlsm", ".parquet"}:
        raise InputError(f"{name} is not what its name says: not a {source.suffix} file")
    text = start.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").replace(b"\0", b"").lower()
    if text.startswith(tuple(markup.encode() for markup in _MARKUP)):
        raise InputError(f"{name} is HTML or XML, despite its name: save it as .xlsx or CSV")
    if text.startswith((b'{"', b'[{"', b"{\n", b"[\n")):
        raise InputError(f"{name} is JSON: write its terms as CSV or Parquet")
    return FileKind.DELIMITED


def _check_workbook(source: InputFile) -> None:
    what = "is not an Excel workbook (.xlsx)"
    with open_zip(source.open(), source.name, what) as archive:
        names = set(archive.namelist())
    if "content.xml" in names:
        raise InputError(f"{source.name} is an OpenDocument sheet: save it as .xlsx or CSV")
    if "xl/workbook.bin" in names:
        raise InputError(f"{source.name} is a binary workbook (.xlsb): save it as .xlsx or CSV")
    if "xl/workbook.xml" not in names:
        raise InputError(f"{source.name} {what} but an archive: unpack it first")
