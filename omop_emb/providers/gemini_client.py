"""Gemini client: google-genai for the Developer API or Vertex AI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omop_emb import config
from omop_emb.errors import ConfigurationError, ProviderError
from omop_emb.providers.connection import Connection
from omop_emb.providers.http_errors import http_error


class GeminiClient(Connection):
    """A connection to one Gemini model, on Vertex AI if GOOGLE_GENAI_USE_VERTEXAI says so."""

    extra = "gemini"

    def __init__(self, model: str) -> None:
        chosen = config.variable("GOOGLE_GENAI_USE_ENTERPRISE")
        chosen = chosen or config.variable("GOOGLE_GENAI_USE_VERTEXAI") or ""
        self.is_vertex = chosen.lower() in ("1", "true", "yes")
        server = "Vertex AI" if self.is_vertex else "the Gemini API"
        super().__init__(model.removeprefix("models/"), server=server)

    def _open(self, **client_arguments: Any) -> Any:
        from google import genai

        options = genai.types.HttpOptions(client_args=client_arguments)
        if not self.is_vertex:
            key = config.variable("GOOGLE_API_KEY") or config.variable("GEMINI_API_KEY")
            if key is None:
                raise ConfigurationError(f"{self.source} needs a key: export GEMINI_API_KEY=…")
            return genai.Client(api_key=key, vertexai=False, http_options=options)
        try:
            return genai.Client(
                vertexai=True,
                project=config.variable("GOOGLE_CLOUD_PROJECT"),
                location=config.variable("GOOGLE_CLOUD_LOCATION") or "global",
                http_options=options,
            )
        except Exception as error:
            # google-auth and the SDK have a class of their own for each way in which credentials can lack.
            raise ConfigurationError(
                f"{self.source} needs Google Cloud credentials ({type(error).__name__}): set "
                "GOOGLE_CLOUD_PROJECT and run gcloud auth application-default login"
            ) from None

    def _sdk_error(self, error: Exception, headers: Mapping[str, str]) -> ProviderError | None:
        from google.genai.errors import APIError

        if not isinstance(error, APIError):
            return None
        return http_error(
            self.source,
            error.code if isinstance(error.code, int) else 0,
            # The details hold the cause (a quota's name, RetryInfo); they are searched, not shown.
            f"{error.message} {error.details}",
            headers=headers,
            not_found="omop-emb models list shows the models that are served",
            key="GOOGLE_CLOUD_PROJECT and your credentials" if self.is_vertex else "GEMINI_API_KEY",
        )


def request_options(timeout_seconds: float) -> Any:
    """google-genai's HttpOptions that tell the service too when to stop, in milliseconds."""
    from google.genai.types import HttpOptions

    return HttpOptions(timeout=max(1, round(timeout_seconds * 1000)))
