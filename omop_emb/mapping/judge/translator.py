"""Translator: English translations of source terms by a generative model, one more text to search by."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from omop_emb.errors import ProviderError, checked_keywords
from omop_emb.mapping.judge.asker import Asker, ChatUsage, Task
from omop_emb.mapping.judge.judge import JudgeEstimate
from omop_emb.mapping.judge.translation_cache import TranslationCache
from omop_emb.mapping.judge.translation_prompt import (
    MAX_TERM_LENGTH,
    TRANSLATION_PROMPT,
    TRANSLATION_PROMPT_VERSION,
    TRANSLATION_SCHEMA,
    describe_source,
    read_translations,
)
from omop_emb.mapping.records import SourceTerm, says_something
from omop_emb.mapping.terms.faithfulness import changed_facts
from omop_emb.mapping.terms.words import normalise
from omop_emb.providers.base import estimated_tokens
from omop_emb.providers.chat import ChatModel
from omop_emb.providers.rate_limiter import Rate

_MOST_TIMES_AS_LONG, _LONGER_BY = 3, 40  # an answer that is longer explains, and does not translate
_OUTPUT_TOKENS_PER_TERM = 20  # beside those of the term

TRANSLATED, ENGLISH, UNFAITHFUL, UNANSWERED = "translated", "English", "unfaithful", "unanswered"
"""Outcomes for a distinct term: translated, left as it is, translation dropped, no answer."""


@dataclass(frozen=True, slots=True)
class Translation:
    """What a model answered about a term.

    Attributes:
        text: its answer; None if it gave none.
        problem: why there is none, "" if there is one.
    """

    text: str | None
    problem: str = ""


@checked_keywords
class Translator:
    """Asks a generative model for English translations of terms, each distinct one once.

    A translation is kept only if it has the numbers, strengths, units and codes of its original; the original
    stays the term in any case. Terms are asked about in batches, several at the same time, and each answer is
    cached at once. If the provider fails permanently, the remaining terms stay without a translation.

    Args:
        model: the model to ask, see make_chat_model().
        cache: earlier answers; None stores nothing.
        batch_terms: maximum number of terms per request.
        max_seconds: no question is begun after this time since the first one; None: no limit.
        rate: the provider's limits per minute.
        max_attempts: for a request that fails temporarily.
        sleep: waits between attempts.
        clock: seconds that pass.

    Attributes:
        counts: what became of the distinct terms so far, by TRANSLATED, ENGLISH, UNFAITHFUL and UNANSWERED.
        first_problem: why the first of those that were not answered was not; "" if there is none.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        cache: TranslationCache | None = None,
        batch_terms: int = 10,
        max_seconds: float | None = None,
        rate: Rate | None = None,
        max_attempts: int = 4,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.first_problem = ""
        self._model, self._cache, self._batch_terms = model, cache, batch_terms
        self._max_seconds, self._clock = max_seconds, clock
        self._begun: float | None = None
        self._asker = Asker(
            model,
            Task(TRANSLATION_PROMPT, TRANSLATION_SCHEMA, read_translations),
            rate=rate,
            max_attempts=max_attempts,
            sleep=sleep,
        )

    @property
    def source(self) -> str:
        """provider:model."""
        return self._model.source

    @property
    def failure(self) -> ProviderError | None:
        """The permanent failure; None as long as there is none."""
        return self._asker.failure

    @property
    def usage(self) -> ChatUsage:
        """Requests and tokens so far."""
        return self._asker.usage

    def translate(self, terms: Iterable[SourceTerm]) -> list[SourceTerm]:
        """The terms in the same order, those that have a faithful translation with it; nothing else changes.

        Terms without a name, and longer than 300 characters, are not sent.
        """
        terms = list(terms)
        forms = self.translations(terms)
        return [with_translation(term, forms) for term in terms]

    def translations(self, terms: Iterable[SourceTerm]) -> dict[str, str]:
        """Faithful translations that differ from their term, by describe_source() of it."""
        distinct = {describe_source(term): term for term in terms if can_be_translated(term)}
        answers = self._cached(distinct)
        pending = [text for text in distinct if text not in answers]
        if pending and self._begun is None:
            self._begun = self._clock()
        batches = [pending[n : n + self._batch_terms] for n in range(0, len(pending), self._batch_terms)]
        with ThreadPoolExecutor(max_workers=self._model.concurrency) as pool:
            for batch, replies in zip(batches, pool.map(self._ask, batches), strict=True):
                for text, reply in zip(batch, replies, strict=True):
                    answers[text] = reply
                    if self._cache is not None and reply.text is not None:
                        self._cache.put(self._cache_key(text), reply.text)
        forms: dict[str, str] = {}
        for text, term in distinct.items():
            kind = self._kind(term.name, answers[text])
            self.counts[kind] += 1
            if kind == TRANSLATED:
                forms[text] = answers[text].text or ""
        return forms

    def estimate(self, terms: Iterable[SourceTerm]) -> JudgeEstimate:
        """What translating these terms would take; nothing is sent."""
        distinct = {describe_source(term): term for term in terms if can_be_translated(term)}
        cached = self._cached(distinct)
        tokens = [estimated_tokens(text) for text in distinct if text not in cached]
        requests = -(-len(tokens) // self._batch_terms)
        return JudgeEstimate(
            terms=len(distinct),
            cached=len(cached),
            requests=requests,
            input_tokens=requests * self._asker.task.tokens + sum(tokens),
            output_tokens=sum(tokens) + len(tokens) * _OUTPUT_TOKENS_PER_TERM,
        )

    def _cached(self, descriptions: Iterable[str]) -> dict[str, Translation]:
        if self._cache is None:
            return {}
        found = ((text, self._cache.get(self._cache_key(text))) for text in descriptions)
        return {text: Translation(answer) for text, answer in found if answer is not None}

    def _cache_key(self, description: str) -> str:
        return json.dumps([TRANSLATION_PROMPT_VERSION, self._model.source, TRANSLATION_PROMPT, description])

    def _ask(self, descriptions: Sequence[str]) -> list[Translation]:
        if self._is_late():
            problem = f"not asked, because translating took over {self._max_seconds:g} seconds"
            return [Translation(None, problem)] * len(descriptions)

        def read(_index: int, text: str | None) -> Translation:
            return Translation(text, "" if text is not None else "the model did not answer with JSON")

        return self._asker.ask(descriptions, read, lambda problem: Translation(None, problem))

    def _is_late(self) -> bool:
        if self._max_seconds is None or self._begun is None:
            return False
        return self._clock() - self._begun > self._max_seconds

    def _kind(self, name: str, answer: Translation) -> str:
        """What becomes of a term with an answer."""
        if answer.text is None:
            self.first_problem = self.first_problem or answer.problem
            return UNANSWERED
        if not says_something(answer.text) or normalise(answer.text) == normalise(name):
            return ENGLISH
        is_too_long = len(answer.text) > _MOST_TIMES_AS_LONG * len(name) + _LONGER_BY
        return UNFAITHFUL if is_too_long or changed_facts(name, answer.text) else TRANSLATED


def can_be_translated(term: SourceTerm) -> bool:
    """Whether a term has a name that is short enough to be sent."""
    return term.has_name and len(term.name) <= MAX_TERM_LENGTH


def with_translation(term: SourceTerm, forms: dict[str, str]) -> SourceTerm:
    """The term with its translation, if there is one among Translator.translations()."""
    text = forms.get(describe_source(term)) if can_be_translated(term) else None
    return term if text is None else replace(term, translation=text)
