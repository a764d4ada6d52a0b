"""Standard streams: always there, of any encoding, and quiet where nobody reads them or the disk is full."""

from __future__ import annotations

import io
import os
import sys


def prepare() -> None:
    """Open what the caller has closed, and write signs as escapes that an encoding lacks."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdin = sys.stdin or open(0, closefd=False)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_utf8() -> None:
    """Let stdout be UTF-8: what programs read is in no other encoding, whatever the terminal's is."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def finish() -> str:
    """Write what stdout still holds; why it cannot be, "" if it can or nobody reads it any more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard()
    except OSError as error:
        _discard()
        return error.strerror or type(error).__name__
    return ""


def is_closed(error: BaseException) -> bool:
    """Whether an exception only says that whoever reads our output has stopped (`| head`)."""
    # click ends the program so, with another stdout.
    return isinstance(error, BrokenPipeError) or (
        isinstance(error, SystemExit) and type(sys.stdout).__module__ == "click.utils"
    )


def _discard() -> None:
    """Let Python's own last flush succeed."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def unreadable_argument(arguments: list[str]) -> int | None:
    """The number of an argument that is neither text nor a file's name; None if there is none."""
    for number, argument in enumerate(arguments, start=1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            if not os.path.lexists(argument):
                return number
    return None
