"""Zip archives of others: opened and unpacked only within bounds.

zipfile never unpacks more of a member than the archive's directory says, so the directory is what is checked.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from omop_emb.errors import InputError, OmopEmbError
from omop_emb.safe_files.foreign_errors import foreign_errors

# Tables of text and numbers pack 5 to 20 times; deflate can pack 1,032 times.
_MOST_PACKED, _ANY_RATIO_TO = 100, 32 << 20
_MOST_READ_AT_ONCE = 32 << 20  # of the packed file; its directory is read at once


@contextmanager
def open_zip(
    handle: BinaryIO,
    name: object,
    what: str = "is not a zip",
    kind: type[OmopEmbError] = InputError,
    archive_class: type[zipfile.ZipFile] = zipfile.ZipFile,
) -> Iterator[zipfile.ZipFile]:
    """The archive in a file; anything else raises `kind`."""
    with foreign_errors(name, what, kind):
        archive = archive_class(_ModestReads(handle))
    with archive:
        yield archive


def check_ratio(member: zipfile.ZipInfo, name: object, kind: type[OmopEmbError] = InputError) -> None:
    """Raise `kind` if a large member is packed as no table is."""
    packed, unpacked = member.compress_size, member.file_size
    if unpacked > _ANY_RATIO_TO and unpacked > _MOST_PACKED * packed:
        raise kind(
            f"{name} is not unpacked: {member.filename[:80]} would grow from {packed:,} to {unpacked:,} "
            f"bytes, over {_MOST_PACKED} times; unpack it yourself if you trust it"
        )


class _ModestReads(io.RawIOBase):
    """A file of which nobody reads many megabytes in one piece, as a hostile directory would have it."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle

    def read(self, count: int = -1) -> bytes:
        if count > _MOST_READ_AT_ONCE:
            raise zipfile.BadZipFile("its directory is too large")
        return self._handle.read(count)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._handle.seek(offset, whence)

    def tell(self) -> int:
        return self._handle.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
