"""Applied answers: what a judge's answer does to a term's probabilities and, if asked for, to the order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from omop_emb.mapping.judge.judge_calibration import (
    JudgeCalibration,
    classify_answer,
    judge_source,
)
from omop_emb.mapping.judge.judged_order import (
    choice_log_odds,
    judged_rank,
    shift_probability,
)
from omop_emb.mapping.judge.prompt import offered_candidates
from omop_emb.mapping.records import Candidate, Contribution, Decision, MappedTerm
from omop_emb.mapping.terms.text_key import text_key

JUDGE_REASON = "choice of the judge"
"""What speaks for a candidate that a judge's choice moved."""


def apply_answer(
    mapped: MappedTerm, calibration: JudgeCalibration | None, *, orders: bool = False
) -> MappedTerm:
    """The term with probability and priority changed by its judge's answer; its decision stays.

    With `orders` the judge's choice moves up to where its probability belongs. A term with an earlier
    approval or a code that decides, and one whose first candidate was approved for precisely its name, keep
    their order: persons have spoken.
    """
    if calibration is None or mapped.probability is None or mapped.best is None or mapped.by_code:
        return mapped
    answer = classify_answer(mapped.judge, mapped.best.concept_id)
    if answer is None:
        return mapped
    before = mapped.probability
    if orders and mapped.decision is Decision.REVIEW:
        mapped = replace(mapped, provenance=replace(mapped.provenance, judge=judge_source(mapped.judge)))
    if answer not in calibration.shifts:
        return mapped
    probability = shift_probability(before, calibration.shifts[answer])
    first = replace(mapped.candidates[0], probability=probability)
    changed = replace(mapped, candidates=(first, *mapped.candidates[1:]))
    if orders and calibration.choice is not None and _may_be_ordered(mapped):
        changed = _ordered(changed, calibration.choice, before, probability)
    assert changed.best is not None  # noqa: S101 - for mypy: it has the same candidates
    probability = changed.best.probability if changed.best.probability is not None else probability
    frequency = mapped.term.frequency if mapped.term.frequency is not None else 1
    return replace(changed, probability=probability, priority=frequency * (1 - probability))


def _may_be_ordered(mapped: MappedTerm) -> bool:
    return (
        mapped.decision is Decision.REVIEW
        and not (mapped.previous or mapped.previous_values)
        and not _is_approved(mapped, mapped.candidates[0])
    )


def _is_approved(mapped: MappedTerm, candidate: Candidate) -> bool:
    """Whether persons approved a candidate for precisely this name."""
    names = {text_key(name) for name in (mapped.term.name, *mapped.term.further_names)}
    return candidate.matched_kind == "alias" and text_key(candidate.matched_text) in names


def _ordered(mapped: MappedTerm, choice: tuple[float, float], before: float, first: float) -> MappedTerm:
    """The term with the judge's choice where it belongs; `first`: the first candidate's probability now."""
    offered = offered_candidates(mapped)
    chosen = next((number for number, candidate in enumerate(offered) if candidate.judged), 0)
    if chosen == 0:
        return mapped
    scores = [candidate.score for candidate in offered]
    rank, probability = judged_rank(first, choice, before, scores, chosen)
    if rank >= chosen:
        return mapped
    gain = float(np.log(probability / (1 - probability))) - choice_log_odds(before, scores, chosen)
    ordered = list(mapped.candidates)
    moved = ordered.pop(chosen)
    reasons = moved.contributions
    moved = replace(
        moved,
        probability=probability,
        contributions=_sorted((*reasons, Contribution(JUDGE_REASON, gain))),
    )
    if rank == 0:  # reasons compare with the first candidate, which is another one now
        ordered = [
            replace(candidate, contributions=_compared(candidate, reasons, is_old_first=not number))
            for number, candidate in enumerate(ordered)
        ]
    ordered.insert(rank, moved)
    source = judge_source(mapped.judge)
    return replace(
        mapped,
        candidates=tuple(
            replace(candidate, rank=number, ranker_rank=candidate.rank)
            for number, candidate in enumerate(ordered, start=1)
        ),
        reason=f"{mapped.reason}; the judge{f' {source}' if source else ''} moved {moved.concept_id} "
        f"{moved.concept_name} from rank {chosen + 1} to {rank + 1}",
    )


def _compared(
    candidate: Candidate, of_first: Sequence[Contribution], *, is_old_first: bool
) -> tuple[Contribution, ...]:
    """A candidate's reasons against the new first one, whose own against the old first one are given.

    Reasons are differences of sums, so that those against another rival follow from the two. The old first
    one's were against the second.
    """
    if not candidate.contributions or not of_first:
        return ()
    sums = {} if is_old_first else {one.reason: one.contribution for one in candidate.contributions}
    for one in of_first:
        sums[one.reason] = sums.get(one.reason, 0.0) - one.contribution
    return _sorted([Contribution(reason, total) for reason, total in sums.items() if abs(total) >= 0.005])


def _sorted(contributions: Sequence[Contribution]) -> tuple[Contribution, ...]:
    return tuple(sorted(contributions, key=lambda one: -abs(one.contribution)))
