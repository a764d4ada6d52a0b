"""Judge: a generative model's second opinion on terms in review, one of the candidates or none."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from threading import Lock

from omop_emb.errors import ProviderError, ProviderUnavailableError, RateLimitError, TextRejectedError
from omop_emb.mapping.judge.judge_cache import JudgeCache
from omop_emb.mapping.judge.prompt import (
    ANSWER_SCHEMA,
    PROMPT_VERSION,
    SYSTEM_PROMPT,
    ConceptContext,
    build_question,
    describe_term,
    offered_concept_ids,
    read_answers,
)
from omop_emb.mapping.judge.verdict import Verdict, verdict_from_answer, with_verdict
from omop_emb.mapping.records import Decision, MappedTerm
from omop_emb.providers.base import estimated_tokens
from omop_emb.providers.chat import ChatModel, ChatResponse
from omop_emb.providers.rate_limiter import Rate, RateLimiter
from omop_emb.providers.retrying import RetryPolicy, call_with_retries

_OUTPUT_TOKENS_PER_TERM = 45
# After so many failed questions in a row the cause is the provider, not the terms.
_MAX_FAILURES_IN_A_ROW = 3
_MAX_WAIT_SECONDS = 60.0

Contexts = Mapping[int, ConceptContext]


@dataclass(frozen=True, slots=True)
class JudgeEstimate:
    """The expected effort of a second opinion."""

    terms: int = 0  # terms to ask about
    cached: int = 0  # of these, terms whose answer is cached; they cost nothing
    requests: int = 0  # this and the tokens are approximate
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: JudgeEstimate) -> JudgeEstimate:
        return JudgeEstimate(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def cost(self, input_price: float, output_price: float) -> float:
        """The price of the tokens, at prices per million tokens."""
        return (self.input_tokens * input_price + self.output_tokens * output_price) / 1_000_000


@dataclass(slots=True)
class JudgeUsage:
    """What was used so far: requests, each attempt counted, and tokens as the provider counts them."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def cost(self, input_price: float, output_price: float) -> float:
        """The price of the tokens, at prices per million tokens."""
        return (self.input_tokens * input_price + self.output_tokens * output_price) / 1_000_000


