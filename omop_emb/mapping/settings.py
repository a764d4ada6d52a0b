"""Mapping settings: what a caller may choose about how terms are mapped."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from omop_emb.mapping.ranking.policy import Policy
from omop_emb.mapping.terms.variants import RULES


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How terms are mapped.

    Attributes:
        candidates: how many are given for each term.
        retrieved: how many concepts each retriever finds for a term's original.
        retrieved_other: how many for each of its other variants.
        rules: the normalisation rules that may be used (see normalise.RULES).
        variants: how many variants of a term are looked up at most.
        explain: for how many candidates reasons are listed (Candidate.contributions).
        accept_codes: accept what a code leads to, where the name's first candidate says the same.
        policy: what may be decided without a person.
    """

    candidates: int = 10
    retrieved: int = 100
    retrieved_other: int = 40
    rules: Collection[str] = RULES
    variants: int = 5
    explain: int = 0
    accept_codes: bool = False
    policy: Policy = field(default_factory=Policy)
