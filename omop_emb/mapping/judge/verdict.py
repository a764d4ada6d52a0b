"""Verdict: what a generative model answered about a term, one of its candidates or none."""

from __future__ import annotations

from dataclasses import dataclass, replace

from omop_emb.mapping.records import MappedTerm


@dataclass(frozen=True, slots=True)
class Verdict:
    """A model's answer about a term."""

    concept_id: int | None  # the chosen candidate; None if the model chose none, or did not answer
    reason: str = ""  # the model's own words
    problem: str = ""  # why there is no answer; "" if there is one

    def __str__(self) -> str:
        if self.problem:
            return f"no answer: {self.problem}"
        chosen = "none" if self.concept_id is None else str(self.concept_id)
        return f"{chosen}: {self.reason}" if self.reason else chosen


def verdict_from_answer(answer: tuple[str, str] | None, allowed: frozenset[int]) -> Verdict:
    """The verdict in a choice and its reason; None, or a concept that is not allowed, is no answer."""
    if answer is None:
        return Verdict(None, problem="the model did not answer with the requested JSON")
    chosen, reason = answer
    if chosen.casefold() in {"none", "null", ""}:
        return Verdict(None, reason)
    if chosen.isascii() and chosen.isdigit() and int(chosen) in allowed:
        return Verdict(int(chosen), reason)
    return Verdict(None, problem="the model named a concept that was not among the candidates")


def with_verdict(mapped: MappedTerm, verdict: Verdict, source: str) -> MappedTerm:
    """The term with a verdict by `source` (provider:model), and the chosen candidate marked."""
    return replace(
        mapped,
        judge=f"{verdict} ({source})",
        candidates=tuple(
            replace(candidate, judged=candidate.concept_id == verdict.concept_id)
            for candidate in mapped.candidates
        ),
    )
