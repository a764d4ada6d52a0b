"""Upload body: a request's body that is a file, received into a temporary file of bounded size and time."""

from __future__ import annotations

import asyncio
import re
import tempfile
from contextlib import suppress
from typing import IO

from fastapi import Request
from starlette.types import Receive, Scope

from omop_emb.errors import InputError

UPLOAD_PATHS = re.compile(r"/api/v1/reviews(/preview|/\d{1,10}/read-back)?")
"""What takes a file as the body of a POST."""


class TooLargeError(Exception):
    """More bytes came than may come."""


def is_upload(scope: Scope) -> bool:
    """Whether a request's body is a file."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return scope["method"] == "POST" and UPLOAD_PATHS.fullmatch(path) is not None


async def receive_file(receive: Receive, *, most_bytes: int, seconds: float) -> IO[bytes] | None:
    """The body in a file without a name, which nobody else can open; None if the client went away.

    Raises:
        TooLargeError: it has more bytes.
        TimeoutError: it took longer.
    """
    # With a name it would have to be deleted, which a killed process does not do.
    file = tempfile.TemporaryFile(prefix="omop-emb-")
    try:
        size = 0
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    file.close()
                    return None
                part = message.get("body", b"")
                size += len(part)
                if size > most_bytes:
                    raise TooLargeError
                file.write(part)
                if not message.get("more_body", False):
                    file.flush()
                    file.seek(0)
                    return file
    except BaseException:
        with suppress(OSError):
            file.close()
        raise


def uploaded_file(request: Request) -> IO[bytes]:
    """The file that a request brought; a dependency of routes in UPLOAD_PATHS.

    Raises:
        InputError: it brought none.
    """
    file: IO[bytes] | None = request.scope["state"].get("upload")
    if file is None or not file.seek(0, 2):
        raise InputError("send the file as the body of the request")
    file.seek(0)
    return file
