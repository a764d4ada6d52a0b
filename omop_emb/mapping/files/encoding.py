"""The encoding of a text file: what its bytes say, and a named guess where they say nothing."""

from __future__ import annotations

import codecs
import io
from dataclasses import dataclass
from typing import BinaryIO

from omop_emb.errors import InputError
from omop_emb.mapping.files.input_file import InputFile

_CHUNK = 1 << 20
_BOMS = (
    # UTF-32's mark begins with UTF-16's: longest first.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_IN_CP1252 = b"\x81\x8d\x8f\x90\x9d"


@dataclass(frozen=True, slots=True)
class Encoding:
    """A Python codec's name, and whether the bytes prove it.

    Attributes:
        name: a codec; "utf-8-sig" and "utf-16" take the byte order mark away.
        guessed: True where any bytes would have been readable as this.
    """

    name: str
    guessed: bool = False


def detect_encoding(source: InputFile) -> Encoding:
    """The encoding of a source: byte order mark, else UTF-16 without one, UTF-8, Windows-1252, Latin-1.

    The whole file is read: a single letter in its last line may be what tells UTF-8 from Windows-1252.
    """
    with source.open() as handle:
        start = handle.read(4096)
        for mark, name in _BOMS:
            if start.startswith(mark):
                return Encoding(name)
        wide = _utf16_without_mark(start)
        if wide is not None:
            return Encoding(wide, guessed=True)
        handle.seek(0)
        return _eight_bits(handle)


def open_text(source: InputFile, encoding: str) -> io.TextIOWrapper:
    r"""The text of a source; lines end at \n, \r or \r\n, and keep their ends.

    Raises:
        InputError: there is no such encoding.
    """
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise InputError(f"there is no encoding {encoding!r}; try utf-8, cp1252 or utf-16") from error
    return io.TextIOWrapper(source.open(), encoding=encoding, newline="")


def _utf16_without_mark(start: bytes) -> str | None:
    # Letters of Western languages leave every second byte 0.
    if len(start) < 2 or b"\0" not in start:
        return None
    half = len(start) // 2
    if start[1::2].count(0) > 0.6 * half:
        return "utf-16-le"
    if start[0::2].count(0) > 0.6 * half:
        return "utf-16-be"
    return None


def _eight_bits(handle: BinaryIO) -> Encoding:
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8, is_cp1252 = True, True
    while chunk := handle.read(_CHUNK):
        if is_utf8:
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                is_utf8 = False
        # Outside UTF-8, bytes that Windows-1252 does not have leave Latin-1, which has them all.
        is_cp1252 = is_cp1252 and len(chunk) == len(chunk.translate(None, _NOT_IN_CP1252))
    if is_utf8:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            is_utf8 = False
    if is_utf8:
        return Encoding("utf-8")
    return Encoding("cp1252" if is_cp1252 else "latin-1", guessed=True)
