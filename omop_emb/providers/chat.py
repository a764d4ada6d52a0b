"""Generative models that answer a question with JSON: Ollama, Gemini and OpenAI-compatible endpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from omop_emb import config
from omop_emb.errors import ConfigurationError, ProviderError, TextRejectedError
from omop_emb.providers.gemini_client import GeminiClient
from omop_emb.providers.http_faults import http_fault
from omop_emb.providers.ollama import OllamaProvider
from omop_emb.providers.openai import OPENAI_URL, OpenAIProvider

CHAT_PROVIDERS = ("ollama", "gemini", "openai")
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What a model answered.

    Attributes:
        text: as it came; it should be JSON and need not be.
        declined: why there is no whole answer ("refused", "cut off at the limit"); "" if there is one.
        input_tokens, output_tokens: as the provider counts them; None where it does not say.
    """

    text: str
    declined: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None


class ChatModel(Protocol):
    """A model that answers one question; called from several threads if `in_flight` is above 1.

    Attributes:
        source: provider:model.
        in_flight: how many questions may be under way at once.
        timeout_seconds: for one attempt.
    """

    source: str
    in_flight: int
    timeout_seconds: float

    def ask(self, system: str, question: str, schema: Schema, *, timeout_seconds: float) -> ChatAnswer:
        """Answer a question in JSON of a schema.

        Raises:
            ProviderUnavailableError: trying again may help.
            TextRejectedError: the question may be to blame.
            ProviderError: nothing helps for now.
        """
        ...


def make_chat_model(model: str) -> ChatModel:
    """A generative model by the name provider:model; nothing is asked yet.

    Raises:
        ConfigurationError: there is no such provider, or no model is named.
    """
    provider, _, name = model.strip().partition(":")
    if provider not in CHAT_PROVIDERS or not name:
        raise ConfigurationError(
            "a judge is named provider:model, such as ollama:llama3.1, provider being one of "
            f"{', '.join(CHAT_PROVIDERS)}; found {model!r}"
        )
    if provider == "ollama":
        return OllamaChat(name)
    return GeminiChat(name) if provider == "gemini" else OpenAIChat(name)


class OllamaChat:
    """A model served by Ollama, through /api/chat; its answer is held to the schema by Ollama."""

    def __init__(self, model: str) -> None:
        self.source = f"ollama:{model}"
        # Ollama queues what it cannot do at once; two keep it busy while an answer is read.
        self.in_flight, self.timeout_seconds = 2, 300.0
        self._model, self._provider = model, OllamaProvider(model, host=config.text_or_none("OLLAMA_HOST"))

    def ask(self, system: str, question: str, schema: Schema, *, timeout_seconds: float) -> ChatAnswer:
        """Answer with POST /api/chat."""
        with self._provider.calling(timeout_seconds) as client:
            response = client.chat(
                model=self._model,
                messages=[{"role": "system", "content": system}, {"role": "user", "content": question}],
                format=dict(schema),
                # Ollama's own context of 4,096 tokens would cut the front of a long question off silently.
                options={"temperature": 0, "num_ctx": 16_384, "num_predict": 2_048},
            )
            return ChatAnswer(
                response.message.content or "",
                declined="cut off at the limit" if response.done_reason == "length" else "",
                input_tokens=response.prompt_eval_count,
                output_tokens=response.eval_count,
            )


class GeminiChat:
    """A Gemini model, through generateContent with a schema for its answer."""

    def __init__(self, model: str) -> None:
        self._client = GeminiClient(model)
        self.source = self._client.source
        self.in_flight, self.timeout_seconds = 4, 120.0

    def ask(self, system: str, question: str, schema: Schema, *, timeout_seconds: float) -> ChatAnswer:
        """Answer with POST …:generateContent."""
        with self._client.calling(timeout_seconds) as client:
            from google.genai import types

            response = client.models.generate_content(
                model=self._client.model,
                contents=question,
                config=types.GenerateContentConfig(
                    system_instruction=system,
                    temperature=0,
                    response_mime_type="application/json",
                    response_json_schema=dict(schema),
                    http_options=types.HttpOptions(timeout=max(1, round(timeout_seconds * 1000))),
                ),
            )
            usage = response.usage_metadata
            return ChatAnswer(
                _gemini_text(response),
                declined=_gemini_declined(response),
                input_tokens=usage.prompt_token_count if usage else None,
                output_tokens=usage.candidates_token_count if usage else None,
            )


