"""Text encodings: detected from a file's bytes, with a note where that is a guess."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from omop_emb.errors import InputError
from omop_emb.mapping.files.input_file import InputFile

_CHUNK = 1 << 20
_BOMS = (
    # UTF-32's mark begins with UTF-16's, so it comes first.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


_STRAY_BYTES = "omop-emb-stray-bytes"


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    stray = error.object[error.start : error.end]
    return "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in stray), error.end


codecs.register_error(_STRAY_BYTES, _as_windows_1252)


@dataclass(frozen=True, slots=True)
class Encoding:
    """A Python codec, and whether it is only a guess.

    Attributes:
        name: of the codec; "utf-8-sig" and "utf-16" remove the byte order mark.
        guessed: whether other encodings could have read the bytes too.
        errors: how bytes that do not fit are read: not at all, or as Windows-1252.
    """

    name: str
    guessed: bool = False
    errors: str = "strict"

    @property
    def is_mixed(self) -> bool:
        """Whether the text is UTF-8 with some bytes of Windows-1252."""
        return self.errors == _STRAY_BYTES


def detect_encoding(source: InputFile) -> Encoding:
    """The encoding of a file: byte order mark, else UTF-16 without one, UTF-8, Windows-1252 or Latin-1.

    Reads the whole file: one letter in its last line may tell UTF-8 from Windows-1252.
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
        return _detect_single_bytes(handle)


@contextmanager
def open_text(source: InputFile, encoding: Encoding | str) -> Iterator[io.TextIOWrapper]:
    r"""The text of a file; lines end at \n, \r or \r\n, and keep their ends.

    Raises:
        InputError: there is no such encoding, or the bytes do not fit it.
    """
    if isinstance(encoding, str):
        encoding = Encoding(encoding)
    try:
        text = io.TextIOWrapper(source.open(), encoding=encoding.name, errors=encoding.errors, newline="")
    except (LookupError, ValueError) as error:
        raise InputError(
            f"there is no encoding {encoding.name[:40]!r}; try utf-8, cp1252 or utf-16"
        ) from error
    try:
        with text:
            yield text
    except UnicodeError as error:
        raise InputError(
            f"{source.name} is not in {encoding.name}: leave out --encoding, or give the right one"
        ) from error
    except OSError as error:
        raise InputError(f"{source.name} cannot be read: {error.strerror}") from error


def _utf16_without_mark(start: bytes) -> str | None:
    # In Western languages every second byte is 0.
    if len(start) < 2 or b"\0" not in start:
        return None
    half = len(start) // 2
    if start[1::2].count(0) > 0.6 * half:
        return "utf-16-le"
    if start[0::2].count(0) > 0.6 * half:
        return "utf-16-be"
    return None


def _detect_single_bytes(handle: BinaryIO) -> Encoding:
    strict = {name: codecs.getincrementaldecoder(name)() for name in ("utf-8", "cp1252")}
    lenient = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    letters = stray_bytes = 0
    chunks = iter(lambda: handle.read(_CHUNK), b"")
    for chunk in chain(chunks, (b"",)):  # the empty one ends an incomplete character
        for name, decoder in list(strict.items()):
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError:
                del strict[name]
        if not chunk.isascii() or not chunk:
            text = lenient.decode(chunk, final=not chunk)
            letters += len(text) - len(text.encode("ascii", "ignore"))
            stray_bytes += text.count("\\x")
    if "utf-8" in strict:
        return Encoding("utf-8")
    # In Windows-1252 hardly two letters beyond ASCII look like UTF-8: this is UTF-8 with a damaged part.
    if letters > 2 * stray_bytes:
        return Encoding("utf-8", guessed=True, errors=_STRAY_BYTES)
    # Windows-1252 lacks five bytes; Latin-1 has them all.
    return Encoding(next(iter(strict), "latin-1"), guessed=True)
