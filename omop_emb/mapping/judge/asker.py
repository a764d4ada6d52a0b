"""Asker: questions to a generative model about many items, with retries, its tokens and failure recorded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

from omop_emb.errors import ProviderError, ProviderUnavailableError, RateLimitError, TextRejectedError
from omop_emb.providers.base import estimated_tokens
from omop_emb.providers.chat import ChatModel, ChatResponse
from omop_emb.providers.rate_limiter import Rate, RateLimiter
from omop_emb.providers.retrying import RetryPolicy, call_with_retries

# After so many failed questions in a row the cause is the provider, not the items.
_MAX_FAILURES_IN_A_ROW = 3
_MAX_WAIT_SECONDS = 60.0


class Answer(Protocol):
    """What an item's entry means."""

    @property
    def problem(self) -> str:
        """Why it is no answer; "" if it is one."""


Entry = TypeVar("Entry")
AnyAnswer = TypeVar("AnyAnswer", bound=Answer)


@dataclass(frozen=True)
class Task(Generic[Entry]):
    """What a model is asked about every item, and how its text is read.

    Attributes:
        system: the instructions.
        schema: of the answer, a JSON schema.
        read: entries by the number of their item, from 1 to the number of items, in what the model wrote.
    """

    system: str
    schema: Mapping[str, Any]
    read: Callable[[str, int], Mapping[int, Entry]]

    @property
    def tokens(self) -> int:
        """About how many tokens every question has beside its items."""
        return estimated_tokens(self.system) + estimated_tokens(json.dumps(self.schema))


@dataclass(slots=True)
class ChatUsage:
    """What was used so far: requests, each attempt counted, and tokens as the provider counts them."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0  # thoughts included, which are billed too
    thinking_tokens: int = 0  # of the output, as far as the provider says

    def cost(self, input_price: float, output_price: float) -> float:
        """The price of the tokens, at prices per million tokens."""
        return (self.input_tokens * input_price + self.output_tokens * output_price) / 1_000_000


class Asker(Generic[Entry]):
    """Asks a generative model about numbered items; safe to use from several threads.

    Args:
        model: the model to ask.
        task: what it is asked.
        rate: the provider's limits per minute.
        max_attempts: for a request that fails temporarily.
        rate_limit_patience_seconds: sum of waits for limits that are not counted as attempts.
        sleep: waits between attempts.

    Attributes:
        task: as given.
        failure: the permanent failure, after which nothing is sent; None as long as there is none.
        usage: requests and tokens so far.
    """

    def __init__(
        self,
        model: ChatModel,
        task: Task[Entry],
        *,
        rate: Rate | None = None,
        max_attempts: int = 4,
        rate_limit_patience_seconds: float = 600.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.failure: ProviderError | None = None
        self.usage = ChatUsage()
        self._model, self.task, self._sleep = model, task, sleep
        self._limiter = RateLimiter(rate or Rate(), sleep=sleep)
        self._retry_policy = RetryPolicy(
            timeout_seconds=model.timeout_seconds,
            max_attempts=max_attempts,
            deadline_seconds=max_attempts * (model.timeout_seconds + _MAX_WAIT_SECONDS),
            max_wait_seconds=_MAX_WAIT_SECONDS,
            rate_limit_patience_seconds=rate_limit_patience_seconds,
        )
        self._failures_in_a_row = 0
        self._lock = Lock()

    def ask(
        self,
        descriptions: Sequence[str],
        read: Callable[[int, Entry | None], AnyAnswer],
        failed: Callable[[str], AnyAnswer],
    ) -> list[AnyAnswer]:
        """An answer per description; an item without a usable one is asked about once more, alone.

        Args:
            descriptions: the items.
            read: what an item's entry means; its arguments are the item's index, and None without an entry.
            failed: an answer with a problem.
        """
        items = list(enumerate(descriptions))
        try:
            answers = self._ask_once(items, read, failed)
            return [
                answer if not answer.problem else self._ask_once([item], read, failed)[0]
                for item, answer in zip(items, answers, strict=True)
            ]
        except ProviderError as error:
            self._record_failure(error)
            return [failed(str(error)) for _ in items]

    def _ask_once(
        self,
        items: Sequence[tuple[int, str]],
        read: Callable[[int, Entry | None], AnyAnswer],
        failed: Callable[[str], AnyAnswer],
    ) -> list[AnyAnswer]:
        try:
            response = self._send(numbered_question([text for _, text in items]))
        except TextRejectedError as error:
            # A single item of the batch may be the cause; then each is asked about alone.
            self._record_failure(error)
            return [failed(str(error))] * len(items)
        with self._lock:
            self._failures_in_a_row = 0
        if response.incomplete:
            return [failed(f"the model's answer was {response.incomplete}")] * len(items)
        entries = self.task.read(response.text, len(items))
        return [read(index, entries.get(number)) for number, (index, _) in enumerate(items, start=1)]

    def _send(self, question: str) -> ChatResponse:
        """The model's response to a question, within the provider's limits and with retries."""
        tokens = estimated_tokens(self.task.system) + estimated_tokens(question)

        def before_attempt() -> None:
            if self.failure is not None:
                raise ProviderError("not asked, because the provider failed")
            self._limiter.acquire(texts=1, tokens=tokens)

        def attempt(timeout_seconds: float) -> ChatResponse:
            with self._lock:
                self.usage.requests += 1
            with self._limiter.sending():
                response = self._model.ask(
                    self.task.system, question, self.task.schema, timeout_seconds=timeout_seconds
                )
            with self._lock:
                self.usage.input_tokens += response.input_tokens or 0
                self.usage.output_tokens += response.output_tokens or 0
                self.usage.thinking_tokens += response.thinking_tokens or 0
            return response

        return call_with_retries(
            attempt,
            self._retry_policy,
            before_attempt=before_attempt,
            after_failure=self._limiter.pause_after,
            sleep=self._sleep,
        )

    def _record_failure(self, error: ProviderError) -> None:
        with self._lock:
            self._failures_in_a_row += 1
            permanent = (
                isinstance(error, RateLimitError)
                or not isinstance(error, ProviderUnavailableError | TextRejectedError)
                or self._failures_in_a_row >= _MAX_FAILURES_IN_A_ROW
            )
            if permanent and self.failure is None:
                self.failure = error


def numbered_question(descriptions: Sequence[str]) -> str:
    """The question about described items, numbered from 1."""
    return "\n".join(f"term {number}: {text}" for number, text in enumerate(descriptions, start=1))
