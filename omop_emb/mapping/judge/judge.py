"""A generative model's second opinion on terms in review: a choice among the candidates, or none of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from omop_emb.errors import ProviderError, ProviderUnavailableError, RateLimitError, TextRejectedError
from omop_emb.mapping.judge.judge_cache import JudgeCache
from omop_emb.mapping.judge.prompt import (
    SCHEMA,
    SYSTEM,
    VERSION,
    ConceptContext,
    describe,
    offered,
    question,
    read_answers,
)
from omop_emb.mapping.judge.verdict import Verdict, verdict_of, with_verdict
from omop_emb.mapping.records import Decision, MappedTerm
from omop_emb.providers.base import estimated_tokens
from omop_emb.providers.chat import ChatResponse, ChatModel
from omop_emb.providers.rate_limiter import RateLimiter, Rate
from omop_emb.providers.retrying import RetryPolicy, call_with_retries

_OUTPUT_TOKENS_PER_TERM = 45
# So many questions in a row without any answer are the provider's doing, not the terms'.
_FAILED_IN_A_ROW = 3
_LONGEST_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a second opinion will take.

    Attributes:
        terms: to be asked about.
        cached: of them already answered on this machine; they cost nothing.
        requests: about so many.
        input_tokens, output_tokens: about so many.
    """

    terms: int
    cached: int
    requests: int
    input_tokens: int
    output_tokens: int

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            self.terms + other.terms,
            self.cached + other.cached,
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )

    def cost(self, input_price: float, output_price: float) -> float:
        """The tokens at prices per million, in the prices' currency."""
        return (self.input_tokens * input_price + self.output_tokens * output_price) / 1_000_000


