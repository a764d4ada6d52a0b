"""Connection: one HTTP client per model, with a timeout for each call and our errors for its exceptions."""

from __future__ import annotations

import importlib
import json
import threading
import time
import weakref
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

from omop_emb.errors import (
    ConfigurationError,
    MissingExtraError,
    OmopEmbError,
    ProviderError,
    ProviderRefusedError,
)
from omop_emb.providers.http_errors import connection_error, oversized_response, unreadable_response
from omop_emb.safe_files.foreign_text import size

# A proxy (HTTP_PROXY, ALL_PROXY) is elsewhere: it would see the texts, and reach its own localhost, not ours.
_THIS_MACHINE = ("localhost", "*.localhost", "127.0.0.1", "127.0.1.1", "127.1", "[::1]", "0.0.0.0")  # noqa: S104
MOST_BYTES = 64 << 20
"""Of a response: 256 vectors of 4,096 numbers, written as text, have about 25 MB."""
_PIECE_BYTES = 1 << 20
_OF_THE_ANSWER = (AttributeError, LookupError, OverflowError, RecursionError, MemoryError)
_WITHOUT_PROXY = {f"all://{host}": None for host in _THIS_MACHINE}


class Connection(ABC):
    """The HTTP client for one model, shared by threads; no SDK is imported before the first call.

    `source` (provider:model), `server` ("Ollama at gpu-server") and `settings` (the variables to check if the
    SDK refuses them) are for messages.
    """

    extra: str  # of this package, installs the SDK; also the provider's name unless `source` says another

    def __init__(
        self, model: str, *, server: str, settings: str = "its settings", source: str | None = None
    ) -> None:
        self.model, self.source, self.server = model, source or f"{self.extra}:{model}", server
        self._settings = settings
        self._call = _Call(self.source, server)
        self._lock = threading.Lock()
        self._sdk_client: Any = None

    @property
    def response_body(self) -> bytes:
        """The last response of this thread, as it came, if its block was opened with `keep_body`."""
        return self._call.body

    @contextmanager
    def client(
        self, timeout_seconds: float, *, keep_body: bool = False, most_bytes: int = MOST_BYTES
    ) -> Iterator[Any]:
        """The SDK's client; each request within the block may take `timeout_seconds` as a whole.

        What the SDK and its HTTP library raise within the block becomes a ProviderError, and so does a
        response of more than `most_bytes`, unpacked. `keep_body` is for small responses of which the SDK
        leaves something out.
        """
        with self._lock:
            if self._sdk_client is None:
                hooks = {"request": [self._call.before_request], "response": [self._call.after_response]}
                try:
                    self._sdk_client = self._open(event_hooks=hooks, mounts=_WITHOUT_PROXY)
                except ImportError:
                    raise MissingExtraError(f"the model {self.source}", self.extra) from None
                except OmopEmbError:
                    raise
                except Exception as error:
                    # Such as an address or a proxy that cannot be read; the message may hold a password.
                    raise ConfigurationError(
                        f"{self.source} cannot be set up ({type(error).__name__}): check {self._settings}, "
                        "and the proxy if there is one"
                    ) from None
                weakref.finalize(self, self._sdk_client.close)
        self._call.begin(timeout_seconds, keep_body=keep_body, most_bytes=most_bytes)
        try:
            yield self._sdk_client
        except OmopEmbError:
            raise
        except Exception as error:
            translated = self._sdk_error(error, self._call.headers) or self._http_error(error)
            if translated is None:
                raise
            raise translated from None
        finally:
            self._call.timeout_seconds = None

    @abstractmethod
    def _open(self, **client_arguments: Any) -> Any:
        """Import the SDK and make its client, passing these arguments on to httpx."""

    def _sdk_error(self, error: Exception, headers: Mapping[str, str]) -> ProviderError | None:
        """What an exception of the SDK's own stands for, given the response headers; None for others."""
        return None

    def _http_error(self, error: Exception) -> ProviderError | None:
        is_of_httpx = type(error).__module__.partition(".")[0] in ("httpx", "httpx2")
        is_unsendable = is_of_httpx and (
            type(error).__name__ in ("InvalidURL", "UnsupportedProtocol")
            or (type(error).__name__ == "LocalProtocolError" and "header" in str(error).lower())
        )
        is_argument_error = isinstance(error, (ValueError, TypeError)) and not is_of_httpx
        is_before_response = not self._call.has_response and not isinstance(error, json.JSONDecodeError)
        if is_unsendable or (is_argument_error and is_before_response):
            # The SDK refuses to send it, and would again. Its message may quote a text or a key.
            return ProviderRefusedError(
                f"{self.source}: the request cannot be sent ({type(error).__name__}): check {self._settings}"
            )
        # What SDKs raise for a body that is not JSON, or not the JSON that they expect.
        if is_argument_error or isinstance(error, _OF_THE_ANSWER):
            return unreadable_response(self.source, self.server)
        if is_of_httpx or isinstance(error, ConnectionError):
            return connection_error(self.source, self.server, error)
        return None


