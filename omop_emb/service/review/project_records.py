"""Project records: files under review, their terms, and what mapping suggests for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from omop_emb.mapping.records import MappedTerm, SourceTerm
from omop_emb.service.review.decision_records import Action, Verdict


@dataclass(frozen=True, kw_only=True)
class ReviewTerm:
    """A term of a project.

    Attributes:
        position: in the file, from 1.
        text_key: its name without case, punctuation and plural.
        group_key: text_key with domain and context; terms with equal ones may be decided together.
        source_state: as the file says it, such as AUTO_MAPPED_TO_1; "" for none.
    """

    position: int
    term: SourceTerm
    text_key: str
    group_key: str
    source_state: str = ""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """What mapping suggests for a term.

    Attributes:
        revision: counts the results for the term, from 1.
        mapped: candidates with evidence, and map's decision.
        changed_at: when another candidate became the first; None if none did.
    """

    revision: int
    mapped: MappedTerm
    changed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ReadingReport:
    """What was read of a project's file.

    Attributes:
        terms: how many, once all have been read; None before.
        problems: the first rows that are no terms, and values that were not used, as "line 7: …".
        problem_count: how many there are in all.
        notes: how the file was read, for people.
        failure: why reading or mapping stopped; "" if it did not.
    """

    terms: int | None = None
    problems: Sequence[str] = ()
    problem_count: int = 0
    notes: Sequence[str] = ()
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Project:
    """A file under review.

    Attributes:
        site: whose memory and ranker are used.
        settings: how the file was read, and whatever else was chosen when the project began.
        provenance: what the first suggestions were made with; empty before there are any.
        read_at: when all terms had been read; None before.
        ready_at: when all terms had been mapped; None before.
        reading: what was read, see ReadingReport.
        terms: how many there are so far.
    """

    project_id: int
    name: str
    site: str
    file_name: str
    file_digest: str
    settings: Mapping[str, object]
    provenance: Mapping[str, object]
    created_by: str
    created_at: datetime
    read_at: datetime | None
    ready_at: datetime | None
    reading: ReadingReport
    terms: int


@dataclass(frozen=True, kw_only=True)
class CurrentTerm:
    """A term's row in the queue: its latest state, and the first candidate.

    Attributes:
        version: of the latest decision, 0 for none.
        reviewer, decided_at, action: of that decision; None for none.
        assigned_to: who is to review it, "" for anybody.
        revision: of the suggestion; 0 if there is none yet.
        concept_id, concept_name, concept_domain: the first candidate; 0 and "" for none.
        flags: kinds of difference between the first candidate and the term, such as "laterality".
        is_changed: whether another candidate has become the first since the project began.
    """

    position: int
    source_code: str
    source_name: str
    frequency: int | None
    version: int
    verdict: Verdict
    reviewer: str | None
    decided_at: datetime | None
    action: Action | None
    assigned_to: str
    source_state: str
    revision: int
    concept_id: int
    concept_name: str
    concept_domain: str
    flags: tuple[str, ...]
    probability: float | None
    priority: float
    is_changed: bool
    group_key: str
