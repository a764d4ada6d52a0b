"""Conflict records: decisions of a review that do not fit each other, or the vocabulary."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from omop_emb.records import Concept
from omop_emb.service.review.decision_records import ReviewState, Target

MOST_TERMS = 100
"""Terms that a conflict lists; it says how many there are in all."""


class ConflictKind(Enum):
    """Of what kind a conflict is."""

    SAME_TERM = "same term"
    SAME_CODE = "same code"
    CONTRAST = "contrast"
    TARGET_STATUS = "target status"
    DOMAIN = "domain"
    EXACT_NAME = "exact name"
    REVIEWERS = "reviewers"

    @property
    def words(self) -> str:
        """For people."""
        return _WORDS[self]


_WORDS = {
    ConflictKind.SAME_TERM: "The same code and name, different targets",
    ConflictKind.SAME_CODE: "The same code, different targets",
    ConflictKind.CONTRAST: "One target for terms that differ",
    ConflictKind.TARGET_STATUS: "Targets that are not valid standard concepts",
    ConflictKind.DOMAIN: "Targets of another domain than the term's",
    ConflictKind.EXACT_NAME: "A concept above, although one has the term's name",
    ConflictKind.REVIEWERS: "Two people who differ",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DecidedTerm:
    """A term with its latest decision, or with the one that somebody is about to make.

    Attributes:
        domain: that its concept must be in, several separated by "|"; "" allows all.
        reviewer: who decided; None for a decision that is not made yet.
    """

    position: int
    source_code: str
    source_name: str
    domain: str
    text_key: str
    version: int
    state: ReviewState
    targets: tuple[Target, ...]
    reviewer: str | None = None

    @property
    def mappings(self) -> tuple[int, ...]:
        """Concept ids that it maps to, without values, units and the like."""
        return tuple(target.concept_id for target in self.targets if target.is_mapping)

    @property
    def choice(self) -> tuple[str, tuple[tuple[int, str], ...]]:
        """What equal decisions have in common, in an order of its own."""
        targets = sorted((target.concept_id, target.mapping_type) for target in self.targets)
        return self.state.value, tuple(targets)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConflictTerm:
    """A term of a conflict.

    Attributes:
        says: what it says in the point in question, such as "left"; "" where the decision is the point.
    """

    term: DecidedTerm
    says: str = ""


@dataclass(frozen=True, kw_only=True)
class Dismissal:
    """A reviewer's note that a conflict is intended."""

    reviewer: str
    reason: str
    decided_at: datetime


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """Decisions that do not fit each other, or the vocabulary.

    Attributes:
        key: the same for a conflict that says the same.
        aspect: in what the terms differ (laterality), or what the target is (non-standard); "" for neither.
        summary: what is wrong, for people, without names of terms.
        is_certain: whether some decision must be wrong; otherwise a person should look.
        terms: at most MOST_TERMS, in the order of the file.
        count: how many terms it has in all.
        concept: the target in question, None where there are several.
        better: the concept with the term's name.
        dismissal: None while nobody has called it right.
    """

    key: str
    kind: ConflictKind
    aspect: str
    summary: str
    is_certain: bool
    terms: tuple[ConflictTerm, ...]
    count: int
    concept: Concept | None = None
    better: Concept | None = None
    dismissal: Dismissal | None = None


def make_conflict(
    kind: ConflictKind,
    subject: object,
    terms: Iterable[ConflictTerm],
    *,
    summary: str,
    aspect: str = "",
    is_certain: bool = False,
    concept: Concept | None = None,
    better: Concept | None = None,
) -> Conflict:
    """A conflict; `subject` is what it says, in values of JSON: its key changes when it says more."""
    listed = sorted(terms, key=lambda one: one.term.position)
    text = json.dumps([kind.value, aspect, subject], ensure_ascii=False, sort_keys=True)
    return Conflict(
        key=hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32],
        kind=kind,
        aspect=aspect,
        summary=summary,
        is_certain=is_certain,
        terms=_evenly(listed),
        count=len(listed),
        concept=concept,
        better=better,
    )


def _evenly(terms: list[ConflictTerm]) -> tuple[ConflictTerm, ...]:
    """The terms, or so many of each that say the same that all sides are seen."""
    if len(terms) <= MOST_TERMS:
        return tuple(terms)
    sides: dict[object, list[ConflictTerm]] = {}
    for one in terms:
        sides.setdefault(one.says or one.term.choice, []).append(one)
    each = max(MOST_TERMS // len(sides), 1)
    chosen = [one for side in sides.values() for one in side[:each]][:MOST_TERMS]
    return tuple(sorted(chosen, key=lambda one: one.term.position))
