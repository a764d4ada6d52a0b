"""Connection: one HTTP client per model, opened at the first call, whose exceptions become our errors."""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from omop_emb.errors import MissingExtraError, ProviderError
from omop_emb.providers.http_errors import connection_error, unreadable_response
from omop_emb.providers.http_hooks import CallHooks


class Connection(ABC):
    """The HTTP client for one model, shared by threads; no SDK is imported before the first call.

    Attributes:
        extra: the extra of this package that installs the SDK.
        model: the provider's name for the model.
        source: provider:model, for messages.
        server: what is called, for messages, such as "Ollama at gpu-server".
    """

    extra: ClassVar[str]

    def __init__(self, model: str, *, server: str) -> None:
        self.model, self.source, self.server = model, f"{self.extra}:{model}", server
        self._hooks = CallHooks()
        self._lock = threading.Lock()
        self._sdk_client: Any = None

    @contextmanager
    def client(self, timeout_seconds: float) -> Iterator[Any]:
        """The SDK's client; each request within the block may take `timeout_seconds` as a whole.

        Raises:
            ProviderError: in place of what the SDK and its HTTP library raise within the block.
            ConfigurationError: a key or library is missing.
        """
        with self._lock:
            if self._sdk_client is None:
                try:
                    self._sdk_client = self._open(**self._hooks.client_arguments)
                except ImportError:
                    raise MissingExtraError(f"the model {self.source}", self.extra) from None
                weakref.finalize(self, self._sdk_client.close)
        try:
            with self._hooks.call(timeout_seconds):
                yield self._sdk_client
        except Exception as error:
            translated = self._sdk_error(error, self._hooks.headers) or self._http_error(error)
            if translated is None:
                raise
            raise translated from None

    @abstractmethod
    def _open(self, **client_arguments: Any) -> Any:
        """Import the SDK and make its client, passing these arguments on to httpx."""

    def _sdk_error(self, error: Exception, headers: Mapping[str, str]) -> ProviderError | None:
        """What an exception of the SDK's own stands for, given the response headers; None for others."""
        return None

    def _http_error(self, error: Exception) -> ProviderError | None:
        # What SDKs raise for a body that is not JSON, or not the JSON that they expect.
        if isinstance(error, (ValueError, TypeError, AttributeError, LookupError)):
            return unreadable_response(self.source, self.server)
        is_of_httpx = type(error).__module__.partition(".")[0] in ("httpx", "httpx2")
        if is_of_httpx or isinstance(error, ConnectionError):
            return connection_error(self.source, self.server, error)
        return None