@dataclass(slots=True)
class JudgeUsage:
    """What was asked so far: requests with each attempt counted, and the tokens that the provider counts."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class Judge:
    """Asks a generative model about terms in review.

    It answers with a candidate's id or none; an id that was not offered is refused, so that nothing can
    be invented, and no answer ever accepts a mapping. Terms are asked about in batches, several at a
    time; what is answered is cached at once. When the provider fails for good, the rest of the terms is
    left without a second opinion, and `failure` says why.

    Attributes:
        failure: what ended the asking; None while it goes on.
        usage: what was asked so far.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        cache: JudgeCache | None = None,
        batch_terms: int = 5,
        most_terms: int | None = None,
        rate: Rate | None = None,
        tries: int = 4,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Ask nothing yet.

        Args:
            model: to ask.
            cache: answers from earlier; None asks everything anew and keeps nothing.
            batch_terms: at most so many terms in a request.
            most_terms: at most so many terms in this judge's life are asked about, cached ones apart.
            rate: what the provider grants a minute.
            tries: attempts for a request that fails for now.
            sleep: waits between them.
        """
        self.failure: ProviderError | None = None
        self.usage = JudgeUsage()
        self._model, self._cache, self._sleep = model, cache, sleep
        self._batch_terms, self._left = batch_terms, most_terms
        self._limiter = RateLimiter(rate or Rate(), sleep=sleep)
        self._patience = RetryPolicy(
            timeout_seconds=model.timeout_seconds,
            max_attempts=tries,
            deadline_seconds=tries * (model.timeout_seconds + _LONGEST_WAIT_SECONDS),
            max_wait_seconds=_LONGEST_WAIT_SECONDS,
        )
        self._failed = 0
        self._lock = Lock()

    def judge(
        self, terms: Sequence[MappedTerm], contexts: Mapping[int, ConceptContext] | None = None
    ) -> list[MappedTerm]:
        """The terms, those in review with the model's answer; same order, no decision changed.

        Args:
            terms: of any decision; others than those in review are given back as they are.
            contexts: concept id to synonyms and parents, see concept_contexts.
        """
        verdicts = self.verdicts(terms, contexts)
        return [
            mapped if verdict is None else with_verdict(mapped, verdict, self._model.source)
            for mapped, verdict in zip(terms, verdicts, strict=True)
        ]

    def verdicts(
        self, terms: Sequence[MappedTerm], contexts: Mapping[int, ConceptContext] | None = None
    ) -> list[Verdict | None]:
        """What the model says about each term; None for terms that it was not asked about."""
        found, texts = self._cached(terms, contexts)
        # The most valuable first, if not all can be asked about.
        waiting = sorted((n for n in texts if n not in found), key=lambda n: (-terms[n].priority, n))
        if self._left is not None:
            waiting = waiting[: self._left]
            self._left -= len(waiting)
        waiting.sort()
        groups = [
            waiting[start : start + self._batch_terms] for start in range(0, len(waiting), self._batch_terms)
        ]
        with ThreadPoolExecutor(max_workers=self._model.concurrency) as pool:
            # In the order of the terms: what is told of a failure does not depend on which thread was first.
            for group, answers in zip(
                groups, pool.map(lambda group: self._ask_about(terms, texts, group), groups), strict=True
            ):
                for number, verdict in zip(group, answers, strict=True):
                    found[number] = verdict
                    if self._cache is not None and not verdict.problem:
                        kept = json.dumps([verdict.concept_id, verdict.reason])
                        self._cache.put(self._question_key(texts[number]), kept)
        return [found.get(number) for number in range(len(terms))]

    def estimate(
        self, terms: Sequence[MappedTerm], contexts: Mapping[int, ConceptContext] | None = None
    ) -> Estimate:
        """What asking about these terms would take now; nothing is asked."""
        found, texts = self._cached(terms, contexts)
        waiting = [text for number, text in texts.items() if number not in found]
        if self._left is not None:
            waiting = waiting[: self._left]
        requests = -(-len(waiting) // self._batch_terms)
        every_request = estimated_tokens(SYSTEM) + estimated_tokens(json.dumps(SCHEMA))
        return Estimate(
            terms=len(texts),
            cached=len(found),
            requests=requests,
            input_tokens=requests * every_request + sum(map(estimated_tokens, waiting)),
            output_tokens=len(waiting) * _OUTPUT_TOKENS_PER_TERM,
        )

    def _cached(
        self, terms: Sequence[MappedTerm], contexts: Mapping[int, ConceptContext] | None
    ) -> tuple[dict[int, Verdict], dict[int, str]]:
        """Number of each term that can be asked about to its answer, if it is known, and its description."""
        texts = {
            number: describe(mapped, contexts or {})
            for number, mapped in enumerate(terms)
            if mapped.decision is Decision.REVIEW and mapped.candidates
        }
        found: dict[int, Verdict] = {}
        for number, text in texts.items():
            kept = self._cache.get(self._question_key(text)) if self._cache is not None else None
            if kept is not None:
                concept_id, reason = json.loads(kept)
                found[number] = Verdict(concept_id, reason)
        return found, texts

    def _question_key(self, text: str) -> str:
        return json.dumps([VERSION, self._model.source, SYSTEM, text])

    def _ask_about(
        self, terms: Sequence[MappedTerm], texts: Mapping[int, str], group: Sequence[int]
    ) -> list[Verdict]:
        """A verdict for each term of a group; those without a good one are asked about once more, alone."""
        try:
            first = self._answers([terms[n] for n in group], [texts[n] for n in group])
            return [
                verdict if not verdict.problem else self._answers([terms[n]], [texts[n]])[0]
                for n, verdict in zip(group, first, strict=True)
            ]
        except ProviderError as error:
            self._note_failure(error)
            return [Verdict(None, problem=str(error)) for _ in group]

    def _answers(self, terms: Sequence[MappedTerm], texts: Sequence[str]) -> list[Verdict]:
        try:
            answer = self._ask(question(texts))
        except TextRejectedError as error:
            # Of a batch, one term may be to blame; each is asked about alone then.
            self._note_failure(error)
            return [Verdict(None, problem=str(error))] * len(terms)
        with self._lock:
            self._failed = 0
        if answer.declined:
            return [Verdict(None, problem=f"the model's answer was {answer.declined}")] * len(terms)
        found = read_answers(answer.text, len(terms))
        return [
            verdict_of(found.get(number), offered(mapped)) for number, mapped in enumerate(terms, start=1)
        ]

    def _ask(self, text: str) -> ChatResponse:
        tokens = estimated_tokens(SYSTEM) + estimated_tokens(text)

        def before_attempt() -> None:
            if self.failure is not None:
                raise ProviderError("not asked, because the provider failed")
            self._limiter.acquire(texts=1, tokens=tokens)

        def attempt(timeout_seconds: float) -> ChatResponse:
            with self._lock:
                self.usage.requests += 1
            answer = self._model.ask(SYSTEM, text, SCHEMA, timeout_seconds=timeout_seconds)
            with self._lock:
                self.usage.input_tokens += answer.input_tokens or 0
                self.usage.output_tokens += answer.output_tokens or 0
            return answer

        def after_failure(error: ProviderUnavailableError, wait: float) -> None:
            if isinstance(error, RateLimitError):
                self._limiter.pause(wait)

        return call_with_retries(
            attempt,
            self._patience,
            before_attempt=before_attempt,
            after_failure=after_failure,
            sleep=self._sleep,
        )

    def _note_failure(self, error: ProviderError) -> None:
        with self._lock:
            self._failed += 1
            passing = isinstance(error, ProviderUnavailableError | TextRejectedError)
            for_good = not passing or isinstance(error, RateLimitError) or self._failed >= _FAILED_IN_A_ROW
            if for_good and self.failure is None:
                self.failure = error
