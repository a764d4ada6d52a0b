"""Judge job: a second opinion on the most valuable terms of a run, after its cost was confirmed."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from omop_emb.embeddings.prices import money
from omop_emb.errors import ConfigurationError
from omop_emb.mapping.judge.applied_answer import apply_answer
from omop_emb.mapping.judge.asker import ChatUsage
from omop_emb.mapping.judge.judge import Judge, JudgeEstimate
from omop_emb.mapping.judge.judge_cache import JudgeCache
from omop_emb.mapping.judge.judge_calibration import JudgeCalibration, find_calibration, is_answer
from omop_emb.mapping.judge.prompt import (
    MAX_EXAMPLES,
    ApprovedExample,
    ConceptContext,
    offered_concept_ids,
)
from omop_emb.mapping.records import Decision, MappedTerm, SourceTerm
from omop_emb.providers.chat import ChatModel
from omop_emb.records import counted

_BLOCK_TERMS = 1_000  # in memory at the same time
ReadContexts = Callable[[Iterable[int]], Mapping[int, ConceptContext]]


@dataclass(frozen=True, kw_only=True)
class JudgeJob:
    """The model to ask, about how many terms, and what its answers may do.

    Attributes:
        model: the model.
        max_terms: asked about at most, those in review with the highest priority; cached answers count too.
        prices: US dollars for a million input and output tokens; None where they are not known.
        examples: how many similar approvals of the site are shown with each term, 0 to 10.
        orders: whether its choices may change the order of candidates.
        estimate_only: whether it is only said what asking would take.
    """

    model: ChatModel
    max_terms: int = 1000
    prices: tuple[float, float] | None = None
    examples: int = 0
    orders: bool = False
    estimate_only: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.examples <= MAX_EXAMPLES:
            raise ConfigurationError(f"a term has 0 to {MAX_EXAMPLES} examples; found {self.examples}")


@dataclass(frozen=True, kw_only=True)
class JudgeKnowledge:
    """Where a judge learns what is not in a term.

    Attributes:
        read_contexts: synonyms and parents of concepts by id.
        find_examples: per term, similar terms that persons of the site mapped.
    """

    read_contexts: ReadContexts
    find_examples: Callable[[Sequence[SourceTerm]], Sequence[Sequence[ApprovedExample]]]

    def of(
        self, terms: Sequence[MappedTerm], *, examples: bool
    ) -> tuple[Mapping[int, ConceptContext], Sequence[Sequence[ApprovedExample]] | None]:
        """What is known of the candidates of terms, and examples for these if they are wanted."""
        concept_ids = {concept_id for term in terms for concept_id in offered_concept_ids(term)}
        contexts = self.read_contexts(concept_ids) if concept_ids else {}
        return contexts, self.find_examples([term.term for term in terms]) if examples else None


def check_orders(job: JudgeJob, calibrations: Mapping[str, JudgeCalibration]) -> None:
    """Check that a judge's choices can order candidates, before anything is mapped or asked.

    Raises:
        ConfigurationError: what its choices are worth here is not known.
    """
    calibration = find_calibration(calibrations, job.model.source)
    if job.orders and (calibration is None or calibration.choice is None):
        raise ConfigurationError(
            f"it is not known yet that the choices of {job.model.source} are worth enough here: map with "
            "--judge but without --judge-orders, and run omop-emb calibrate APPROVED with people's "
            "decisions on these terms"
        )


def judge_terms(
    job: JudgeJob,
    mapped: Callable[[], Iterable[MappedTerm]],
    *,
    knowledge: JudgeKnowledge,
    calibrations: Mapping[str, JudgeCalibration] | None,
    on_message: Callable[[str], None],
    on_failure: Callable[[str], None],
    confirm: Callable[[str], bool],
    on_cost: Callable[[str], None] = lambda _cost: None,
) -> Iterator[MappedTerm]:
    """The terms of a run in their order, those in review with a model's answer; no decision changes.

    `mapped` returns the run's terms from the start at each call. `calibrations` are the ranker's, by judge;
    with None answers change nothing. `on_cost` gets what was sent and answered, once that is known.
    The model is asked only if `confirm` returns True for the estimate. `on_failure` learns why a judge
    gave up, or answered about no term at all.
    """
    calibration = None if calibrations is None else find_calibration(calibrations, job.model.source)
    chosen = _most_valuable(mapped(), job.max_terms)
    with closing(JudgeCache()) as cache:
        judge = Judge(job.model, cache=cache)
        total = JudgeEstimate()
        for block in _blocks(mapped()):
            terms = [term for number, term in block if number in chosen]
            total += judge.estimate(terms, *knowledge.of(terms, examples=job.examples > 0))
        if job.estimate_only:
            on_message(_describe(job, total, len(chosen)).replace("will be", "would be"))
        if job.estimate_only or not confirm(_describe(job, total, len(chosen))):
            on_message("the judge was not asked")
            yield from mapped()
            return
        answered, moved, unanswered = 0, 0, ""
        for block in _blocks(mapped()):
            terms = [term for number, term in block if number in chosen]
            judged = iter(judge.judge(terms, *knowledge.of(terms, examples=job.examples > 0)))
            for number, term in block:
                result = term
                if number in chosen:
                    result = apply_answer(next(judged), calibration, orders=job.orders)
                    answered += is_answer(result.judge)
                    unanswered = unanswered or ("" if is_answer(result.judge) else result.judge)
                    moved += result.best is not None and result.best.ranker_rank not in (None, 1)
                yield result
        if judge.failure is not None:
            on_failure(f"the judge stopped before it had answered about every term: {judge.failure}")
        elif chosen and not answered:
            on_failure(
                f"the judge answered about none of {counted(len(chosen), 'term')}; the first: {unanswered}"
            )
        cost = usage_text(judge.usage, job.prices)
        on_cost(cost)
        of_terms = f"{answered:,} of {counted(len(chosen), 'term')}"
        on_message(f"{job.model.source} gave a second opinion on {of_terms}: {cost}")
        if job.orders:
            on_message(
                f"its choice is now the first candidate for {counted(moved, 'term')} (column ordered_by)"
            )
        elif answered and calibrations is not None and calibration is None:
            on_message(
                f"the answers of {job.model.source} change no probability: omop-emb calibrate has not "
                "learned yet what they are worth"
            )


def usage_text(usage: ChatUsage, prices: tuple[float, float] | None) -> str:
    """What was sent and answered, and what it cost."""
    thoughts = f" ({usage.thinking_tokens:,} of them thoughts)" if usage.thinking_tokens else ""
    tokens = f"{counted(usage.input_tokens, 'token')} in, {usage.output_tokens:,} out{thoughts}"
    cost = money(usage.cost(*prices)) if prices is not None else "price not known"
    return f"{counted(usage.requests, 'request')}, {tokens}, {cost}"


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


def _describe(job: JudgeJob, estimate: JudgeEstimate, terms: int) -> str:
    shown = (
        f", shown with up to {counted(job.examples, 'similar approval')} of the site each"
        if job.examples
        else ""
    )
    cost = (
        "the price is not known (give it with --judge-prices IN OUT)"
        if job.prices is None
        else f"about {money(estimate.cost(*job.prices))} at your prices"
    )
    return (
        f"{job.model.source} will be asked about {counted(terms, 'term')} "
        f"({estimate.cached:,} answered before){shown}: about {counted(estimate.requests, 'request')}, "
        f"{counted(estimate.input_tokens, 'token')} in and {estimate.output_tokens:,} out without thoughts; "
        f"{cost}"
    )
