"""What a generative model said about a term: one of its candidates or none, in its own words."""

from __future__ import annotations

from dataclasses import dataclass, replace

from omop_emb.mapping.records import MappedTerm


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a model said about a term.

    Attributes:
        concept_id: the candidate that it chose; None for none of them, and where there is no answer.
        reason: its own words.
        problem: why there is no answer; "" if there is one.
    """

    concept_id: int | None
    reason: str = ""
    problem: str = ""

    def __str__(self) -> str:
        if self.problem:
            return f"no answer: {self.problem}"
        chosen = "none" if self.concept_id is None else str(self.concept_id)
        return f"{chosen}: {self.reason}" if self.reason else chosen


def verdict_of(answer: tuple[str, str] | None, allowed: frozenset[int]) -> Verdict:
    """What a choice and its reason say; None, and a concept that is not `allowed`, are no answer."""
    if answer is None:
        return Verdict(None, problem="the model did not answer with the JSON that was asked for")
    chosen, reason = answer
    if chosen.casefold() in {"none", "null", ""}:
        return Verdict(None, reason)
    if chosen.isascii() and chosen.isdigit() and int(chosen) in allowed:
        return Verdict(int(chosen), reason)
    return Verdict(None, problem="the model named a concept that was not among the candidates")


def with_verdict(mapped: MappedTerm, verdict: Verdict, source: str) -> MappedTerm:
    """A term with a model's answer: in words, and as a mark at the candidate that it chose.

    Args:
        mapped: the term.
        verdict: what the model said.
        source: the model as provider:model.
    """
    return replace(
        mapped,
        judge=f"{verdict} ({source})",
        candidates=tuple(
            replace(candidate, judged=candidate.concept_id == verdict.concept_id)
            for candidate in mapped.candidates
        ),
    )
