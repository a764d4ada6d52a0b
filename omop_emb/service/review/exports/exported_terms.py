"""Exported terms: all that an export says about the terms of a review, read in the order of the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import psycopg
from psycopg.rows import dict_row

from omop_emb.mapping.files.result_json import from_json
from omop_emb.mapping.records import Candidate, MappedTerm, SourceTerm
from omop_emb.service.review.decision_records import Action, ReviewState, Verdict
from omop_emb.service.review.decision_store import verdict_of
from omop_emb.service.review.project_store import source_term
from omop_emb.sql import read

_ROWS = 500  # that are in memory at once


@dataclass(frozen=True, kw_only=True)
class ExportedTerm:
    """A term with its latest decision and suggestion.

    Attributes:
        position: in the file, from 1.
        line: of its first row in the file.
        source_state: as the file says it, such as AUTO_MAPPED_TO_1; "" for none.
        version: of the latest decision, 0 for none.
        reviewer, decided_at, action: of that decision; None for none.
        assigned_to: who is to review it, "" for anybody.
        was_imported: whether its first decision came with a file.
    """

    position: int
    line: int
    term: SourceTerm
    source_state: str
    version: int
    verdict: Verdict
    reviewer: str | None
    decided_at: datetime | None
    action: Action | None
    assigned_to: str
    was_imported: bool
    result: str | None

    @property
    def state(self) -> ReviewState:
        """What was decided."""
        return self.verdict.state

    @cached_property
    def mapped(self) -> MappedTerm | None:
        """What mapping suggests; None for a term that is not mapped yet."""
        return None if self.result is None else from_json(self.result)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The suggested concepts, best first."""
        return self.mapped.candidates if self.mapped is not None else ()

    @property
    def probability(self) -> float | None:
        """That the first candidate is right."""
        return self.mapped.probability if self.mapped is not None else None

    @property
    def decided_ms(self) -> int:
        """When it was decided, in milliseconds since 1970; 0 for never."""
        return 0 if self.decided_at is None else round(self.decided_at.timestamp() * 1000)

    @property
    def example(self) -> str:
        """Its code or line, to name it in a report."""
        return self.term.code or f"line {self.line}"


def exported_terms(
    connection: psycopg.Connection[Any], project_id: int, *, has_suggestions: bool = True
) -> Iterator[list[ExportedTerm]]:
    """The terms of a project in the order of the file, some hundred at a time, all as of one moment.

    Without suggestions, which are most of what there is to read, terms have no candidates.
    """
    with connection.cursor(name="review_export", row_factory=dict_row) as cursor:
        cursor.itersize = _ROWS
        cursor.execute(read("review_export_terms"), {"project": project_id, "suggestions": has_suggestions})
        while rows := cursor.fetchmany(_ROWS):
            yield [_exported_term(row) for row in rows]


def _exported_term(row: dict[str, Any]) -> ExportedTerm:
    return ExportedTerm(
        position=row["position"],
        line=row["line"],
        term=source_term(row["term"]),
        source_state=row["source_state"],
        version=row["version"],
        verdict=verdict_of(row),
        reviewer=row["reviewer"],
        decided_at=row["decided_at"],
        action=None if row["action"] is None else Action(row["action"]),
        assigned_to=row["assigned_to"],
        was_imported=row["was_imported"],
        result=row["result"],
    )
