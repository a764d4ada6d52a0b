"""Decision records: what people decide about the terms of a review."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from uuid import UUID, uuid4

from omop_emb.errors import InputError
from omop_emb.mapping.files.usagi_file import MAPS_TO
from omop_emb.records import MAX_CONCEPT_ID

MAPPING_TYPES = {
    MAPS_TO: "maps to",
    "MAPS_TO_VALUE": "maps to value",
    "MAPS_TO_UNIT": "maps to unit",
    "MAPS_TO_OPERATOR": "maps to operator",
    "MAPS_TO_TYPE": "maps to type",
    "MAPS_TO_NUMBER": "maps to number",
}
"""Usagi's mapping types, and each in words."""
_LONGEST_COMMENT = 10_000
_LONGEST_NAME = 200
_MOST_TARGETS = 100


class ReviewState(Enum):
    """What was decided about a term."""

    UNREVIEWED = "unreviewed"
    APPROVED = "approved"
    NO_MATCH = "no match"
    FLAGGED = "flagged"
    IGNORED = "ignored"

    @property
    def is_decided(self) -> bool:
        """Whether a person has settled it; a flagged term still waits for somebody."""
        return self in (ReviewState.APPROVED, ReviewState.NO_MATCH, ReviewState.IGNORED)


class Equivalence(Enum):
    """How the meaning of the concept compares with the term's; the values are Usagi's.

    Usagi's WIDER says that the target has more information than the source, which HL7 calls narrower. People
    are shown words that name the side, see `words`.
    """

    UNREVIEWED = "UNREVIEWED"
    EQUAL = "EQUAL"
    EQUIVALENT = "EQUIVALENT"
    WIDER = "WIDER"
    NARROWER = "NARROWER"
    INEXACT = "INEXACT"
    UNMATCHED = "UNMATCHED"

    @property
    def words(self) -> str:
        """For people."""
        return _EQUIVALENCE_WORDS[self]


_EQUIVALENCE_WORDS = {
    Equivalence.UNREVIEWED: "not compared",
    Equivalence.EQUAL: "the same words",
    Equivalence.EQUIVALENT: "the same meaning",
    Equivalence.WIDER: "the concept says more than the term",
    Equivalence.NARROWER: "the concept says less than the term",
    Equivalence.INEXACT: "they overlap",
    Equivalence.UNMATCHED: "no concept fits",
}


class Action(Enum):
    """How a decision came about."""

    DECIDE = "decide"
    UNDO = "undo"
    BULK = "bulk"
    GROUP = "group"
    IMPORT = "import"
    ADJUDICATE = "adjudicate"


@dataclass(frozen=True, slots=True)
class Target:
    """A concept that a term maps to, or what belongs beside it: MAPS_TO_VALUE and the like.

    Raises:
        InputError: no concept can have the id, or Usagi has no such mapping type.
    """

    concept_id: int
    mapping_type: str = MAPS_TO

    def __post_init__(self) -> None:
        if not isinstance(self.concept_id, int) or not 0 < self.concept_id <= MAX_CONCEPT_ID:
            raise InputError(
                f"a target is a concept id from 1 to {MAX_CONCEPT_ID}; found {self.concept_id!r}"
            )
        if self.mapping_type not in MAPPING_TYPES:
            raise InputError(
                f"a mapping type is one of {', '.join(MAPPING_TYPES)}; found {str(self.mapping_type)[:40]!r}"
            )

    @property
    def is_mapping(self) -> bool:
        """Whether it is a target, and no value, unit, operator, type or number."""
        return self.mapping_type == MAPS_TO


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a person says about a term.

    Attributes:
        targets: what it maps to; empty unless it is approved or flagged.
        equivalence: of the concept and the term.

    Raises:
        InputError: an approved term has no target, or one without a match has some.
    """

    state: ReviewState
    targets: tuple[Target, ...] = ()
    equivalence: Equivalence = Equivalence.UNREVIEWED
    comment: str = ""

    def __post_init__(self) -> None:
        if self.state is ReviewState.APPROVED and not self.targets:
            raise InputError("an approved term needs a target; without one, decide no match")
        if self.state is ReviewState.NO_MATCH and self.targets:
            raise InputError("a term with no match has no target; approve it, or remove the target")
        if len(set(self.targets)) < len(self.targets):
            raise InputError("the same target appears twice")
        if len(self.targets) > _MOST_TARGETS:
            raise InputError(f"a term has at most {_MOST_TARGETS} targets; found {len(self.targets)}")
        if len(self.comment) > _LONGEST_COMMENT or "\0" in self.comment:
            raise InputError(f"a comment has at most {_LONGEST_COMMENT:,} characters, and no NUL")


@dataclass(frozen=True, kw_only=True)
class NewDecision:
    """A decision to be stored.

    Attributes:
        position: of the term.
        version: of the term when the person saw it, 0 if nobody had decided it.
        verdict: what the person says.
        request_id: made once where the person decides; the same again is the same decision, stored once.
        revision: of the suggestion that was shown.
        rank: of the candidate that was chosen, None if it was not suggested.
    """

    position: int
    version: int
    verdict: Verdict
    request_id: UUID = field(default_factory=uuid4)
    revision: int | None = None
    rank: int | None = None


@dataclass(frozen=True, kw_only=True)
class StoredDecision:
    """A decision as it was stored; it never changes.

    Attributes:
        version: of the term, 1 for its first decision.
        probability, ranker: what was said for the first candidate then, and which ranker said it.
        batch_id: of decisions made at once.
        undoes: the decision that it takes back.
    """

    decision_id: int
    project_id: int
    position: int
    version: int
    request_id: UUID
    reviewer: str
    decided_at: datetime
    action: Action
    verdict: Verdict
    revision: int | None = None
    rank: int | None = None
    probability: float | None = None
    ranker: str | None = None
    batch_id: UUID | None = None
    undoes: int | None = None


@dataclass(frozen=True, kw_only=True)
class DecisionResult:
    """What became of a new decision.

    Attributes:
        stored: the decision; None if the term had changed since the person saw it, and nothing was stored.
        current: the latest decision on the term, None if there is none.
    """

    new: NewDecision
    stored: StoredDecision | None
    current: StoredDecision | None

    @property
    def is_conflict(self) -> bool:
        """Whether somebody else has decided the term since: both verdicts are to be shown."""
        return self.stored is None


def reviewer_name(text: str) -> str:
    """A reviewer's name without blanks around it.

    Raises:
        InputError: it is empty, too long, or has control characters.
    """
    name = text.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InputError(f"a reviewer's name has 1 to {_LONGEST_NAME} printable characters")
    return name
