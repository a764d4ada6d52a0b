"""Review changes: what has happened in a project since somebody last asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from omop_emb.service.review.decision_records import StoredDecision
from omop_emb.service.review.decision_store import decisions_since, settled_decisions
from omop_emb.service.review.review_queue import ReviewProgress, review_progress
from omop_emb.sql import read

_MOST = 1_000  # decisions, and revised suggestions, of an answer


@dataclass(frozen=True, kw_only=True)
class RevisedSuggestion:
    """A term for which another candidate has become the first."""

    position: int
    revision: int


@dataclass(frozen=True, kw_only=True)
class ReviewChanges:
    """What has happened in a project.

    Attributes:
        decisions: oldest first.
        revised: terms with another first candidate.
        after, since: what to ask with the next time; what was committed while another transaction wrote comes
            again, as that one may add something before it.
        has_more: whether to ask again at once.
        progress: None if nothing was decided.
    """

    decisions: tuple[StoredDecision, ...]
    revised: tuple[RevisedSuggestion, ...]
    after: int
    since: datetime
    has_more: bool
    progress: ReviewProgress | None


def review_changes(
    connection: psycopg.Connection[Any], project_id: int, *, after: int = 0, since: datetime | None = None
) -> ReviewChanges:
    """Decisions after one, by its id, and suggestions revised since a time.

    Args:
        connection: in a transaction that has just begun.
        project_id: of the project.
        after: a decision's id, 0 for all; from the last answer.
        since: from the last answer; None for no suggestions.
    """
    settled, settled_at = settled_decisions(connection, project_id, after=after, since=since)
    decisions = decisions_since(connection, project_id, after, _MOST)
    cursor = connection.cursor(row_factory=tuple_row)
    parameters = {"project": project_id, "since": since, "limit": _MOST}
    rows = cursor.execute(read("review_revised"), parameters).fetchall() if since is not None else []
    is_full = len(decisions) == _MOST
    next_after = min(settled, decisions[-1].decision_id) if is_full else settled
    are_full = len(rows) == _MOST
    next_since = min(settled_at, rows[-1][2]) if are_full else settled_at
    return ReviewChanges(
        decisions=tuple(decisions),
        revised=tuple(RevisedSuggestion(position=row[0], revision=row[1]) for row in rows),
        after=next_after,
        since=next_since,
        # Nothing new would come at once while another transaction writes.
        has_more=(is_full and next_after > after) or (are_full and next_since != since),
        progress=review_progress(connection, project_id) if decisions else None,
    )
