"""Mapping settings: what a caller may choose about how terms are mapped."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from omop_emb.errors import InputError
from omop_emb.mapping.ranking.policy import Policy
from omop_emb.mapping.terms.variants import RULES
from omop_emb.records import ConceptFilter
from omop_emb.spaces.recipe import STANDARD_AND_VALID


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
        concept_filter: which concepts may be candidates. With standard_only or valid_only False, others may
            too; they are marked by a flag and never accepted.
    """

    candidates: int = 10
    retrieved: int = 100
    retrieved_other: int = 40
    rules: Collection[str] = RULES
    variants: int = 5
    explain: int = 0
    accept_codes: bool = False
    policy: Policy = field(default_factory=Policy)
    concept_filter: ConceptFilter = STANDARD_AND_VALID

    def __post_init__(self) -> None:
        if ConceptFilter.parse(self.concept_filter) is None:
            raise InputError("concept_filter must be a ConceptFilter; found None")

    @property
    def includes_non_standard(self) -> bool:
        """Whether concepts may be candidates that are not standard, or no longer valid."""
        return not (self.concept_filter.standard_only and self.concept_filter.valid_only)

    @property
    def has_learned_probabilities(self) -> bool:
        """Whether candidates are those that probabilities were learned with; a domain makes no difference."""
        return replace(self.concept_filter, domains=None) == STANDARD_AND_VALID

    @property
    def filter_text(self) -> str:
        """The filter in words, "" without one: "only vocabulary LOINC or SNOMED"."""
        chosen = self.concept_filter
        kinds = (
            ("domain", chosen.domains),
            ("vocabulary", chosen.vocabularies),
            ("concept class", chosen.concept_classes),
        )
        parts = [f"only {kind} {' or '.join(names) or 'none'}" for kind, names in kinds if names is not None]
        if chosen.concept_ids is not None:
            parts.append(f"only {len(chosen.concept_ids):,} concept ids")
        if self.includes_non_standard:
            parts.append("non-standard and invalid concepts too")
        return ", ".join(parts)
