"""Verdict: what a generative model answered about a term, one of its candidates or none."""

from __future__ import annotations

from dataclasses import dataclass, replace

from omop_emb.mapping.records import MappedTerm
from omop_emb.records import parse_concept_id


@dataclass(frozen=True, slots=True)
class Verdict:
    """A model's answer about a term."""

    concept_id: int | None  # the chosen candidate; None if the model chose none, or did not answer
    reason: str = ""  # the model's own words
    problem: str = ""  # why there is no answer; "" if there is one


def verdict_from_answer(answer: tuple[str, str] | None, allowed: frozenset[int]) -> Verdict:
    """The verdict in a choice and its reason; None, or a concept that is not allowed, is no answer."""
    if answer is None:
        return Verdict(None, problem="the model did not answer with the requested JSON")
    chosen, reason = answer
    if chosen.casefold() in {"none", "null", ""}:
        return Verdict(None, reason)
    if (concept_id := parse_concept_id(chosen)) in allowed:
        return Verdict(concept_id, reason)
    return Verdict(None, problem="the model named a concept that was not among the candidates")


def with_verdict(mapped: MappedTerm, verdict: Verdict, source: str) -> MappedTerm:
    """The term with a verdict by `source` (provider:model), and the chosen candidate marked."""
    return replace(
        mapped,
        judge=f"{_in_words(verdict, mapped)} ({source})",
        candidates=tuple(
            replace(candidate, judged=candidate.concept_id == verdict.concept_id)
            for candidate in mapped.candidates
        ),
    )


def _in_words(verdict: Verdict, mapped: MappedTerm) -> str:
    """The judge's choice for a reviewer, "312327 Acute myocardial infarction: because …"."""
    if verdict.problem:
        return f"no answer: {verdict.problem}"
    names = {candidate.concept_id: candidate.concept_name for candidate in mapped.candidates}
    chosen = "none" if verdict.concept_id is None else f"{verdict.concept_id} {names[verdict.concept_id]}"
    return f"{chosen}: {verdict.reason}" if verdict.reason else chosen
