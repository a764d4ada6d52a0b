"""Mapping records: source terms, their candidates, and the decision for each."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum


def says_something(text: str) -> bool:
    """Whether a text has a letter, a digit, or a sign such as % or +, and not only punctuation."""
    kinds = (unicodedata.category(sign) for sign in text if sign != "\ufffd")
    return not {*"%\u2030#"}.isdisjoint(text) or any(kind[0] in "LN" or kind in "SmScSo" for kind in kinds)


class Decision(Enum):
    """What to do with a mapped term."""

    ACCEPT = "accept"
    REVIEW = "review"
    NO_MATCH = "no match"


class Retriever(Enum):
    """How a candidate was found."""

    CODE = "code"
    EXACT = "exact"
    DENSE = "dense"
    LEXICAL = "lexical"
    MEMORY = "memory"
    SUGGESTED = "suggested"
    FURTHER = "further"


@dataclass(frozen=True, kw_only=True)
class SourceTerm:
    """A term as a source system writes it.

    Attributes:
        name, code: the text to map, and the source's code; "" for none, but not for both.
        frequency, line: how often it occurs, and its line in the file from 1; None if unknown.
        domain: OMOP domain that the concept must be in ("A|B": one of several); None allows all.
        further_names: other texts for the same thing (the original language, a translation).
        source_vocabulary: OMOP vocabulary of the code ("A|B": one of several); None looks up no code.
        suggestions: concept ids that the source itself suggests; they are candidates and decide nothing.
        context: columns that help to understand the term (a ward, a table), name to value.
        files: pictures, PDFs (one page: "a.pdf#page=3") or recordings with which it is searched too.
        translation: a generative model's, one more text to search by; approvals keep to the name.
        extra: further columns of the file, copied unchanged to the outputs, name to value.
    """

    name: str
    code: str = ""
    frequency: int | None = None
    domain: str | None = None
    further_names: tuple[str, ...] = ()
    source_vocabulary: str | None = None
    suggestions: tuple[int, ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    translation: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    line: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Code and name, which together identify a reviewed term."""
        return self.code, self.name

    @property
    def can_be_mapped(self) -> bool:
        """Whether it has a name, or a code that can be looked up."""
        return self.has_name or bool(self.code.strip() and self.source_vocabulary)

    @property
    def has_name(self) -> bool:
        """Whether the name says anything."""
        return says_something(self.name)


@dataclass(frozen=True, slots=True)
class Variant:
    """A query: a source term (rule "original"), or what a normalisation rule made of it."""

    text: str
    rule: str = "original"


@dataclass(frozen=True, slots=True)
class PathStep:
    """A relationship followed from a matched concept towards a standard one."""

    concept_id: int
    concept_name: str
    relationship_id: str


@dataclass(frozen=True, slots=True)
class MappedValue:
    """A value, unit, operator, number or type that belongs beside a mapping and is no mapping itself.

    Attributes:
        relationship_id: OMOP's, such as "Maps to value".
        concept_id, concept_name: what goes into value_as_concept_id, unit_concept_id …
    """

    relationship_id: str
    concept_id: int
    concept_name: str


VALUE_COLUMNS = {f"{k}_concept_id": f"Maps to {k}" for k in ("value", "unit", "operator", "number", "type")}
"""Column -> relationship, of the values that belong beside a mapping."""


def value_row(values: Collection[MappedValue]) -> dict[str, str]:
    """Concept ids by column, several of a kind separated by ";"."""
    return {
        column: ";".join(str(value.concept_id) for value in values if value.relationship_id == relationship)
        for column, relationship in VALUE_COLUMNS.items()
    }


