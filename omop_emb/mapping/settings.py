"""Mapping settings: what a caller may choose about how terms are mapped."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from omop_emb.errors import InputError, checked_keywords
from omop_emb.mapping.ranking.policy import Policy
from omop_emb.mapping.ranking.site_preferences import check_preferences
from omop_emb.mapping.terms.variants import RULES
from omop_emb.records import ConceptFilter, true_or_false, whole_number
from omop_emb.spaces.recipe import STANDARD_AND_VALID


@checked_keywords
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
        use_preferences: let what the site has approved correct the shipped ranker, see SitePreferences.
        prefer: preferences by hand, such as "drug=ingredient" or "vocabulary=SNOMED".
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
    use_preferences: bool = True
    prefer: Sequence[str] = ()
    policy: Policy = field(default_factory=Policy)
    concept_filter: ConceptFilter = STANDARD_AND_VALID

    def __post_init__(self) -> None:
        if ConceptFilter.parse(self.concept_filter) is None:
            raise InputError("concept_filter must be a ConceptFilter; found None")
        for name in ("candidates", "retrieved", "retrieved_other", "variants", "explain"):
            least = 1 if name == "candidates" else 0
            object.__setattr__(self, name, whole_number(getattr(self, name), name, least=least))
        for name in ("accept_codes", "use_preferences"):
            object.__setattr__(self, name, true_or_false(getattr(self, name), name))
        if isinstance(self.prefer, str):
            raise InputError(f"prefer must be a sequence of preferences; found the text {self.prefer!r}")
        object.__setattr__(self, "prefer", check_preferences(self.prefer))
        policy: object = self.policy
        if not isinstance(policy, Policy):
            found = type(policy).__name__
            raise InputError(f"policy must be a Policy, such as Policy(accept_precision=0.95); found {found}")

    @classmethod
    def parse(cls, value: object) -> Settings:
        """The value, if it is Settings, or the default for None; InputError otherwise."""
        if value is None or isinstance(value, cls):
            return value or cls()
        raise InputError(
            "settings must be Settings, such as Settings(concept_filter=ConceptFilter(domains='Condition')); "
            f"found {type(value).__name__}"
        )

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
