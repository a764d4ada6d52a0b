"""The values that travel through mapping: a source term in, candidates with reasons out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Decision(Enum):
    """What is to happen with a mapped term."""

    ACCEPT = "accept"
    REVIEW = "review"
    NO_MATCH = "no match"


class Retriever(Enum):
    """Who found a candidate."""

    CODE = "code"
    EXACT = "exact"
    DENSE = "dense"
    LEXICAL = "lexical"
    MEMORY = "memory"


@dataclass(frozen=True, kw_only=True)
class SourceTerm:
    """A term as a source system writes it.

    Attributes:
        name: the text to map; may be empty only where a code is looked up.
        code: the source's code for it, "" where there is none.
        frequency: how often it occurs in the data; None where the file does not say.
        domain: OMOP domain that its concept must be in; None sets no limit.
        further_names: other texts for the same thing (the original language, a translation).
        source_vocabulary: OMOP vocabulary that the code is from; codes are looked up only where it is given.
        context: columns that help to understand the term (a ward, a table), name to value.
        extra: further columns of the file, carried through untouched, name to value.
        line: the line of the file that it came from, counted from 1; None for a term from elsewhere.
    """

    name: str
    code: str = ""
    frequency: int | None = None
    domain: str | None = None
    further_names: tuple[str, ...] = ()
    source_vocabulary: str | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    line: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Code and name: what a reviewed term is recognised by."""
        return self.code, self.name


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to write a source term as a query.

    Attributes:
        text: the query.
        rule: name of the rule that made it; "original" for the term itself.
    """

    text: str
    rule: str = "original"


@dataclass(frozen=True, slots=True)
class PathStep:
    """One relationship that was followed from a concept that was hit towards a standard one."""

    concept_id: int
    concept_name: str
    relationship_id: str


@dataclass(frozen=True, slots=True)
class Contribution:
    """What a feature added to a candidate's score: positive speaks for it, negative against."""

    feature: str
    value: float
    contribution: float


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A standard concept that a source term may mean.

    Attributes:
        rank: 1 is the best.
        concept_id: OMOP concept id; the other concept fields are those of OMOP's CONCEPT table.
        score: the ranker's order, larger is better; comparable within one term only.
        probability: that this candidate is right, 0 to 1; None where the space is not calibrated.
        variant: the variant of the term that found it.
        matched_text: the concept's text that fitted best: a name, synonym, code or approved alias.
        matched_kind: "name", "synonym", "code", "alias" (approved here before) or "short name".
        retrievers: score of each retriever that saw it: cosine similarity (dense), TF-IDF cosine
            (lexical), 1.0 (code, exact, memory).
        path: relationships followed from the concept that was hit; empty if that was the candidate itself.
        flags: differences that matter, as "laterality: left, not right".
        contributions: features that spoke for and against, strongest first; empty unless asked for.
        judged: True where a second opinion chose this candidate.
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
    flags: tuple[str, ...] = ()
    contributions: tuple[Contribution, ...] = ()
    judged: bool = False


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a mapping was made with: enough to make it again.

    Attributes:
        space_id: the embedding space; None where no dense retriever took part.
        model: provider:model of that space.
        fingerprint: digest of the space's fingerprint.
        vocabulary: release of the vocabulary, "" where it does not say.
        ranker: name of the ranker, such as "default-2" or "site-3".
        calibrated: whether the probabilities are valid for this space.
        accept_precision: the precision that was asked for; None if nothing is accepted by itself.
        accept_untrained: whether acceptance without approvals of one's own was forced.
        version: version of omop-emb.
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


@dataclass(frozen=True, kw_only=True)
class MappedTerm:
    """A source term with its candidates and what is to be done with it.

    Attributes:
        term: the source term, as it came in.
        candidates: best first; empty where nothing was found.
        decision: accept, review or no match.
        reason: why, in a few words for a person.
        probability: that the first candidate is right, 0 to 1; None where the space is not calibrated.
        priority: frequency times uncertainty, larger is to be reviewed sooner.
        by_code: concept ids that the code leads to through Maps to; empty if no code was looked up.
        disagrees: True where the code leads elsewhere than the name's first candidate.
        previous: concept ids of an earlier mapping that was kept; empty otherwise.
        judge: the second opinion's answer and reason; "" if none was asked for.
        provenance: what made it.
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
    previous: tuple[int, ...] = ()
    judge: str = ""

    @property
    def best(self) -> Candidate | None:
        """The first candidate, None where there is none."""
        return self.candidates[0] if self.candidates else None

    @property
    def targets(self) -> tuple[int, ...]:
        """Concept ids that the term maps to if its decision stands: several where a code maps to several."""
        if self.decision is Decision.NO_MATCH:
            return ()
        if self.previous:
            return self.previous
        if self.by_code:
            return self.by_code
        return (self.candidates[0].concept_id,) if self.candidates else ()
