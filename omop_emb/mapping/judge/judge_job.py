"""A second opinion on a whole run: its cost is told first, the most valuable terms are asked about."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.mapping.judge.judge import Estimate, Judge
from omop_emb.mapping.judge.judge_cache import JudgeCache
from omop_emb.mapping.judge.judge_calibration import with_answer
from omop_emb.mapping.judge.prompt import ConceptContext, concept_contexts, offered
from omop_emb.mapping.records import Decision, MappedTerm
from omop_emb.providers.chat import ChatModel

if TYPE_CHECKING:
    from sqlalchemy import Engine

_AT_ONCE = 1_000


@dataclass(frozen=True, kw_only=True)
class JudgeJob:
    """Whom to ask, and about how many terms.

    Attributes:
        model: to ask.
        most_terms: the most valuable so many terms in review; what was answered before costs nothing.
        prices: of a million input and output tokens, to tell the cost; None tells the tokens alone.
    """

    model: ChatModel
    most_terms: int = 1000
    prices: tuple[float, float] | None = None


def judged(
    engine: Engine,
    job: JudgeJob,
    mapped: Callable[[], Iterable[MappedTerm]],
    *,
    shifts: Mapping[str, float],
    tell: Callable[[str], None],
    confirm: Callable[[str], bool],
) -> Iterator[MappedTerm]:
    """The terms of a run in their order, those in review with a model's answer; no decision changes.

    Args:
        engine: of the database with the vocabulary, for synonyms and parents.
        job: whom to ask.
        mapped: gives the run's terms anew each time it is called.
        shifts: how each answer changes a probability (judge_calibration.py); {} changes none.
        tell: is called with lines for a person.
        confirm: is asked with what it will take; False asks the model nothing.
    """
    chosen = _most_valuable(mapped(), job.most_terms)
    with closing(JudgeCache()) as cache:
        judge = Judge(job.model, cache=cache)
        total = Estimate(0, 0, 0, 0, 0)
        for block in _blocks(mapped()):
            asked = [term for place, term in block if place in chosen]
            total += judge.estimate(asked, _contexts(engine, asked))
        if not confirm(_described(job, total, len(chosen))):
            tell("the judge was not asked")
            yield from mapped()
            return
        answered = 0
        for block in _blocks(mapped()):
            asked = [term for place, term in block if place in chosen]
            answers = iter(judge.judge(asked, _contexts(engine, asked)))
            for place, term in block:
                result = with_answer(next(answers), shifts) if place in chosen else term
                answered += bool(result.judge)
                yield result
        if judge.failure is not None:
            tell(f"warning: the judge stopped, and left the rest without a second opinion: {judge.failure}")
        used = judge.usage
        tell(
            f"{job.model.source} gave a second opinion on {answered:,} terms: {used.requests:,} requests, "
            f"{used.input_tokens:,} tokens in, {used.output_tokens:,} out"
        )


def _most_valuable(terms: Iterable[MappedTerm], count: int) -> set[int]:
    """Places of the terms in review with the highest priority; equal ones in the order of the file."""
    places, priorities = array("q"), array("d")
    for place, term in enumerate(terms):
        if term.decision is Decision.REVIEW and term.candidates:
            places.append(place)
            priorities.append(term.priority)
    order = sorted(range(len(places)), key=lambda n: (-priorities[n], n))
    return {places[n] for n in order[:count]}


def _blocks(terms: Iterable[MappedTerm]) -> Iterator[list[tuple[int, MappedTerm]]]:
    """Places and terms, a bounded number at a time."""
    numbered = enumerate(terms)
    while block := list(islice(numbered, _AT_ONCE)):
        yield block


def _contexts(engine: Engine, terms: Iterable[MappedTerm]) -> dict[int, ConceptContext]:
    wanted = {concept_id for term in terms for concept_id in offered(term)}
    if not wanted:
        return {}
    with session_scope(engine) as session:
        return concept_contexts(driver_connection(session), wanted)


def _described(job: JudgeJob, total: Estimate, terms: int) -> str:
    text = (
        f"{job.model.source} will be asked about {terms:,} terms in review ({total.cached:,} answered "
        f"before): about {total.requests:,} requests, {total.input_tokens:,} tokens in and "
        f"{total.output_tokens:,} out"
    )
    return text if job.prices is None else f"{text}, {total.cost(*job.prices):.2f} at your prices"
