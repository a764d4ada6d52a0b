"""Judge: a generative model's second opinion on terms in review, one of the candidates or none."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass

from omop_emb.errors import ProviderError
from omop_emb.mapping.judge.asker import Asker, ChatUsage, Task
from omop_emb.mapping.judge.judge_cache import JudgeCache
from omop_emb.mapping.judge.prompt import (
    ANSWER_SCHEMA,
    PROMPT_VERSION,
    SYSTEM_PROMPT,
    ApprovedExample,
    ConceptContext,
    describe_term,
    offered_concept_ids,
    read_answers,
)
from omop_emb.mapping.judge.verdict import Verdict, verdict_from_answer, with_verdict
from omop_emb.mapping.records import Decision, MappedTerm
from omop_emb.providers.base import estimated_tokens
from omop_emb.providers.chat import ChatModel
from omop_emb.providers.rate_limiter import Rate

_OUTPUT_TOKENS_PER_TERM = 45
_QUESTION_TOKENS = 8_000  # of all terms together; models of 16,384 tokens have room for the rest
Contexts = Mapping[int, ConceptContext]
Examples = Sequence[Sequence[ApprovedExample]]


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


class Judge:
    """Asks a generative model about terms in review.

    The model answers with the id of a candidate or "none". Any other id is refused, so that nothing can be
    invented, and no answer changes a decision. Terms are asked about in batches, several at the same time;
    each answer is cached at once. If the provider fails permanently, the remaining terms get no answer.
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
        self._asker = Asker(
            model,
            Task(SYSTEM_PROMPT, ANSWER_SCHEMA, read_answers),
            rate=rate,
            max_attempts=max_attempts,
            rate_limit_patience_seconds=rate_limit_patience_seconds,
            sleep=sleep,
        )
        self._model, self._cache = model, cache
        self._batch_terms, self._remaining_terms = batch_terms, max_terms

    @property
    def failure(self) -> ProviderError | None:
        """The permanent failure; None as long as there is none."""
        return self._asker.failure

    @property
    def usage(self) -> ChatUsage:
        """Requests and tokens so far."""
        return self._asker.usage

    def judge(
        self,
        terms: Sequence[MappedTerm],
        contexts: Contexts | None = None,
        examples: Examples | None = None,
    ) -> list[MappedTerm]:
        """The terms in the same order, those in review with the model's answer; no decision changes.

        Args:
            terms: with any decision; those that are not in review are returned unchanged.
            contexts: synonyms and parents by concept id, see concept_contexts().
            examples: per term, similar terms that persons mapped.
        """
        verdicts, descriptions = self._look_up(terms, contexts, examples)
        by_value = sorted(
            (n for n in descriptions if n not in verdicts), key=lambda n: (-terms[n].priority, n)
        )
        pending = sorted(by_value[: self._remaining_terms])
        if self._remaining_terms is not None:
            self._remaining_terms -= len(pending)
        batches = self._batches({number: descriptions[number] for number in pending})

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

    def estimate(
        self,
        terms: Sequence[MappedTerm],
        contexts: Contexts | None = None,
        examples: Examples | None = None,
    ) -> JudgeEstimate:
        """What asking about these terms would take, without thoughts; nothing is sent."""
        verdicts, descriptions = self._look_up(terms, contexts, examples)
        asked = [number for number in descriptions if number not in verdicts][: self._remaining_terms]
        requests = len(self._batches({number: descriptions[number] for number in asked}))
        pending = [descriptions[number] for number in asked]
        return JudgeEstimate(
            terms=len(descriptions),
            cached=len(verdicts),
            requests=requests,
            input_tokens=requests * self._asker.task.tokens + sum(map(estimated_tokens, pending)),
            output_tokens=len(pending) * _OUTPUT_TOKENS_PER_TERM,
        )

    def _batches(self, descriptions: Mapping[int, str]) -> list[list[int]]:
        """The numbers of terms that are asked about together: as many as allowed, and as fit a question."""
        batches: list[list[int]] = []
        room = 0
        for number, text in descriptions.items():
            tokens = estimated_tokens(text)
            if not batches or len(batches[-1]) == self._batch_terms or tokens > room:
                batches.append([])
                room = _QUESTION_TOKENS
            batches[-1].append(number)
            room -= tokens
        return batches

    def _look_up(
        self, terms: Sequence[MappedTerm], contexts: Contexts | None, examples: Examples | None
    ) -> tuple[dict[int, Verdict], dict[int, str]]:
        """Cached verdicts, and descriptions of all terms in review that have candidates, by number."""
        descriptions = {
            number: describe_term(mapped, contexts or {}, examples[number] if examples else ())
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
        """A verdict per term."""

        def read(index: int, answer: tuple[str, str] | None) -> Verdict:
            return verdict_from_answer(answer, offered_concept_ids(terms[index]))

        return self._asker.ask(descriptions, read, lambda problem: Verdict(None, problem=problem))
