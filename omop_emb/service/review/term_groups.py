"""Term groups: terms of a review that are decided together, each of which can be taken out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

import psycopg
from psycopg.rows import class_row, tuple_row
from psycopg.types.json import Jsonb

from omop_emb.errors import InputError
from omop_emb.service.review.decision_records import (
    Action,
    DecisionResult,
    NewDecision,
    Verdict,
    reviewer_name,
)
from omop_emb.service.review.decision_store import decide
from omop_emb.service.review.project_records import CurrentTerm, Suggestion
from omop_emb.service.review.suggestion_store import current_terms, read_suggestions
from omop_emb.sql import read

MAX_MEMBERS = 1_000
"""The most terms that one request decides."""


@dataclass(frozen=True, kw_only=True)
class TermGroup:
    """Terms that are the same but for case, punctuation and plural, in the same domain and context.

    Attributes:
        members: their latest states, in the order of the file; those that are decided are shown with them.
    """

    group_key: str
    members: Sequence[CurrentTerm]

    @property
    def open_members(self) -> list[CurrentTerm]:
        """Those that nobody has settled."""
        return [member for member in self.members if not member.verdict.state.is_decided]


@dataclass(frozen=True, kw_only=True)
class GroupSummary:
    """A group in the list of groups.

    Attributes:
        position: of its first open member, by which group_of() finds it.
        name: that member's.
        open_terms, terms: how many nobody has settled, and all.
        frequency: of the open ones together.
    """

    group_key: str
    position: int
    name: str
    open_terms: int
    terms: int
    frequency: int
    concept_id: int
    concept_name: str
    probability: float | None


def group_of(connection: psycopg.Connection[Any], project_id: int, position: int) -> TermGroup:
    """The group of a term, which may be the term alone.

    Raises:
        InputError: the review has no such term.
    """
    rows = (
        connection.cursor(row_factory=tuple_row)
        .execute(
            "select member.position, member.group_key from omop_emb.review_term as term "
            "inner join omop_emb.review_term as member "
            "on member.project_id = term.project_id and member.group_key = term.group_key "
            "where term.project_id = %s and term.position = %s order by member.position limit %s",
            (project_id, position, MAX_MEMBERS),
        )
        .fetchall()
    )
    if not rows:
        raise InputError(f"the review has no term at position {position}")
    members = current_terms(connection, project_id, [one for one, _ in rows])
    return TermGroup(group_key=rows[0][1], members=members)


def largest_groups(
    connection: psycopg.Connection[Any], project_id: int, *, limit: int = 50, offset: int = 0
) -> list[GroupSummary]:
    """Groups with at least two open terms: those with the most first, then the most frequent."""
    cursor = connection.cursor(row_factory=class_row(GroupSummary))
    return cursor.execute(
        read("review_largest_groups"), {"project": project_id, "limit": limit, "offset": offset}
    ).fetchall()


def decide_group(
    connection: psycopg.Connection[Any],
    project_id: int,
    reviewer: str,
    members: Iterable[tuple[int, int]],
    verdict: Verdict,
    request_id: UUID,
) -> list[DecisionResult]:
    """One verdict on several terms, as one batch that one undoing takes back; the caller commits.

    A member that somebody has decided since is left, and its result is a conflict. A request that comes
    again gives the decisions that it made the first time.

    Members are positions with the versions that the person saw. The request id becomes the batch's, and those
    of the decisions follow from it.

    Raises:
        InputError: there is no member, more than MAX_MEMBERS, one twice, or one that the review lacks.
    """
    versions = _checked(members)
    name = reviewer_name(reviewer)
    begin_batch(connection, project_id, name, request_id, "group", {"terms": len(versions)})
    suggestions = read_suggestions(connection, project_id, versions)
    # By position, as two batches that lock the same terms in different orders would wait for each other.
    new = [
        _new_decision(position, version, verdict, suggestions.get(position), request_id)
        for position, version in sorted(versions.items())
    ]
    results = decide(connection, project_id, reviewer, new, action=Action.GROUP, batch_id=request_id)
    if all(result.is_conflict for result in results):
        connection.execute("delete from omop_emb.review_batch where batch_id = %s", (request_id,))
    return results


def rank_of(verdict: Verdict, suggestion: Suggestion | None) -> int | None:
    """The rank of the candidate that a verdict chooses; None if it chooses none, or several."""
    chosen = [target.concept_id for target in verdict.targets if target.is_mapping]
    if suggestion is None or len(chosen) != 1:
        return None
    ranks = (one.rank for one in suggestion.mapped.candidates if one.concept_id == chosen[0])
    return next(ranks, None)


def _checked(members: Iterable[tuple[int, int]]) -> dict[int, int]:
    listed = list(members)
    versions = dict(listed)
    if not listed or len(listed) > MAX_MEMBERS:
        raise InputError(f"a group has 1 to {MAX_MEMBERS:,} terms; found {len(listed):,}")
    if len(versions) < len(listed):
        raise InputError("a term is in the group twice")
    return versions


def begin_batch(
    connection: psycopg.Connection[Any],
    project_id: int,
    reviewer: str,
    request_id: UUID,
    kind: str,
    details: Mapping[str, object],
) -> None:
    """Store a batch unless the same request did so before; InputError if it was another one."""
    connection.execute(
        "insert into omop_emb.review_batch (batch_id, project_id, kind, reviewer, details) "
        "values (%s, %s, %s, %s, %s) on conflict do nothing",
        (request_id, project_id, kind, reviewer, Jsonb(dict(details))),
    )
    found = connection.execute(
        "select from omop_emb.review_batch where batch_id = %s and project_id = %s and kind = %s",
        (request_id, project_id, kind),
    )
    if found.fetchone() is None:
        raise InputError("the request id was used for other terms: make a new one for each request")


def _new_decision(
    position: int, version: int, verdict: Verdict, suggestion: Suggestion | None, request_id: UUID
) -> NewDecision:
    return NewDecision(
        position=position,
        version=version,
        verdict=verdict,
        request_id=uuid5(request_id, str(position)),
        revision=suggestion.revision if suggestion is not None else None,
        rank=rank_of(verdict, suggestion),
    )
