"""Answer records: what a row of a file says, and what became of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from omop_emb.mapping.files.delimited import Problem
from omop_emb.service.review.decision_records import StoredDecision, Verdict

_LISTED = 1_000  # problems and conflicts that are named; all are counted


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What somebody changed in a row.

    Attributes:
        line: of the row in the file.
        position: of the term.
        version: of the term when the file was written.
        verdict: what the row says now.
        reviewer: who decided it, as the file says; "" for who reads it back.
        rank: of the candidate that was chosen; None if it was not suggested, or there are several.
    """

    line: int
    position: int
    version: int
    verdict: Verdict
    reviewer: str = ""
    rank: int | None = None


@dataclass(frozen=True, kw_only=True)
class AnswerConflict:
    """A row that was not stored, as somebody has decided its term since the file was written.

    Attributes:
        line: of the row in the file.
        said: what the file says.
        current: the decision that stands; None if there is none.
    """

    line: int
    position: int
    source_code: str
    source_name: str
    said: Verdict
    current: StoredDecision | None


@dataclass(frozen=True, kw_only=True)
class ReadBackReport:
    """What became of a file that was read back.

    Attributes:
        rows: read, without a header; of Usagi's file source codes.
        decided: rows that became decisions.
        unchanged: rows that say what they said when the file was written, or what has been decided since.
        repeated: rows that were read back before.
        conflicts: the first rows that were not stored; nothing of them is lost, decide them in the review.
        conflict_count: how many there are in all.
        problems: the first rows that could not be used, and why.
        problem_count: how many there are in all.
        notes: for people.
    """

    rows: int
    decided: int
    unchanged: int
    repeated: int
    conflicts: Sequence[AnswerConflict] = ()
    conflict_count: int = 0
    problems: Sequence[Problem] = ()
    problem_count: int = 0
    notes: Sequence[str] = ()


@dataclass
class Tally:
    """Counts rows while they are read back."""

    rows: int = 0
    decided: int = 0
    unchanged: int = 0
    repeated: int = 0
    conflict_count: int = 0
    problem_count: int = 0
    conflicts: list[AnswerConflict] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def problem(self, line: int, reason: str) -> None:
        """Count a row that cannot be used."""
        self.problem_count += 1
        if len(self.problems) < _LISTED:
            self.problems.append(Problem(line, reason))

    def report(self, problem: Problem) -> None:
        """problem() for readers of files; the row counts as read."""
        self.rows += 1
        self.problem(problem.line, problem.reason)

    def conflict(self, conflict: AnswerConflict) -> None:
        """Count a row whose term has changed since."""
        self.conflict_count += 1
        if len(self.conflicts) < _LISTED:
            self.conflicts.append(conflict)

    def as_report(self) -> ReadBackReport:
        """All that was counted."""
        return ReadBackReport(
            rows=self.rows,
            decided=self.decided,
            unchanged=self.unchanged,
            repeated=self.repeated,
            conflicts=tuple(self.conflicts),
            conflict_count=self.conflict_count,
            problems=tuple(sorted(self.problems, key=lambda one: one.line)),
            problem_count=self.problem_count,
            notes=tuple(self.notes),
        )
