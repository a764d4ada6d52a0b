"""Chat models: Ollama, Gemini and OpenAI-compatible models that answer a question with JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from omop_emb.errors import TextRejectedError
from omop_emb.providers.factory import split_model
from omop_emb.providers.gemini_client import GeminiClient, request_options
from omop_emb.providers.ollama import OllamaConnection
from omop_emb.providers.openai import OpenAIConnection

_REFUSED = "refused"
_CUT_OFF = "cut off at the limit"

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """A model's response.

    Attributes:
        text: as it came; it should be JSON, and may not be.
        incomplete: why the answer is incomplete ("refused", "cut off at the limit"); "" if it is complete.
        input_tokens, output_tokens: as the provider counts them; None where it does not say.
    """

    text: str
    incomplete: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None


class ChatModel(Protocol):
    """A model that answers one question; called from several threads if `concurrency` is above 1."""

    source: str  # provider:model
    concurrency: int
    timeout_seconds: float  # for one attempt

    def ask(self, system: str, question: str, schema: Schema, *, timeout_seconds: float) -> ChatResponse:
        """Answer a question in JSON of a schema.

        Raises:
            ProviderUnavailableError: trying again may help.
            TextRejectedError: the question may be the cause.
            ProviderError: nothing helps for now.
        """


def make_chat_model(model: str) -> ChatModel:
    """A generative model by the name provider:model; nothing is sent yet.

    Raises:
        ConfigurationError: there is no such provider, or the model's name is missing.
    """
    provider, name = split_model(model, what="a judge", example="ollama:llama3.1", known=_CHAT_MODELS)
    return _CHAT_MODELS[provider](name)


class _OllamaChat:
    """A model served by Ollama, through /api/chat; Ollama forces the answer into the schema."""

    # Ollama queues what it cannot do at once; two keep it busy while an answer is read.
    concurrency, timeout_seconds = 2, 300.0

    def __init__(self, model: str) -> None:
        self._connection = OllamaConnection(model)
        self.source = self._connection.source

    def ask(self, system: str, question: str, schema: Schema, *, timeout_seconds: float) -> ChatResponse:
        with self._connection.client(timeout_seconds) as client:
            response = client.chat(
                model=self._connection.model,
                messages=_messages(system, question),
                format=dict(schema),
                # Ollama's own context of 4,096 tokens would silently cut the front off a long question.
                options={"temperature": 0, "num_ctx": 16_384, "num_predict": 2_048},
                think=False,  # thoughts would use the tokens up before the answer begins
            )
            return ChatResponse(
                response.message.content or "",
                incomplete=_CUT_OFF if response.done_reason == "length" else "",
                input_tokens=response.prompt_eval_count,
                output_tokens=response.eval_count,
            )


class _GeminiChat:
    """A Gemini model, through generateContent with a schema for its answer."""

    concurrency, timeout_seconds = 4, 120.0

    def __init__(self, model: str) -> None:
        self._client = GeminiClient(model)
        self.source = self._client.source

    def ask(self, system: str, question: str, schema: Schema, *, timeout_seconds: float) -> ChatResponse:
        with self._client.client(timeout_seconds) as client:
            from google.genai import types

            response = client.models.generate_content(
                model=self._client.model,
                contents=question,
                config=types.GenerateContentConfig(
                    system_instruction=system,
                    temperature=0,
                    response_mime_type="application/json",
                    response_json_schema=dict(schema),
                    http_options=request_options(timeout_seconds),
                ),
            )
            candidate = response.candidates[0] if response.candidates else None
            feedback, usage = response.prompt_feedback, response.usage_metadata
            is_blocked = candidate is None or (feedback is not None and feedback.block_reason is not None)
            reason = candidate.finish_reason.name if candidate and candidate.finish_reason else "STOP"
            complete = {"STOP": "", "FINISH_REASON_UNSPECIFIED": "", "MAX_TOKENS": _CUT_OFF}
            parts = (candidate.content.parts or []) if candidate and candidate.content else []
            return ChatResponse(
                "".join(part.text for part in parts if part.text and not part.thought),
                incomplete=_REFUSED if is_blocked else complete.get(reason, _REFUSED),
                input_tokens=usage.prompt_token_count if usage else None,
                # Thoughts are billed as output.
                output_tokens=(usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
                if usage
                else None,
            )


class _OpenAIChat:
    """A model behind an endpoint that speaks OpenAI's /chat/completions.

    Servers differ in what they accept: a schema, JSON without one, neither; a temperature, or their own only.
    The first question finds the options that work, and later ones use them.
    """

    concurrency, timeout_seconds = 4, 300.0

    def __init__(self, model: str) -> None:
        self._connection = OpenAIConnection(model)
        self.source = self._connection.source
        self._option = 0

    def ask(self, system: str, question: str, schema: Schema, *, timeout_seconds: float) -> ChatResponse:
        strict_schema = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": dict(schema)},
        }
        options: list[dict[str, Any]] = [
            {"response_format": strict_schema, "temperature": 0},
            {"response_format": strict_schema},
            {"response_format": {"type": "json_object"}, "temperature": 0},
            {"temperature": 0},
            {},
        ]
        first_refusal: TextRejectedError | None = None
        for number in range(self._option, len(options)):
            body = {"messages": _messages(system, question), **options[number]}
            try:
                response = self._post(body, timeout_seconds)
            except TextRejectedError as error:
                first_refusal = first_refusal or error
                continue
            self._option = number
            return response
        assert first_refusal is not None  # noqa: S101 - for mypy: at least one option was tried
        raise first_refusal

    def _post(self, body: Mapping[str, Any], timeout_seconds: float) -> ChatResponse:
        with self._connection.post("chat/completions", body, timeout_seconds) as answer:
            choice, usage = answer["choices"][0], answer.get("usage") or {}
            message, reason = choice["message"], choice.get("finish_reason")
            is_refused = message.get("refusal") or reason == "content_filter"
            return ChatResponse(
                message.get("content") or "",
                incomplete=_REFUSED if is_refused else _CUT_OFF if reason == "length" else "",
                input_tokens=usage.get("prompt_tokens"),
                output_tokens=usage.get("completion_tokens"),
            )


def _messages(system: str, question: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": question}]


_CHAT_MODELS: dict[str, type[_OllamaChat] | type[_GeminiChat] | type[_OpenAIChat]] = {
    "ollama": _OllamaChat,
    "gemini": _GeminiChat,
    "openai": _OpenAIChat,
}
