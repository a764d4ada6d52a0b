"""Foreign text: small files and JSON that others have written, read within bounds."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from omop_emb.errors import InputError, OmopEmbError
from omop_emb.safe_files.foreign_errors import foreign_errors

MIB = 1 << 20


def read_bytes(
    path: Path, most: int = MIB, kind: type[OmopEmbError] = InputError, name: object = None
) -> bytes:
    """The bytes of a regular file of at most `most` bytes; anything else raises `kind`, with its name."""
    name = name or path
    with foreign_errors(name, kind=kind):
        # Opening a pipe without a writer would wait for one.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise kind(f"{name} is not a regular file")
            data = file.read(most + 1)
    if len(data) > most:
        raise kind(f"{name} is larger than {size(most)}, the most that is read")
    return data


def read_text(path: Path, most: int = MIB, kind: type[OmopEmbError] = InputError, name: object = None) -> str:
    """The same as text in UTF-8."""
    data = read_bytes(path, most, kind, name)
    with foreign_errors(name or path, "is not text in UTF-8", kind):
        return data.decode("utf-8-sig")


def parse_json(
    data: str | bytes, name: object, what: str = "is not readable JSON", kind: type[OmopEmbError] = InputError
) -> Any:
    """The value of a JSON text; too deep, of too long numbers or damaged, it raises `kind`."""
    with foreign_errors(name, what, kind):
        return json.loads(data)


def clean_text(text: str) -> str:
    """A text that every file and database can hold: without NUL, and with a sign for half a character."""
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Two halves of a character that were written one by one become it.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def size(number: int) -> str:
    """A number of bytes for a person, such as "32 MiB"."""
    return f"{number >> 30:,} GiB" if number >= 1 << 30 else f"{number >> 20:,} MiB"