class Judge:
    """Asks a generative model about terms in review.

    The model answers with the id of a candidate or "none". Any other id is refused, so that nothing can be
    invented, and no answer changes a decision. Terms are asked about in batches, several at the same time;
    each answer is cached at once. If the provider fails permanently, the remaining terms get no answer.

    Attributes:
        failure: the permanent failure; None as long as there is none.
        usage: requests and tokens so far.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        cache: JudgeCache | None = None,
        batch_terms: int = 5,
        max_terms: int | None = None,
        rate: Rate | None = None,
        max_attempts: int = 4,
        rate_limit_patience_seconds: float = 600.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Create a judge; nothing is sent yet.

        Args:
            model: the model to ask.
            cache: earlier answers; None asks about every term and stores nothing.
            batch_terms: maximum number of terms per request.
            max_terms: maximum number of terms that this judge asks about, cached ones not counted.
            rate: the provider's limits per minute.
            max_attempts: for a request that fails temporarily.
            rate_limit_patience_seconds: sum of waits for limits that are not counted as attempts.
            sleep: waits between attempts.
        """
        self.failure: ProviderError | None = None
        self.usage = JudgeUsage()
        self._model, self._cache, self._sleep = model, cache, sleep
        self._batch_terms, self._remaining_terms = batch_terms, max_terms
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

    def judge(self, terms: Sequence[MappedTerm], contexts: Contexts | None = None) -> list[MappedTerm]:
        """The terms in the same order, those in review with the model's answer; no decision changes.

        Args:
            terms: with any decision; those that are not in review are returned unchanged.
            contexts: synonyms and parents by concept id, see concept_contexts().
        """
        verdicts, descriptions = self._look_up(terms, contexts)
        by_value = sorted(
            (n for n in descriptions if n not in verdicts), key=lambda n: (-terms[n].priority, n)
        )
        pending = sorted(by_value[: self._remaining_terms])
        if self._remaining_terms is not None:
            self._remaining_terms -= len(pending)
        batches = [pending[n : n + self._batch_terms] for n in range(0, len(pending), self._batch_terms)]

        def ask(batch: Sequence[int]) -> list[Verdict]:
            return self._ask_batch([terms[n] for n in batch], [descriptions[n] for n in batch])

        with ThreadPoolExecutor(max_workers=self._model.concurrency) as pool:
            # In the order of the terms, so that messages do not depend on which thread was first.
            for batch, answers in zip(batches, pool.map(ask, batches), strict=True):
                for number, verdict in zip(batch, answers, strict=True):
                    verdicts[number] = verdict
                    if self._cache is not None and not verdict.problem:
                        self._cache.put(self._cache_key(descriptions[number]), verdict)
        return [
            with_verdict(mapped, verdicts[number], self._model.source) if number in verdicts else mapped
            for number, mapped in enumerate(terms)
        ]

    def estimate(self, terms: Sequence[MappedTerm], contexts: Contexts | None = None) -> JudgeEstimate:
        """What asking about these terms would take; nothing is sent."""
        verdicts, descriptions = self._look_up(terms, contexts)
        pending = [text for number, text in descriptions.items() if number not in verdicts]
        pending = pending[: self._remaining_terms]
        requests = -(-len(pending) // self._batch_terms)
        per_request = estimated_tokens(SYSTEM_PROMPT) + estimated_tokens(json.dumps(ANSWER_SCHEMA))
        return JudgeEstimate(
            terms=len(descriptions),
            cached=len(verdicts),
            requests=requests,
            input_tokens=requests * per_request + sum(map(estimated_tokens, pending)),
            output_tokens=len(pending) * _OUTPUT_TOKENS_PER_TERM,
        )

    def _look_up(
        self, terms: Sequence[MappedTerm], contexts: Contexts | None
    ) -> tuple[dict[int, Verdict], dict[int, str]]:
        """Cached verdicts, and descriptions of all terms in review that have candidates, by number."""
        descriptions = {
            number: describe_term(mapped, contexts or {})
            for number, mapped in enumerate(terms)
            if mapped.decision is Decision.REVIEW and mapped.candidates
        }
        verdicts: dict[int, Verdict] = {}
        if self._cache is not None:
            for number, text in descriptions.items():
                if (cached := self._cache.get(self._cache_key(text))) is not None:
                    verdicts[number] = cached
        return verdicts, descriptions

    def _cache_key(self, description: str) -> str:
        return json.dumps([PROMPT_VERSION, self._model.source, SYSTEM_PROMPT, description])

    def _ask_batch(self, terms: Sequence[MappedTerm], descriptions: Sequence[str]) -> list[Verdict]:
        """A verdict per term; a term without a usable answer is asked about once more, alone."""
        try:
            verdicts = self._ask_once(terms, descriptions)
            return [
                verdict if not verdict.problem else self._ask_once([term], [description])[0]
                for term, description, verdict in zip(terms, descriptions, verdicts, strict=True)
            ]
        except ProviderError as error:
            self._record_failure(error)
            return [Verdict(None, problem=str(error)) for _ in terms]

    def _ask_once(self, terms: Sequence[MappedTerm], descriptions: Sequence[str]) -> list[Verdict]:
        try:
            response = self._send(build_question(descriptions))
        except TextRejectedError as error:
            # A single term of the batch may be the cause; then each is asked about alone.
            self._record_failure(error)
            return [Verdict(None, problem=str(error))] * len(terms)
        with self._lock:
            self._failures_in_a_row = 0
        if response.incomplete:
            return [Verdict(None, problem=f"the model's answer was {response.incomplete}")] * len(terms)
        answers = read_answers(response.text, len(terms))
        return [
            verdict_from_answer(answers.get(number), offered_concept_ids(mapped))
            for number, mapped in enumerate(terms, start=1)
        ]

    def _send(self, question: str) -> ChatResponse:
        """The model's response to a question, within the provider's limits and with retries."""
        tokens = estimated_tokens(SYSTEM_PROMPT) + estimated_tokens(question)

        def before_attempt() -> None:
            if self.failure is not None:
                raise ProviderError("not asked, because the provider failed")
            self._limiter.acquire(texts=1, tokens=tokens)

        def attempt(timeout_seconds: float) -> ChatResponse:
            with self._lock:
                self.usage.requests += 1
            with self._limiter.sending():
                response = self._model.ask(
                    SYSTEM_PROMPT, question, ANSWER_SCHEMA, timeout_seconds=timeout_seconds
                )
            with self._lock:
                self.usage.input_tokens += response.input_tokens or 0
                self.usage.output_tokens += response.output_tokens or 0
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
