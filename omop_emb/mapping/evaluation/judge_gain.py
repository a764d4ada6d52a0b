"""Judge gain: what a judge's choices do to recall on terms whose concepts are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from omop_emb.arrays import Mask
from omop_emb.mapping.engine import Engine
from omop_emb.mapping.evaluation.gold import GoldTerm, ResolvedTerm, resolve_targets
from omop_emb.mapping.evaluation.leakage import rank_without_leakage
from omop_emb.mapping.evaluation.metrics import SEED, bootstrap_means
from omop_emb.mapping.judge.applied_answer import apply_answer
from omop_emb.mapping.judge.judge_calibration import (
    JudgeCalibration,
    JudgedTerm,
    find_calibration,
    is_answer,
    learn_judge,
)
from omop_emb.mapping.judge.judge_job import JudgeJob, JudgeKnowledge, ReadContexts, check_orders, judge_terms
from omop_emb.mapping.judge.prompt import ApprovedExample, offered_candidates
from omop_emb.mapping.records import MappedTerm, Provenance
from omop_emb.mapping.results import ResultBuilder
from omop_emb.mapping.retrieval.queries import Query
from omop_emb.mapping.settings import Settings

_FOLDS = 5
LEARNED_HERE = "order learned from the other terms"
LEARNED_BEFORE = "order as map --judge-orders"
CHOICE_FIRST = "its choice always first"


@dataclass(frozen=True, kw_only=True)
class JudgeGain:
    """Recall@1 of terms with a match before a judge's choices changed the order, and after."""

    group: str  # "all", or a domain
    order: str  # LEARNED_HERE, LEARNED_BEFORE or CHOICE_FIRST
    before: float
    after: float
    low: float  # 95 % interval of the difference, by paired bootstrap over terms
    high: float
    better: int  # number of terms whose right concept is first only after
    worse: int  # and only before
    terms: int

    @property
    def difference(self) -> float:
        """The mean gain, after minus before."""
        return self.after - self.before


@dataclass(frozen=True, kw_only=True)
class JudgeEvaluation:
    """What a judge answered about gold terms, and what that gains."""

    judge: str  # provider:model
    asked: int
    answered: int
    right: int  # answers that name a chosen concept, or "none" where there is none among those shown
    cost: str  # requests, tokens and price
    gains: Sequence[JudgeGain]
    notes: Sequence[str]


@dataclass(frozen=True, eq=False)
class _Known:
    """A mapped term and the concepts that people chose for it."""

    mapped: MappedTerm
    targets: frozenset[int]  # concept ids
    domain: str

    def is_first(self, mapped: MappedTerm) -> bool:
        return mapped.best is not None and mapped.best.concept_id in self.targets

    @property
    def judged(self) -> JudgedTerm | None:
        """The answer with what is known; None without an answer or a probability."""
        shown = offered_candidates(self.mapped)
        if self.mapped.probability is None or not is_answer(self.mapped.judge) or not shown:
            return None
        chosen = next((number for number, candidate in enumerate(shown) if candidate.judged), None)
        return JudgedTerm(
            self.mapped.probability,
            np.array([candidate.score for candidate in shown], np.float32),
            np.array([candidate.concept_id in self.targets for candidate in shown]),
            chosen,
        )

    @property
    def is_answered_rightly(self) -> bool:
        chosen = [candidate.concept_id for candidate in self.mapped.candidates if candidate.judged]
        shown = {candidate.concept_id for candidate in offered_candidates(self.mapped)}
        return bool(self.targets & {*chosen}) if self.targets & shown else not chosen


def evaluate_judge(
    engine: Engine,
    terms: Sequence[GoldTerm],
    settings: Settings,
    job: JudgeJob,
    *,
    provenance: Provenance,
    read_contexts: ReadContexts,
    on_message: Callable[[str], None],
    confirm: Callable[[str], bool],
) -> JudgeEvaluation | None:
    """Ask a judge about gold terms, at most job.max_terms of them at random; None if it was not asked.

    It is shown no approval of a measured term. With job.orders its choices order candidates as they would for
    `map --judge-orders`; without, as if it had been learned from the other terms what they are worth.

    Raises:
        ConfigurationError: job.orders, and what the judge's choices are worth is not known.
    """
    stored = engine.ranker.calibration.judges if engine.ranker.calibration and engine.calibrated else {}
    check_orders(job, stored)
    resolved = _sampled(resolve_targets(engine.lexicon, terms), job.max_terms)
    known, examples = _mapped(engine, resolved, settings, provenance, job.examples)
    asked: list[MappedTerm] = [one.mapped for one in known]
    notes: list[str] = []
    costs: list[str] = []
    judged = list(
        judge_terms(
            replace(job, orders=False),
            lambda: asked,
            knowledge=JudgeKnowledge(
                read_contexts=read_contexts,
                find_examples=lambda chosen: [examples.get(term.key, ()) for term in chosen],
            ),
            calibrations=None,
            on_message=on_message,
            on_failure=notes.append,
            on_cost=costs.append,
            confirm=confirm,
        )
    )
    if not costs:
        return None
    known = [replace(one, mapped=mapped) for one, mapped in zip(known, judged, strict=True)]
    orders, order_notes = _orders(known, job, stored)
    answered = [one for one in known if is_answer(one.mapped.judge)]
    return JudgeEvaluation(
        judge=job.model.source,
        asked=sum(bool(one.mapped.candidates) for one in known),
        answered=len(answered),
        right=sum(one.is_answered_rightly for one in answered),
        cost=costs[0],
        gains=[gain for order, after in orders.items() for gain in _gains(known, order, after)],
        notes=[*notes, *order_notes],
    )


