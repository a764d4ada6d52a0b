"""Request limits: how large and deep a request may be, how long it may take, and a client that goes away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omop_emb.web.problems import problem_response
from omop_emb.web.server_settings import Limits
from omop_emb.web.upload_body import TooLargeError, is_upload, receive_file

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[{\]}]")
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)

_STREAMS = ("/mcp",)  # answers that may stay open


class _RefusedError(Exception):
    def __init__(self, kind: str, detail: str) -> None:
        self.kind, self.detail = kind, detail
        super().__init__(kind)


class RequestLimits:
    """Reads a request's body before the application runs, and ends what takes too long or is not wanted."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def send_on(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            self._check_target(scope)
            if is_upload(scope):
                await self._answer_upload(scope, receive, send_on)
                return
            body = await self._body(Headers(scope=scope), receive)
            if body is not None:
                check_json(Headers(scope=scope), body, self._limits.json_depth)
                await self._answer(scope, body, receive, send_on)
        except _RefusedError as refused:
            if has_begun:
                raise
            close = {"Connection": "close"} if refused.kind in ("too-large", "body-timeout", "busy") else {}
            response = problem_response(
                refused.kind, refused.detail, scope["state"]["request_id"], headers=close
            )
            await response(scope, receive, send)

    def _check_target(self, scope: Scope) -> None:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self._limits.header_bytes:
            raise _RefusedError("headers-too-large", f"headers may have {self._limits.header_bytes:,} bytes")
        query, path = scope["query_string"], scope.get("raw_path") or b""
        if len(query) > self._limits.query_bytes or len(path) > self._limits.query_bytes:
            raise _RefusedError(
                "query-too-long", f"path and query may have {self._limits.query_bytes:,} bytes each"
            )
        if b"%00" in query or b"%00" in path or "\0" in scope["path"]:
            raise _RefusedError("invalid-request", "the query has the character NUL, which no text has")

    async def _body(self, headers: Headers, receive: Receive) -> bytes | None:
        """The body; None if the client went away."""
        most, seconds = self._limits.body_bytes, self._limits.body_seconds
        too_large = _check_stated(headers, most)
        parts, size = [], 0
        try:
            async with asyncio.timeout(seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise too_large
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise _late(seconds) from None

    async def _answer_upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """_answer() for a body that is a file: it is put into the request's state as "upload"."""
        limits = self._limits
        if self._uploads >= limits.uploads:
            raise _RefusedError("busy", "other files are being received: try again in a moment")
        too_large = _check_stated(Headers(scope=scope), limits.upload_bytes)
        self._uploads += 1
        try:
            file = await receive_file(receive, most_bytes=limits.upload_bytes, seconds=limits.upload_seconds)
            if file is not None:
                with file:
                    scope["state"]["upload"] = file
                    await self._answer(scope, b"", receive, send)
        except TooLargeError:
            raise too_large from None
        except TimeoutError:
            raise _late(limits.upload_seconds) from None
        finally:
            self._uploads -= 1

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Run the application until it has answered, its time is over, or the client goes away."""
        gone = asyncio.Event()
        is_read = False

        async def receive_body() -> Message:
            nonlocal is_read
            if is_read:
                await gone.wait()
                return {"type": "http.disconnect"}
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        answer = asyncio.ensure_future(self._app(scope, receive_body, send))
        watcher = asyncio.ensure_future(watch())
        try:
            is_stream = scope["path"].removeprefix(scope.get("root_path", "")).startswith(_STREAMS)
            seconds = None if is_stream else self._limits.request_seconds
            await asyncio.wait({answer, watcher}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                answer.result()
            elif not watcher.done():
                raise _RefusedError(
                    "timeout", f"no answer within {self._limits.request_seconds:g} seconds: request less"
                )
        finally:
            for task in (answer, watcher):
                task.cancel()
            await asyncio.wait({answer, watcher})


def _check_stated(headers: Headers, most: int) -> _RefusedError:
    """What to raise if a body has more bytes than `most`; raised here if its length says so already."""
    too_large = _RefusedError("too-large", f"a body may have {most:,} bytes")
    stated = headers.get("content-length", "0")
    if not stated.isdigit() or len(stated) > 15 or int(stated) > most:
        raise too_large
    if headers.get("content-encoding", "identity") != "identity":
        raise _RefusedError("unsupported-media-type", "send the body without a Content-Encoding")
    return too_large


def _late(seconds: float) -> _RefusedError:
    return _RefusedError("body-timeout", f"the body must arrive within {seconds:g} seconds")


def check_json(headers: Headers, body: bytes, most_depth: int) -> None:
    """Refuse a JSON body that is too deep, or has characters that no text has."""
    if not body or "json" not in headers.get("content-type", ""):
        return
    if b"\0" in body:
        raise _RefusedError("invalid-request", "JSON is read as UTF-8")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise _RefusedError("invalid-request", "JSON is read as UTF-8") from None
    if _is_deeper(body, most_depth):
        raise _RefusedError("too-large", f"JSON may be {most_depth} levels deep")
    if b"\\u" in body and _has_unusable_escape(body):
        raise _RefusedError(
            "invalid-request", "a text has the character NUL or half a surrogate pair, which no text has"
        )


def _is_deeper(body: bytes, most_depth: int) -> bool:
    if body.count(b"[") + body.count(b"{") <= most_depth:
        return False
    depth = 0
    for match in _BRACKET.finditer(_STRING.sub(b'""', body)):
        depth += 1 if match[0] in b"[{" else -1
        if depth > most_depth:
            return True
    return False


def _escapes(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Start, end and code of each unicode escape; code -1 for other escapes."""
    for match in _ESCAPE.finditer(body):
        yield match.start(), match.end(), -1 if match[1] is None else int(match[1], 16)


def _has_unusable_escape(body: bytes) -> bool:
    high_end = None  # where a high surrogate ends that waits for its other half
    for start, end, code in _escapes(body):
        completes = 0xDC00 <= code <= 0xDFFF and start == high_end
        if code == 0 or ((high_end is not None or 0xDC00 <= code <= 0xDFFF) and not completes):
            return True
        high_end = end if 0xD800 <= code <= 0xDBFF else None
    return high_end is not None
