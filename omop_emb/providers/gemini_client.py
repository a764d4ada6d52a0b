"""Gemini client: google-genai for the Developer API or Vertex AI."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from omop_emb import config
from omop_emb.errors import ConfigurationError, ProviderError, ProviderRefusedError, TextRejectedError
from omop_emb.providers.base import BatchTooLargeError
from omop_emb.providers.connection import Connection
from omop_emb.providers.http_errors import connection_error, http_error

# What Vertex AI says of a request with more texts than the model takes, of a long text if it may not cut it,
# and of a length of vectors that the model does not have.
_TOO_MANY_TEXTS = re.compile(r"too many instances|batch_?size must be", re.I)
_TOO_MANY_TOKENS = re.compile(r"token count .{0,60}(?:supports?|limit|exceed|up to)", re.I)
_BAD_DIMENSIONS = re.compile(r"output_?dimensionality", re.I)


class GeminiClient(Connection):
    """A connection to one Gemini model, on Vertex AI if GOOGLE_GENAI_USE_VERTEXAI says so.

    Vertex AI is asked with the credentials of GOOGLE_CLOUD_PROJECT, or without a project with GOOGLE_API_KEY.
    """

    extra = "gemini"

    def __init__(self, model: str) -> None:
        chosen = config.variable("GOOGLE_GENAI_USE_ENTERPRISE")
        chosen = chosen or config.variable("GOOGLE_GENAI_USE_VERTEXAI") or ""
        self.is_vertex = chosen.lower() in ("1", "true", "yes")
        self._project = config.variable("GOOGLE_CLOUD_PROJECT")
        self._has_vertex_key = self._project is None and config.variable("GOOGLE_API_KEY") is not None
        if not self.is_vertex:
            server, settings = "the Gemini API", "GEMINI_API_KEY and GOOGLE_API_KEY"
        elif self._has_vertex_key:
            server, settings = "Vertex AI", "GOOGLE_API_KEY"
        else:
            server = "Vertex AI"
            settings = "GOOGLE_CLOUD_PROJECT, GOOGLE_CLOUD_LOCATION and your credentials"
        super().__init__(model.removeprefix("models/"), server=server, settings=settings)

    def _open(self, **client_arguments: Any) -> Any:
        from google import genai

        options = genai.types.HttpOptions(client_args=client_arguments)
        key = config.variable("GOOGLE_API_KEY")
        if not self.is_vertex:
            key = key or config.variable("GEMINI_API_KEY")
            if key is None:
                raise ConfigurationError(f"{self.source} needs a key: export GEMINI_API_KEY=…")
            return genai.Client(api_key=key, vertexai=False, http_options=options)
        if self._has_vertex_key:
            return genai.Client(vertexai=True, api_key=key, http_options=options)
        try:
            return genai.Client(
                vertexai=True,
                project=self._project,
                location=config.variable("GOOGLE_CLOUD_LOCATION") or "global",
                http_options=options,
            )
        except Exception as error:
            # google-auth and the SDK have a class of their own for each way in which credentials can lack.
            raise ConfigurationError(self._sign_in(error)) from None

    def _sign_in(self, error: Exception) -> str:
        return (
            f"{self.source} needs Google Cloud credentials ({type(error).__name__}): set "
            "GOOGLE_CLOUD_PROJECT and run gcloud auth application-default login, or set GOOGLE_API_KEY to a "
            "key of Vertex AI and no project"
        )

    def _sdk_error(self, error: Exception, headers: Mapping[str, str]) -> ProviderError | None:
        from google.genai.errors import APIError

        if type(error).__module__.startswith("google.auth"):
            if "Transport" in type(error).__name__:
                return connection_error(self.source, "Google's sign-in", ConnectionError())
            return ProviderRefusedError(self._sign_in(error))
        if not isinstance(error, APIError):
            return None
        # The details hold the cause (a quota's name, RetryInfo); they are searched, not shown.
        message = f"{error.message} {error.details}"
        status = error.code if isinstance(error.code, int) else 0
        if status == 400 and _TOO_MANY_TEXTS.search(message):
            return BatchTooLargeError(f"it is too large for {self.source} (HTTP 400)")
        if status == 400 and _TOO_MANY_TOKENS.search(message):
            return TextRejectedError(f"it is longer than {self.source} accepts (HTTP 400)")
        if status == 400 and _BAD_DIMENSIONS.search(message):
            return ProviderRefusedError(
                f"{self.source} does not have the requested dimensions (HTTP 400): unset "
                "OMOP_EMB_DIMENSIONS, or choose a length with omop-emb models show"
            )
        return http_error(
            self.source,
            status,
            message,
            headers=headers,
            not_found="omop-emb models list shows the models that are served",
            key=self._settings if self.is_vertex else "GEMINI_API_KEY",
        )


def request_options(timeout_seconds: float) -> Any:
    """google-genai's HttpOptions that tell the service too when to stop, in milliseconds."""
    from google.genai.types import HttpOptions

    return HttpOptions(timeout=max(1, round(timeout_seconds * 1000)))
