"""File errors: what the file system refuses, as a ServerError that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omop_emb.errors import ServerError


@contextmanager
def readable_file_errors(path: Path) -> Iterator[None]:
    """Raise a ServerError that names the path in place of any OSError."""
    try:
        yield
    except OSError as error:
        raise ServerError(
            f"the embedded server cannot use {path}: {file_error_advice(error.errno, error.strerror)}"
        ) from error


def file_error_advice(number: int | None, description: str | None) -> str:
    """Why the file system refused, and what to do about it."""
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space and run this again"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "this user cannot write there; set OMOP_EMB_DATA_DIR to a folder that is writable"
    return f"{description}; set OMOP_EMB_DATA_DIR to another folder"
