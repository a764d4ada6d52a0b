"""Chat models: Ollama, Gemini and OpenAI-compatible models that answer a question with JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from omop_emb.errors import TextRejectedError
from omop_emb.providers.base import token_count
from omop_emb.providers.factory import split_model
from omop_emb.providers.gemini_client import GeminiClient, request_options
from omop_emb.providers.ollama import OllamaConnection
from omop_emb.providers.profile_connection import ProfileConnection
from omop_emb.providers.profiles import chat_profiles
from omop_emb.safe_files.foreign_text import clean_text

_REFUSED = "refused"
_CUT_OFF, _CUT_OFF_THINKING = "cut off at the limit", "cut off at the limit while the model was thinking"
_MOST_BYTES = 8 << 20  # of an answer
_ANSWER_TOKENS = 2_048  # without thoughts; the longest right answer takes a fifth of it
_CONTEXT_TOKENS = 16_384  # of question and answer, without thoughts
# What a thinking model says before its answer; without an end tag the answer was cut off. Some servers leave
# out the first tag, which is a part of the model's template.
_THOUGHTS = re.compile(r"<(think|thinking|thought|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_END_OF_THOUGHTS = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """A model's response.

    Attributes:
        text: without the model's thoughts; it should be JSON, and may not be.
        incomplete: why the answer is incomplete ("refused", "cut off at the limit"); "" if it is complete.
        input_tokens, output_tokens: as the provider counts them; None where it does not say.
        thinking_tokens: the part of the output that was thoughts; None where it does not say.
    """

    text: str
    incomplete: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    thinking_tokens: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _without_thoughts(clean_text(self.text)))
        for name in ("input_tokens", "output_tokens", "thinking_tokens"):
            object.__setattr__(self, name, token_count(getattr(self, name)))


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


def make_chat_model(model: str, *, thinking_tokens: int | None = None, what: str = "a judge") -> ChatModel:
    """A generative model by the name provider:model; nothing is sent yet.

    Args:
        model: such as "ollama:llama3.1".
        thinking_tokens: how much a thinking model may think about one question, 0 or more. None leaves that
            to the provider; Ollama is then told not to think. A limit that a server does not know is left
            out.
        what: what it is for, in an error's words.

    Raises:
        ConfigurationError: there is no such provider, or the model's name is missing.
    """
    provider, name = split_model(model, what=what, example="ollama:llama3.1", known=_CHAT_PROVIDERS)
    if provider == "ollama":
        return _OllamaChat(name, thinking_tokens)
    if provider == "gemini":
        return _GeminiChat(name, thinking_tokens)
    return _OpenAIChat(provider, name, thinking_tokens)


class _OllamaChat:
    """A model served by Ollama, through /api/chat; Ollama forces the answer into the schema."""

    # Ollama queues what it cannot do at once; two keep it busy while an answer is read.
    concurrency, timeout_seconds = 2, 300.0

    def __init__(self, model: str, thinking_tokens: int | None) -> None:
        self._connection = OllamaConnection(model)
        self.source = self._connection.source
        self._options = _Options(
            # Thoughts would use the tokens up before the answer begins, so they are asked for or forbidden.
            [{"think": True}, {"think": False}] if thinking_tokens else [{"think": False}]
        )
        thoughts = thinking_tokens or 0
        # Ollama's own context of 4,096 tokens would silently cut the front off a long question.
        self._limits = {"num_ctx": _CONTEXT_TOKENS + thoughts, "num_predict": _ANSWER_TOKENS + thoughts}

    def ask(self, system: str, question: str, schema: Schema, *, timeout_seconds: float) -> ChatResponse:
        def post(options: Mapping[str, Any]) -> ChatResponse:
            with self._connection.client(timeout_seconds, most_bytes=_MOST_BYTES) as client:
                response = client.chat(
                    model=self._connection.model,
                    messages=_messages(system, question),
                    format=dict(schema),
                    options={"temperature": 0, **self._limits},
                    **options,
                )
                text, thoughts = response.message.content or "", response.message.thinking or ""
                return _response(
                    text,
                    thoughts,
                    incomplete=_CUT_OFF if response.done_reason == "length" else "",
                    input_tokens=response.prompt_eval_count,
                    output_tokens=response.eval_count,
                )

        return self._options.first_accepted(post)


class _GeminiChat:
    """A Gemini model, through generateContent with a schema for its answer."""

    concurrency, timeout_seconds = 4, 120.0

    def __init__(self, model: str, thinking_tokens: int | None) -> None:
        self._client = GeminiClient(model)
        self.source = self._client.source
        # Not every model takes a budget, and some cannot be kept from thinking.
        self._options = _Options(
            [{}]
            if thinking_tokens is None
            else [
                {
                    "thinking_config": {"thinking_budget": thinking_tokens},
                    "max_output_tokens": _ANSWER_TOKENS + thinking_tokens,
                },
                {"max_output_tokens": _ANSWER_TOKENS + thinking_tokens},
            ]
        )

    def ask(self, system: str, question: str, schema: Schema, *, timeout_seconds: float) -> ChatResponse:
        def post(options: Mapping[str, Any]) -> ChatResponse:
            with self._client.client(timeout_seconds, most_bytes=_MOST_BYTES) as client:
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
                        **options,
                    ),
                )
                return _gemini_response(response)

        return self._options.first_accepted(post)


def _gemini_response(response: Any) -> ChatResponse:
    candidate = response.candidates[0] if response.candidates else None
    feedback, usage = response.prompt_feedback, response.usage_metadata
    is_blocked = candidate is None or (feedback is not None and feedback.block_reason is not None)
    reason = candidate.finish_reason.name if candidate and candidate.finish_reason else "STOP"
    complete = {"STOP": "", "FINISH_REASON_UNSPECIFIED": "", "MAX_TOKENS": _CUT_OFF}
    parts = (candidate.content.parts or []) if candidate and candidate.content else []
    thoughts = usage.thoughts_token_count if usage else None
    return _response(
        "".join(part.text for part in parts if part.text and not part.thought),
        "thoughts" if thoughts else "",
        incomplete=_REFUSED if is_blocked else complete.get(reason, _REFUSED),
        input_tokens=usage.prompt_token_count if usage else None,
        # Thoughts are billed as output.
        output_tokens=(usage.candidates_token_count or 0) + (thoughts or 0) if usage else None,
        thinking_tokens=thoughts,
    )


class _OpenAIChat:
    """A model behind an endpoint that speaks OpenAI's /chat/completions.

    Servers differ in what they accept: a schema, JSON without one, neither; a temperature, or their own only.
    The first question finds the options that work, and later ones use them.
    """

    concurrency, timeout_seconds = 4, 300.0

    def __init__(self, provider: str, model: str, thinking_tokens: int | None) -> None:
        self._connection = ProfileConnection(provider, model)
        self.source = self._connection.source
        limit = {} if thinking_tokens is None else {"max_completion_tokens": _ANSWER_TOKENS + thinking_tokens}
        options: list[dict[str, Any]] = [
            {"response_format": "json_schema", "temperature": 0},
            {"response_format": "json_schema"},
            {"response_format": "json_object", "temperature": 0},
            {"temperature": 0},
            {},
        ]
        limited = [{**limit, **entry} for entry in options] if limit else []
        self._options = _Options([*limited, *options])

    def ask(self, system: str, question: str, schema: Schema, *, timeout_seconds: float) -> ChatResponse:
        strict = {"name": "answer", "strict": True, "schema": dict(schema)}
        formats = {
            "json_schema": {"type": "json_schema", "json_schema": strict},
            "json_object": {"type": "json_object"},
        }

        def post(options: Mapping[str, Any]) -> ChatResponse:
            body = {"messages": _messages(system, question), **options}
            if "response_format" in body:
                body["response_format"] = formats[body["response_format"]]
            return self._post(body, timeout_seconds)

        return self._options.first_accepted(post)

    def _post(self, body: Mapping[str, Any], timeout_seconds: float) -> ChatResponse:
        path = self._connection.profile.chat_path
        with self._connection.post(path, body, timeout_seconds, _MOST_BYTES) as answer:
            choice, usage = answer["choices"][0], answer.get("usage") or {}
            message, reason = choice["message"], choice.get("finish_reason")
            is_refused = message.get("refusal") or reason == "content_filter"
            details = usage.get("completion_tokens_details") or {}
            return _response(
                message.get("content") or "",
                # Servers name the field differently.
                message.get("reasoning_content") or message.get("reasoning") or "",
                incomplete=_REFUSED if is_refused else _CUT_OFF if reason == "length" else "",
                input_tokens=usage.get("prompt_tokens"),
                output_tokens=usage.get("completion_tokens"),
                thinking_tokens=details.get("reasoning_tokens"),
            )


class _Options:
    """Options of requests, the best ones first; those that a server accepted are used from then on."""

    def __init__(self, options: Sequence[Mapping[str, Any]]) -> None:
        self._options, self._accepted = options, 0

    def first_accepted(self, post: Callable[[Mapping[str, Any]], ChatResponse]) -> ChatResponse:
        """The response to the first options that are accepted; what refused the first ones if none are."""
        first_refusal: TextRejectedError | None = None
        for number in range(self._accepted, len(self._options)):
            try:
                response = post(self._options[number])
            except TextRejectedError as error:
                first_refusal = first_refusal or error
                continue
            self._accepted = number
            return response
        assert first_refusal is not None  # noqa: S101 - for mypy: at least one was tried
        raise first_refusal


def _response(text: str, thoughts: str, *, incomplete: str, **tokens: int | None) -> ChatResponse:
    """A response of a model that may have thought, told from its answer by the server."""
    if thoughts and not text.strip():
        if incomplete == _CUT_OFF:
            incomplete = _CUT_OFF_THINKING
        elif not incomplete:
            text = thoughts  # the server took the answer for a thought
    return ChatResponse(text, incomplete=incomplete, **tokens)


def _without_thoughts(text: str) -> str:
    text = _THOUGHTS.sub(" ", text)
    ends = list(_END_OF_THOUGHTS.finditer(text))
    return text[ends[-1].end() :] if ends else text


def _messages(system: str, question: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": question}]


_CHAT_PROVIDERS = ("ollama", "gemini", *chat_profiles())