def split_address(variable: str, address: str) -> SplitResult:
    """The parts of a server's address; without http:// it may begin with the host.

    Raises:
        ConfigurationError: a sign of the password makes its rest look like a path, and its beginning like a
            host, which would be sent the texts.
        ValueError: it is no address.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ConfigurationError(
            f"user or password in {variable} cannot be read: percent-encode special characters in them (@ "
            "as %40, / as %2F, # as %23, ? as %3F)"
        )
    return parts


class _Call(threading.local):
    """Each thread's call, with request and response hooks for a client of httpx or httpx2."""

    def __init__(self, source: str, server: str) -> None:
        self._source, self._server = source, server
        self.timeout_seconds: float | None = None
        self.headers: Mapping[str, str] = {}  # of the last response, names in lower case
        self.has_response = self.keep_body = False
        self.body = b""

    def begin(self, timeout_seconds: float, *, keep_body: bool, most_bytes: int) -> None:
        self.timeout_seconds, self.headers, self.has_response = timeout_seconds, {}, False
        self.keep_body, self.body, self._most_bytes = keep_body, b"", most_bytes

    def before_request(self, request: Any) -> None:
        request.headers["Accept-Encoding"] = "gzip"
        if self.timeout_seconds is not None:
            phases = ("connect", "read", "write", "pool")
            request.extensions["timeout"] = dict.fromkeys(phases, self.timeout_seconds)

    def after_response(self, response: Any) -> None:
        self.has_response = True
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        if self.timeout_seconds is not None:
            encoding = self.headers.get("content-encoding", "identity").strip().lower()
            if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
                raise unreadable_response(self._source, self._server)
            # The library would unpack whatever comes: a megabyte can become a gigabyte.
            response.headers.pop("content-encoding", None)
            bounded_stream = _bounded_stream(type(response).__module__.partition(".")[0])
            # Its timeout starts again with each chunk: a server that drips would hold a call for ever.
            deadline, is_packed = time.monotonic() + self.timeout_seconds, encoding not in ("identity", "")
            oversized = oversized_response(self._source, self._server, size(self._most_bytes))
            response.stream = bounded_stream(response, deadline, self._most_bytes, oversized, is_packed)
        if self.keep_body:
            self.body = response.read()


@cache
def _bounded_stream(library: str) -> Callable[[Any, float, int, ProviderError, bool], Any]:
    """The stream class for responses of httpx or httpx2; both insist on a subclass of their own."""
    http = importlib.import_module(library)

    class BoundedStream(http.SyncByteStream):  # type: ignore[misc, name-defined] # known only at run time
        def __init__(
            self, response: Any, deadline: float, most: int, oversized: ProviderError, is_packed: bool
        ) -> None:
            self._body, self._request, self._deadline = response.stream, response.request, deadline
            self._most, self._oversized, self._is_packed = most, oversized, is_packed

        def __iter__(self) -> Iterator[bytes]:
            received = 0
            for chunk in _unpacked(self._body) if self._is_packed else self._body:
                if time.monotonic() > self._deadline:
                    raise http.ReadTimeout("the whole response took too long", request=self._request)
                received += len(chunk)
                if received > self._most:
                    raise self._oversized
                yield chunk

        def close(self) -> None:
            self._body.close()

    return BoundedStream


def _unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The content of gzip or zlib's format, a mebibyte at a time; ValueError if it is neither."""
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)
    for chunk in chunks:
        while True:
            try:
                piece = unpacking.decompress(chunk, _PIECE_BYTES)
            except zlib.error as error:
                raise ValueError("a packed response is damaged") from error
            yield piece
            chunk = unpacking.unconsumed_tail
            if not chunk and len(piece) < _PIECE_BYTES:
                break