@dataclass(frozen=True, slots=True)
class Contribution:
    """How much a reason raises (positive) or lowers (negative) a candidate's score against its rival's."""

    reason: str
    contribution: float


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A standard concept that a source term may mean.

    Attributes:
        rank, ranker_rank: 1 is the best; the second is from before a judge changed the order, if one did.
        concept_id: OMOP concept id; the other concept fields are those of OMOP's CONCEPT table.
        score: the ranker's order, larger is better; comparable within one term only.
        probability: that this candidate is right, 0 to 1; None if the space is not calibrated.
        variant: the variant of the term that found it.
        matched_text: the concept's text that matched best: a name, synonym, code or approved alias.
        matched_kind: "name", "synonym", "code", "short name", "alias" (approved here before), "UNII name" or
            "HPO synonym" (from the packaged lists).
        retrievers: score from each retriever that found it: a cosine (lexical: of TF-IDF), or 1.0.
        path: relationships from the matched concept to this one; empty if they are the same.
        mapped_values: what belongs beside a mapping to it, from the concept that the path begins with.
        flags: differences that a reviewer must see, such as "laterality: left, not right".
        contributions: reasons for and against it, strongest first: the first candidate compared with the
            second, every other with the first; empty unless Settings.explain asks for them.
        judged: whether the judge chose this candidate.
    """

    rank: int
    concept_id: int
    concept_name: str
    domain_id: str
    vocabulary_id: str
    concept_class_id: str
    standard_concept: str | None
    concept_code: str
    score: float
    probability: float | None
    variant: Variant
    matched_text: str
    matched_kind: str
    retrievers: Mapping[Retriever, float]
    path: tuple[PathStep, ...] = ()
    mapped_values: tuple[MappedValue, ...] = ()
    flags: tuple[str, ...] = ()
    contributions: tuple[Contribution, ...] = ()
    judged: bool = False
    ranker_rank: int | None = None


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a mapping was made with: enough to repeat it.

    Attributes:
        space_id: the embedding space; None if no dense retriever was used.
        model, fingerprint: provider:model of that space, and the digest of its fingerprint.
        vocabulary: release of the loaded vocabulary, "" if it names none.
        ranker: such as "shipped-3" or "north-3".
        calibrated: whether the probabilities are valid for these spaces.
        accept_precision, accept_untrained: see Policy; False if the ranker was trained for the site.
        concept_filter: which concepts could be candidates, in words; "" for all standard ones.
        space_vocabulary: release that the space was built from, if it is not the loaded one; None if it is.
        judge: provider:model of the judge whose choices could change the order; "" for none.
        further_spaces: model and fingerprint of each space that was searched besides; "" for none.
        correction: how reviewed rows of the same file corrected the probabilities; "" if none did.
    """

    space_id: int | None
    model: str
    fingerprint: str
    vocabulary: str
    ranker: str
    calibrated: bool
    accept_precision: float | None
    accept_untrained: bool
    version: str
    concept_filter: str = ""
    space_vocabulary: str | None = None
    judge: str = ""
    further_spaces: str = ""
    correction: str = ""

    @property
    def releases(self) -> str:
        """The vocabulary's release, and the space's if it was built from another."""
        loaded = self.vocabulary or "without a release name"
        if self.space_vocabulary is None:
            return loaded
        return f"{loaded} (but the space's is {self.space_vocabulary or 'without a release name'})"


@dataclass(frozen=True, slots=True)
class CheckedTargets:
    """Targets as the loaded vocabulary has them.

    Attributes:
        targets: those that are valid, and what took the place of the others; () if one has not exactly one
            replacement, because half a mapping would be wrong.
        outdated: what is wrong with the others, and what replaces them; "" for nothing.
    """

    targets: tuple[int, ...]
    outdated: str = ""

    @classmethod
    def trusted(cls, targets: Sequence[int]) -> CheckedTargets:
        """Targets that need no check."""
        return cls(tuple(targets))


@dataclass(frozen=True, kw_only=True)
class MappedTerm:
    """A source term with its candidates and the decision.

    Attributes:
        candidates: best first; empty if nothing was found.
        reason: why, in a few words for a person.
        probability: that the first candidate is right, 0 to 1; None if the space is not calibrated.
        priority: frequency times uncertainty; review the largest first.
        by_code: concept ids that the code maps to; empty if no code was looked up.
        disagrees: whether the code maps to another concept than the name's first candidate.
        unknown_code: whether the code was looked up and does not exist.
        previous: concept ids of an earlier approval or their replacements, 0 for no match; empty for none.
        previous_values: values, units … of that approval.
        judge: the judge's answer and reason; "" if it was not asked.
        outdated: which targets are not valid standard concepts, and what replaces them; "" for none.
    """

    term: SourceTerm
    candidates: tuple[Candidate, ...]
    decision: Decision
    reason: str
    probability: float | None
    priority: float
    provenance: Provenance
    by_code: tuple[int, ...] = ()
    disagrees: bool = False
    unknown_code: bool = False
    previous: tuple[int, ...] = ()
    previous_values: tuple[MappedValue, ...] = ()
    judge: str = ""
    outdated: str = ""

    @property
    def best(self) -> Candidate | None:
        """The first candidate, None if there is none."""
        return self.candidates[0] if self.candidates else None

    @property
    def is_reused(self) -> bool:
        """Whether an earlier approval decided it."""
        return bool(self.previous or self.previous_values) and self.decision is not Decision.REVIEW

    @property
    def targets(self) -> tuple[int, ...]:
        """Concept ids that the term maps to under its decision; several if its code maps to several."""
        if self.decision is Decision.NO_MATCH:
            return ()
        if self.previous or self.previous_values:
            return self.previous
        if self.by_code:
            return self.by_code
        return (self.candidates[0].concept_id,) if self.candidates else ()

    @property
    def mapped_values(self) -> tuple[MappedValue, ...]:
        """The values, units … that belong beside its targets."""
        if self.previous or self.previous_values:
            return self.previous_values
        targets = set(self.targets)
        values = (v for c in self.candidates if c.concept_id in targets for v in c.mapped_values)
        return tuple(dict.fromkeys(values))
