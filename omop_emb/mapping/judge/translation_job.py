"""Translation job: the distinct terms of a file translated once, after its cost was confirmed."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from omop_emb.embeddings.prices import money
from omop_emb.errors import checked_keywords
from omop_emb.mapping.judge.judge import JudgeEstimate
from omop_emb.mapping.judge.translation_cache import TranslationCache
from omop_emb.mapping.judge.translation_prompt import describe_source
from omop_emb.mapping.judge.translator import (
    ENGLISH,
    TRANSLATED,
    UNANSWERED,
    UNFAITHFUL,
    Translator,
    can_be_translated,
    with_translation,
)
from omop_emb.mapping.records import SourceTerm
from omop_emb.providers.chat import ChatModel
from omop_emb.records import counted

MOST_TERMS, MOST_SECONDS = 5_000, 3_600.0
"""How many distinct terms are translated, and for how long, unless the caller chooses."""


@checked_keywords
@dataclass(frozen=True, kw_only=True)
class TranslationJob:
    """The model that translates, and within which limits.

    Attributes:
        model: the model.
        max_terms: how many distinct terms are translated at most, the most frequent; cached ones count too.
        max_seconds: no question is begun later than this after the first.
        prices: US dollars for a million input and output tokens; None leaves the cost out.
    """

    model: ChatModel
    max_terms: int = MOST_TERMS
    max_seconds: float = MOST_SECONDS
    prices: tuple[float, float] | None = None


def translate_terms(
    job: TranslationJob,
    terms: Callable[[], Iterable[SourceTerm]],
    *,
    on_message: Callable[[str], None],
    on_failure: Callable[[str], None],
    confirm: Callable[[str], bool],
) -> Callable[[SourceTerm], SourceTerm]:
    """What adds a translation to those of some terms that got one.

    The model is asked only if `confirm` returns True for the estimate, which says what is sent and to whom.

    Args:
        job: the model and its limits.
        terms: returns the terms from the start at each call.
        on_message: called with each line for the user.
        on_failure: called with why the model gave up, or translated nothing at all.
        confirm: asked once, unless every answer is cached.
    """
    chosen, distinct = _most_frequent(terms(), job.max_terms)
    with closing(TranslationCache()) as cache:
        translator = Translator(job.model, cache=cache, max_seconds=job.max_seconds)
        asked = [term for term in _first_of_each(terms()) if _hash(term) in chosen]
        estimate = translator.estimate(asked)
        if estimate.requests and not confirm(_describe(job, estimate, asked, distinct)):
            on_message("nothing was translated")
            return lambda term: term
        forms = translator.translations(asked)
    _report(job, translator, len(asked), on_message, on_failure)
    return lambda term: with_translation(term, forms)


def _hash(term: SourceTerm) -> int:
    digest = hashlib.blake2b(describe_source(term).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _first_of_each(terms: Iterable[SourceTerm]) -> Iterable[SourceTerm]:
    seen: set[int] = set()
    for term in terms:
        if can_be_translated(term) and (key := _hash(term)) not in seen:
            seen.add(key)
            yield term


def _most_frequent(terms: Iterable[SourceTerm], count: int) -> tuple[set[int], int]:
    """Hashes of the most frequent distinct terms, the first of equals; and how many are distinct."""
    hashes, frequencies = array("Q"), array("q")
    for term in terms:
        if can_be_translated(term):
            hashes.append(_hash(term))
            frequencies.append(min(max(term.frequency or 1, 1), 2**40))
    keys, first, which = np.unique(np.array(hashes, np.uint64), return_index=True, return_inverse=True)
    total = np.bincount(which, weights=np.array(frequencies, np.float64), minlength=len(keys))
    order = np.lexsort((first, -total))[:count]
    return set(keys[order].tolist()), len(keys)


def _describe(job: TranslationJob, estimate: JudgeEstimate, asked: list[SourceTerm], distinct: int) -> str:
    columns = sorted({name for term in asked for name, value in term.context.items() if value.strip()})
    also = (
        f" with their {'columns' if len(columns) > 1 else 'column'} {', '.join(columns)}" if columns else ""
    )
    rarer = counted(distinct - len(asked), "rarer one is", "rarer ones are")
    rest = f"; {rarer} not translated" if distinct > len(asked) else ""
    text = (
        f"{counted(estimate.terms - estimate.cached, 'distinct term')}{also} will be sent to "
        f"{job.model.source} to be translated ({estimate.cached:,} translated before{rest}): about "
        f"{counted(estimate.requests, 'request')}, {counted(estimate.input_tokens, 'token')} in and "
        f"{estimate.output_tokens:,} out"
    )
    return text if job.prices is None else f"{text}, about {money(estimate.cost(*job.prices))} at your prices"


def _report(
    job: TranslationJob,
    translator: Translator,
    terms: int,
    on_message: Callable[[str], None],
    on_failure: Callable[[str], None],
) -> None:
    counts, usage = translator.counts, translator.usage
    unanswered = counts[UNANSWERED]
    if translator.failure is not None:
        on_failure(f"translating stopped before every term had an answer: {translator.failure}")
    elif unanswered and unanswered == terms:
        on_failure(
            f"{job.model.source} translated none of {counted(terms, 'term')}; the first: "
            f"{translator.first_problem}"
        )
    cost = "" if job.prices is None else f", {money(usage.cost(*job.prices))}"
    on_message(
        f"{job.model.source} translated {counts[TRANSLATED]:,} of {counted(terms, 'distinct term')}; "
        f"{counted(counts[ENGLISH], 'stays as it is', 'stay as they are')}: "
        f"{counted(usage.requests, 'request')}, {counted(usage.input_tokens, 'token')} in, "
        f"{usage.output_tokens:,} out{cost}"
    )
    if counts[UNFAITHFUL]:
        dropped = counted(counts[UNFAITHFUL], "translation was", "translations were")
        on_message(f"{dropped} dropped, because numbers, strengths, units or codes were not the term's")
    if unanswered:
        without = counted(unanswered, "term has", "terms have")
        on_message(f"{without} no translation; the first: {translator.first_problem}")
