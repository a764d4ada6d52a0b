"""Judge job: a second opinion on the most valuable terms of a run, after its cost was confirmed."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.embeddings.prices import money
from omop_emb.mapping.judge.judge import Judge, JudgeEstimate
from omop_emb.mapping.judge.judge_cache import JudgeCache
from omop_emb.mapping.judge.judge_calibration import apply_answer, is_answer
from omop_emb.mapping.judge.prompt import ConceptContext, concept_contexts, offered_concept_ids
from omop_emb.mapping.records import Decision, MappedTerm
from omop_emb.providers.chat import ChatModel
from omop_emb.records import counted

if TYPE_CHECKING:
    from sqlalchemy import Engine

_BLOCK_TERMS = 1_000  # in memory at the same time


@dataclass(frozen=True, kw_only=True)
class JudgeJob:
    """The model to ask, and about how many terms.

    Attributes:
        model: the model.
        max_terms: asked about at most, those in review with the highest priority; cached answers count too.
        prices: US dollars for a million input and output tokens; None leaves the cost out.
    """

    model: ChatModel
    max_terms: int = 1000
    prices: tuple[float, float] | None = None


def judge_terms(
    engine: Engine,
    job: JudgeJob,
    mapped: Callable[[], Iterable[MappedTerm]],
    *,
    shifts: Mapping[str, float],
    on_message: Callable[[str], None],
    on_failure: Callable[[str], None],
    confirm: Callable[[str], bool],
) -> Iterator[MappedTerm]:
    """The terms of a run in their order, those in review with a model's answer; no decision changes.

    `mapped` returns the run's terms from the start at each call. `shifts` are those of judge_calibration.py.
    The model is asked only if `confirm` returns True for the estimate. `on_failure` learns why a judge
    gave up, or answered about no term at all.
    """
    chosen = _most_valuable(mapped(), job.max_terms)
    with closing(JudgeCache()) as cache:
        judge = Judge(job.model, cache=cache)
        total = JudgeEstimate()
        for block in _blocks(mapped()):
            terms = [term for number, term in block if number in chosen]
            total += judge.estimate(terms, _contexts(engine, terms))
        if not confirm(_describe(job, total, len(chosen))):
            on_message("the judge was not asked")
            yield from mapped()
            return
        answered, unanswered = 0, ""
        for block in _blocks(mapped()):
            terms = [term for number, term in block if number in chosen]
            judged = iter(judge.judge(terms, _contexts(engine, terms)))
            for number, term in block:
                result = apply_answer(next(judged), shifts) if number in chosen else term
                if number in chosen:
                    answered += is_answer(result.judge)
                    unanswered = unanswered or ("" if is_answer(result.judge) else result.judge)
                yield result
        if judge.failure is not None:
            on_failure(f"the judge stopped before it had answered about every term: {judge.failure}")
        elif chosen and not answered:
            on_failure(
                f"the judge answered about none of {counted(len(chosen), 'term')}; the first: {unanswered}"
            )
        usage = judge.usage
        tokens = f"{counted(usage.input_tokens, 'token')} in, {usage.output_tokens:,} out"
        cost = "" if job.prices is None else f", {money(usage.cost(*job.prices))}"
        on_message(
            f"{job.model.source} gave a second opinion on {answered:,} of {counted(len(chosen), 'term')}: "
            f"{counted(usage.requests, 'request')}, {tokens}{cost}"
        )


def _most_valuable(terms: Iterable[MappedTerm], count: int) -> set[int]:
    """Numbers of the terms in review with the highest priority; ties in the order of the file."""
    numbers, priorities = array("q"), array("d")
    for number, term in enumerate(terms):
        if term.decision is Decision.REVIEW and term.candidates:
            numbers.append(number)
            priorities.append(term.priority)
    order = sorted(range(len(numbers)), key=lambda n: (-priorities[n], n))
    return {numbers[n] for n in order[:count]}


def _blocks(terms: Iterable[MappedTerm]) -> Iterator[list[tuple[int, MappedTerm]]]:
    numbered = enumerate(terms)
    while block := list(islice(numbered, _BLOCK_TERMS)):
        yield block


def _contexts(engine: Engine, terms: Iterable[MappedTerm]) -> dict[int, ConceptContext]:
    concept_ids = {concept_id for term in terms for concept_id in offered_concept_ids(term)}
    if not concept_ids:
        return {}
    with session_scope(engine) as session:
        return concept_contexts(driver_connection(session), concept_ids)


def _describe(job: JudgeJob, estimate: JudgeEstimate, terms: int) -> str:
    text = (
        f"{job.model.source} will be asked about {counted(terms, 'term')} in review "
        f"({estimate.cached:,} answered "
        f"before): about {counted(estimate.requests, 'request')}, "
        f"{counted(estimate.input_tokens, 'token')} in "
        f"and {estimate.output_tokens:,} out"
    )
    return text if job.prices is None else f"{text}, about {money(estimate.cost(*job.prices))} at your prices"
