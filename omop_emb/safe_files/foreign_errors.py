"""Foreign errors: whatever a library raises about foreign bytes becomes one error of ours, in one line."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from omop_emb.errors import InputError, OmopEmbError

_Item = TypeVar("_Item")
_LONGEST_REASON = 150
# Their messages speak of a file's structure; those of others may quote a cell.
_TELLING_MODULES = ("pyarrow", "xml", "zipfile", "tomllib", "struct", "zlib", "lzma")


@contextmanager
def foreign_errors(
    name: object, what: str = "cannot be read", kind: type[OmopEmbError] = InputError
) -> Iterator[None]:
    """Turn what is raised within the block into `kind`: `name`, `what`, and the reason where one can be told.

    Errors of ours pass, and so does the end of a generator or of the program. Put no code of ours but the
    reading itself into the block: a mistake in it would be taken for a damaged file.
    """
    try:
        yield
    except OmopEmbError:
        raise
    except BaseException as error:
        # Rust's libraries have an exception of their own, which is no Exception, for a failed assertion.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise kind(f"{name} {_problem(error, what)}") from error


def foreign_items(
    items: Iterator[_Item], name: object, what: str = "cannot be read", kind: type[OmopEmbError] = InputError
) -> Iterator[_Item]:
    """The items of another library's iterator, whose errors become `kind` as in foreign_errors()."""
    end = object()
    while True:
        with foreign_errors(name, what, kind):
            item = next(items, end)
        if item is end:
            return
        yield item  # type: ignore[misc]  # mypy does not see that it is not `end`


def one_line(text: str) -> str:
    """A message in one line, cut where it gets long."""
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).strip()
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"


def _problem(error: BaseException, what: str) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read: {os.strerror(error.errno)}"
    if isinstance(error, MemoryError):
        return f"{what}: it needs more memory than there is"
    if isinstance(error, RecursionError):
        return f"{what}: it is nested too deeply"
    module = type(error).__module__.partition(".")[0]
    is_telling = module in _TELLING_MODULES or isinstance(error, zipfile.BadZipFile | SyntaxError)
    reason = one_line(str(error)) if is_telling else ""
    return f"{what}: {reason or type(error).__name__}"
