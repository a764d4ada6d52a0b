"""Workbook archives: the parts of an .xlsx, unpacked within bounds that keep their reader's memory small.

A reader keeps an XML element in memory until it ends: a row or a shared text, else a whole part.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import IO, Any

from omop_emb.errors import InputError
from omop_emb.safe_files.foreign_text import size
from omop_emb.safe_files.zip_archive import check_ratio

_TEXTS_BYTES, _SHEET_BYTES = 128 << 20, 4 << 30
_PART_BYTES = 32 << 20  # of a part that is read at once, such as the styles
_ELEMENT_BYTES = 4 << 20  # of a row or a text: Excel's longest text has 32,767 characters
_ROOT = re.compile(rb"[^<]*(?:<[?!][^>]*>[^<]*)*<([\w.-]+:)?")


class WorkbookArchive(zipfile.ZipFile):
    """The zip of a workbook; a part that is beyond a bound raises InputError when it is read.

    Attributes:
        label: the file's name for messages.
    """

    label = "the workbook"

    def open(self, name: str | zipfile.ZipInfo, *arguments: Any, **options: Any) -> IO[bytes]:
        """A part's bytes; see the class."""
        member = name if isinstance(name, zipfile.ZipInfo) else self.getinfo(name)
        check_ratio(member, self.label)
        stream = super().open(member, *arguments, **options)
        part = f"{self.label} is not read: its part {member.filename[:80]}"
        # zipfile and the XML reader use what a raw file has of IO
        return _BoundedXml(stream, member.file_size, part)  # type: ignore[return-value]


class _BoundedXml(io.RawIOBase):
    def __init__(self, stream: IO[bytes], unpacked: int, part: str) -> None:
        self._stream, self._unpacked, self._part = stream, unpacked, part
        self._row = self._text = b""  # how these elements begin
        self._texts_bytes = 0  # of shared texts, which are all kept
        self._is_quoted = False  # whether a section of plain text is open
        self._stretch = 0  # bytes since a row or a text began

    def read(self, count: int = -1) -> bytes:
        self._check(self._unpacked, _SHEET_BYTES if count >= 0 else _PART_BYTES)
        chunk = self._stream.read(count)
        if count >= 0:
            self._measure(chunk)
        return chunk

    def _measure(self, chunk: bytes) -> None:
        if not self._row:  # the elements of a part may have a prefix
            root = _ROOT.match(chunk)
            prefix = b"<" + ((root and root[1]) or b"")
            self._row, self._text = prefix + b"row", prefix + b"si"
        self._stretch += len(chunk)
        last_text = chunk.rfind(self._text)
        last = max(last_text, chunk.rfind(self._row))
        if last_text >= 0:
            self._texts_bytes += len(chunk)
            self._check(self._texts_bytes, _TEXTS_BYTES)
        # Only within such a section can the sign of an element be part of a text.
        opened, closed = chunk.rfind(b"<![CDATA["), chunk.rfind(b"]]>")
        is_quoted, self._is_quoted = self._is_quoted, opened > closed or (self._is_quoted and closed < 0)
        if last >= 0 and not is_quoted and not self._is_quoted:
            self._stretch = len(chunk) - last
        self._check(self._stretch, _ELEMENT_BYTES, " in a row or a text")

    def _check(self, found: int, most: int, where: str = "") -> None:
        if found > most:
            raise InputError(f"{self._part} has more than {size(most)}{where}; save the sheet as CSV")

    def close(self) -> None:
        self._stream.close()
        super().close()

    def readable(self) -> bool:
        return True