class OpenAIChat:
    """A model behind an endpoint that speaks OpenAI's /chat/completions.

    Servers differ in what they take: a schema, JSON without one, neither; a temperature, or their own only.
    The first question finds out, and later ones are asked the same way.
    """

    def __init__(self, model: str) -> None:
        base = (config.text_or_none("OPENAI_BASE_URL") or OPENAI_URL).strip().rstrip("/")
        self.source = f"openai:{model}"
        self.in_flight, self.timeout_seconds = 4, 300.0
        self._model, self._url, self._way = model, f"{base}/chat/completions", 0
        self._provider = OpenAIProvider(
            model,
            base_url=config.text_or_none("OPENAI_BASE_URL"),
            key=config.text_or_none("OPENAI_API_KEY"),
        )

    def ask(self, system: str, question: str, schema: Schema, *, timeout_seconds: float) -> ChatAnswer:
        """Answer with POST {base_url}/chat/completions."""
        ways = _ways(schema)
        first_refusal: ProviderError | None = None
        for number in range(self._way, len(ways)):
            try:
                answer = self._post(system, question, ways[number], timeout_seconds)
            except TextRejectedError as error:
                first_refusal = first_refusal or error
                continue
            self._way = number
            return answer
        assert first_refusal is not None  # noqa: S101 - for mypy: there is at least one way
        raise first_refusal

    def _post(self, system: str, question: str, way: Mapping[str, Any], timeout_seconds: float) -> ChatAnswer:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        with self._provider.calling(timeout_seconds) as client:
            response = client.post(self._url, json={"model": self._model, "messages": messages, **way})
            if response.status_code != 200:
                raise http_fault(
                    self.source,
                    response.status_code,
                    response.text,
                    headers=response.headers,
                    not_found="are OPENAI_BASE_URL (it ends in /v1) and the model's name right?",
                    key="OPENAI_API_KEY",
                )
            body = json.loads(response.content)
            choice, usage = body["choices"][0], body.get("usage") or {}
            message, end = choice["message"], choice.get("finish_reason")
            declined = "refused" if message.get("refusal") or end == "content_filter" else ""
            return ChatAnswer(
                message.get("content") or "",
                declined=declined or ("cut off at the limit" if end == "length" else ""),
                input_tokens=usage.get("prompt_tokens"),
                output_tokens=usage.get("completion_tokens"),
            )


def _ways(schema: Schema) -> list[dict[str, Any]]:
    held = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": dict(schema)}}
    return [
        {"response_format": held, "temperature": 0},
        {"response_format": held},
        {"response_format": {"type": "json_object"}, "temperature": 0},
        {"temperature": 0},
        {},
    ]


def _gemini_text(response: Any) -> str:
    candidates = response.candidates or []
    parts = (candidates[0].content.parts or []) if candidates and candidates[0].content else []
    return "".join(part.text for part in parts if part.text and not part.thought)


def _gemini_declined(response: Any) -> str:
    if response.prompt_feedback is not None and response.prompt_feedback.block_reason is not None:
        return "refused"
    if not response.candidates:
        return "refused"
    reason = response.candidates[0].finish_reason
    name = reason.name if reason is not None else "STOP"
    return {"STOP": "", "FINISH_REASON_UNSPECIFIED": "", "MAX_TOKENS": "cut off at the limit"}.get(
        name, "refused"
    )