def _sampled(resolved: Sequence[ResolvedTerm], count: int) -> Sequence[ResolvedTerm]:
    if len(resolved) <= count:
        return resolved
    drawn = np.random.default_rng(SEED).choice(len(resolved), count, replace=False)
    return [resolved[number] for number in sorted(drawn.tolist())]


def _mapped(
    engine: Engine,
    resolved: Sequence[ResolvedTerm],
    settings: Settings,
    provenance: Provenance,
    example_count: int,
) -> tuple[list[_Known], Mapping[tuple[str, str], Sequence[ApprovedExample]]]:
    """The terms mapped without what belongs to them, and similar approvals that belong to none of them."""
    passing = engine.passing(settings.concept_filter)
    results = ResultBuilder(engine.lexicon, engine.ranker, engine.memory, settings, provenance, passing)
    known: list[_Known] = []
    queries: list[Query] = []
    for batch, ranked in rank_without_leakage(engine, resolved, settings):
        queries += ranked.queries
        for number, (gold, rows) in enumerate(batch):
            # Its own code would lead to its own concept.
            term = replace(gold.term, source_vocabulary=None)
            targets = frozenset(int(engine.lexicon.concept_id[row]) for row in rows)
            domains = sorted(engine.lexicon.domains[engine.lexicon.domain[row]] for row in rows)
            mapped = results.build(term, ranked, number)
            known.append(_Known(mapped, targets, domains[0] if domains else ""))
    hidden = frozenset[int]().union(*(query.hidden_names for query in queries))
    queries = [replace(query, hidden_names=hidden) for query in queries]
    found = engine.approved_examples(queries, example_count)
    return known, {one.mapped.term.key: list(own) for one, own in zip(known, found, strict=True)}


def _orders(
    known: Sequence[_Known], job: JudgeJob, stored: Mapping[str, JudgeCalibration]
) -> tuple[dict[str, Mask], list[str]]:
    """(n,) whether each term's first candidate is right, by how the judge orders; and notes for the user."""
    raw = np.array(
        [
            bool({c.concept_id for c in one.mapped.candidates if c.judged} & one.targets)
            if any(c.judged for c in one.mapped.candidates)
            else one.is_first(one.mapped)
            for one in known
        ],
        bool,
    )
    if job.orders:
        calibration = find_calibration(stored, job.model.source)
        after = [one.is_first(apply_answer(one.mapped, calibration, orders=True)) for one in known]
        return {LEARNED_BEFORE: np.array(after, bool), CHOICE_FIRST: raw}, []
    if all(one.mapped.probability is None for one in known):
        return {CHOICE_FIRST: raw}, [
            "this space has no probabilities, so a judge's choices cannot be weighed against the ranker: "
            "run omop-emb calibrate APPROVED"
        ]
    fold = np.random.default_rng(SEED).permutation(np.arange(len(known)) % _FOLDS)
    after_here = np.zeros(len(known), bool)
    used = 0
    for number in range(_FOLDS):
        others = [one.judged for one, own in zip(known, fold, strict=True) if own != number]
        calibration, _ = learn_judge([one for one in others if one is not None])
        used += calibration is not None and calibration.choice is not None
        for position in np.flatnonzero(fold == number).tolist():
            one = known[position]
            after_here[position] = one.is_first(apply_answer(one.mapped, calibration, orders=True))
    _, lines = learn_judge([one.judged for one in known if one.judged is not None])
    notes = [] if used else [f"its choices would change no order: {line}" for line in lines[-1:]]
    return {LEARNED_HERE: after_here, CHOICE_FIRST: raw}, notes


def _gains(known: Sequence[_Known], order: str, after: Mask) -> list[JudgeGain]:
    """The gain of all terms that have a match, and of each domain."""
    findable = np.array([bool(one.targets) for one in known], bool)
    domains = np.array([one.domain for one in known])
    before = np.array([one.is_first(one.mapped) for one in known], bool)
    groups = [("all", findable)]
    groups += [(str(name), findable & (domains == name)) for name in np.unique(domains[findable])]
    gains = []
    for group, members in groups:
        if not members.any():
            continue
        own, own_before = after[members], before[members]
        table = (own.astype(float) - own_before.astype(float))[:, None]
        _, low, high = bootstrap_means(table, np.random.default_rng(SEED))
        gains.append(
            JudgeGain(
                group=group,
                order=order,
                before=float(own_before.mean()),
                after=float(own.mean()),
                low=float(low[0]),
                high=float(high[0]),
                better=int((own & ~own_before).sum()),
                worse=int((own_before & ~own).sum()),
                terms=int(members.sum()),
            )
        )
    return gains
