"""Vote differences: terms on which a second vote and the decision differ, and whether that is settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from omop_emb.service.review.agreement import choice
from omop_emb.service.review.decision_records import Action, ReviewState, Verdict
from omop_emb.service.review.decision_store import verdict_of
from omop_emb.sql import read


@dataclass(frozen=True, kw_only=True)
class VotedTerm:
    """A term of a sample that has a second vote.

    Attributes:
        domain: of its decision when it was drawn.
        first, first_reviewer: the decision when it was drawn.
        second, second_reviewer, voted_at: the vote.
        version, current, decided_by: the decision now.
        action: how the decision now came about.
        decided_at: when.
        is_redecided: whether it was decided again since it was drawn.
    """

    sample_id: int
    position: int
    source_code: str
    source_name: str
    domain: str
    first: Verdict
    first_reviewer: str
    second: Verdict
    second_reviewer: str
    vote_id: int
    voted_at: datetime
    version: int
    current: Verdict
    decided_by: str
    action: Action
    decided_at: datetime
    is_redecided: bool

    @property
    def is_undecided(self) -> bool:
        """Whether the second person could not tell."""
        return self.second.state is ReviewState.FLAGGED

    @property
    def agrees(self) -> bool:
        """Whether the second person says what was decided when it was drawn."""
        return choice(self.first) == choice(self.second)

    @property
    def is_settled(self) -> bool:
        """Whether both agree, or the term was adjudicated since, or decided as the second person says."""
        if self.agrees:
            return True
        is_adjudicated = self.action is Action.ADJUDICATE and self.decided_at > self.voted_at
        return self.is_redecided and (is_adjudicated or choice(self.current) == choice(self.second))


def voted_terms(
    connection: psycopg.Connection[Any],
    project_id: int,
    sample_id: int | None = None,
    positions: list[int] | None = None,
) -> list[VotedTerm]:
    """The terms of a sample, or of all of a project's, that have a second vote, in the order of the file."""
    rows = connection.cursor(row_factory=dict_row).execute(
        read("review_voted_terms"), {"project": project_id, "sample": sample_id, "positions": positions}
    )
    return [_voted_term(row) for row in rows]


def differences(
    connection: psycopg.Connection[Any], project_id: int, sample_id: int | None = None
) -> list[VotedTerm]:
    """Those voted_terms() on which the second vote differs from the decision, settled or not."""
    return [one for one in voted_terms(connection, project_id, sample_id) if not one.agrees]


def _voted_term(row: Mapping[str, Any]) -> VotedTerm:
    verdicts = {
        name: verdict_of(
            {
                part: row[f"{name}_{part}"]
                for part in ("state", "targets", "mapping_types", "equivalence", "comment")
            }
        )
        for name in ("first", "second", "current")
    }
    plain = VotedTerm.__dataclass_fields__.keys() - verdicts.keys()
    return VotedTerm(**{name: row[name] for name in plain} | verdicts | {"action": Action(row["action"])})
