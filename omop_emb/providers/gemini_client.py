"""Gemini's connection: google-genai's client for the Developer API or Vertex AI, its errors as ours."""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from omop_emb import config
from omop_emb.errors import ConfigurationError, MissingExtraError
from omop_emb.providers.http_faults import garbled, http_fault, transport_fault
from omop_emb.providers.http_hooks import CallHooks

_TRUE = frozenset({"1", "true", "yes"})


class GeminiClient:
    """The SDK's client for one model, made at the first call.

    Attributes:
        model: without "models/".
        source: "gemini:" and the model, for messages.
        is_vertex: whether Vertex AI is called, as GOOGLE_GENAI_USE_VERTEXAI says.
    """

    def __init__(self, model: str) -> None:
        self.model = model.removeprefix("models/")
        self.source = f"gemini:{self.model}"
        self.is_vertex = _uses_vertex()
        self._service = "Vertex AI" if self.is_vertex else "the Gemini API"
        self._hooks = CallHooks()
        self._lock = threading.Lock()
        self._sdk_client: Any = None

    @contextmanager
    def calling(self, timeout_seconds: float) -> Iterator[Any]:
        """The SDK's client, its errors told as ours."""
        try:
            from google.genai import errors
        except ImportError:
            raise MissingExtraError(f"the model {self.source}", "gemini") from None
        client = self._client()
        try:
            with self._hooks.call(timeout_seconds):
                yield client
        except errors.APIError as error:
            # The details carry the cause (a quota's name, RetryInfo); they are searched, not shown.
            details = f"{error.message} {error.details}"
            raise http_fault(
                self.source,
                error.code if isinstance(error.code, int) else 0,
                details,
                headers=self._hooks.headers,
                retry_after_seconds=_retry_delay(details),
                not_found="omop-emb models list shows the models that are served",
                key="GOOGLE_CLOUD_PROJECT and your credentials" if self.is_vertex else "GEMINI_API_KEY",
            ) from None
        except (ValueError, TypeError, AttributeError, KeyError):
            # What the SDK raises for a body that is no JSON, or not the JSON it expects.
            raise garbled(self.source, self._service) from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2"):
                raise
            raise transport_fault(self.source, self._service, error) from None

    def _client(self) -> Any:
        with self._lock:
            if self._sdk_client is None:
                self._sdk_client = self._new_client()
                weakref.finalize(self, self._sdk_client.close)
            return self._sdk_client

    def _new_client(self) -> Any:
        from google import genai

        options = genai.types.HttpOptions(client_args=self._hooks.client_arguments)
        if not self.is_vertex:
            key = config.text_or_none("GOOGLE_API_KEY") or config.text_or_none("GEMINI_API_KEY")
            if key is None:
                raise ConfigurationError(f"{self.source} needs a key: export GEMINI_API_KEY=…")
            return genai.Client(api_key=key, vertexai=False, http_options=options)
        try:
            return genai.Client(
                vertexai=True,
                project=config.text_or_none("GOOGLE_CLOUD_PROJECT"),
                location=config.text_or_none("GOOGLE_CLOUD_LOCATION") or "global",
                http_options=options,
            )
        except Exception as error:
            # google-auth and the SDK have a class of their own for each way in which credentials can lack.
            raise ConfigurationError(
                f"{self.source} needs Google Cloud credentials ({type(error).__name__}): set "
                "GOOGLE_CLOUD_PROJECT and run gcloud auth application-default login"
            ) from None


def _uses_vertex() -> bool:
    chosen = config.text_or_none("GOOGLE_GENAI_USE_ENTERPRISE") or config.text_or_none(
        "GOOGLE_GENAI_USE_VERTEXAI"
    )
    return chosen is not None and chosen.strip().lower() in _TRUE


def _retry_delay(details: str) -> float | None:
    """The seconds of google.rpc.RetryInfo, else of the message's "Please retry in"."""
    found = re.search(r"retryDelay\W+(\d+(?:\.\d+)?)s", details) or re.search(
        r"retry in (\d+(?:\.\d+)?)s", details
    )
    return float(found[1]) if found else None
