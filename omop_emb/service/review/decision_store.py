"""Decision store: what people decided, only ever added; the latest decision of a term is its state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row, tuple_row

from omop_emb.errors import InputError
from omop_emb.service.review.decision_records import (
    Action,
    DecisionResult,
    Equivalence,
    NewDecision,
    ReviewState,
    StoredDecision,
    Target,
    Verdict,
    reviewer_name,
)
from omop_emb.sql import read

_COLUMNS = (
    "select decision_id, project_id, position, version, request_id, reviewer, decided_at, action, state, "
    "targets, mapping_types, equivalence, comment, revision, rank, probability, ranker, batch_id, undoes "
    "from omop_emb.review_decision "
)


def decide(
    connection: psycopg.Connection[Any],
    project_id: int,
    reviewer: str,
    decisions: Iterable[NewDecision],
    *,
    action: Action = Action.DECIDE,
    batch_id: UUID | None = None,
) -> list[DecisionResult]:
    """Store decisions, each if nobody has decided its term since; the caller commits.

    A request that comes again gives the decision that it made the first time. One that is not stored costs
    no other.

    Raises:
        InputError: the project has no such term, or a request id was used for another term.
    """
    name, news = reviewer_name(reviewer), list(decisions)
    # In one order, so that two who decide the same terms at once cannot deadlock.
    numbers = sorted(range(len(news)), key=lambda number: news[number].position)
    stored = {
        number: _decide(connection, project_id, name, news[number], action, batch_id, None)
        for number in numbers
    }
    return [stored[number] for number in range(len(news))]


def undo(
    connection: psycopg.Connection[Any], project_id: int, reviewer: str, *, request_id: UUID | None = None
) -> list[DecisionResult]:
    """Take back the reviewer's latest decision, or batch of decisions, by adding the earlier state.

    A term that somebody else has decided since is left, and its result is a conflict. Returns nothing if
    there is nothing to take back. A request that comes again changes nothing more.
    """
    name, request_id = reviewer_name(reviewer), request_id or uuid4()
    repeated = _by_request(connection, request_id)
    if repeated is not None:
        return [DecisionResult(new=_repeat(repeated), stored=repeated, current=repeated)]
    cursor = connection.cursor(row_factory=dict_row)
    rows = cursor.execute(read("review_last_undoable"), {"project": project_id, "reviewer": name}).fetchall()
    results: list[DecisionResult] = []
    for row in rows:
        before = _of_version(connection, project_id, row["position"], row["version"] - 1)
        new = NewDecision(
            position=row["position"],
            version=row["current_version"],
            verdict=before.verdict if before is not None else Verdict(state=ReviewState.UNREVIEWED),
            request_id=uuid4() if any(one.stored for one in results) else request_id,
            revision=before.revision if before is not None else None,
            rank=before.rank if before is not None else None,
        )
        if row["is_superseded"]:
            current = _of_version(connection, project_id, row["position"], row["current_version"])
            results.append(DecisionResult(new=new, stored=None, current=current))
        else:
            undone, batch_id = row["decision_id"], row["batch_id"]
            results.append(_decide(connection, project_id, name, new, Action.UNDO, batch_id, undone))
    return results


def history(connection: psycopg.Connection[Any], project_id: int, position: int) -> list[StoredDecision]:
    """All decisions on a term, the first first."""
    return _fetch_all(
        connection,
        _COLUMNS + "where project_id = %(project)s and position = %(position)s order by version",
        {"project": project_id, "position": position},
    )


def histories(
    connection: psycopg.Connection[Any], project_id: int, positions: Iterable[int]
) -> dict[int, list[StoredDecision]]:
    """All decisions on terms by position, the first first, of those that have been decided."""
    found: dict[int, list[StoredDecision]] = {}
    for decision in _fetch_all(
        connection,
        _COLUMNS
        + "where project_id = %(project)s and position = any(%(positions)s) order by position, version",
        {"project": project_id, "positions": list(positions)},
    ):
        found.setdefault(decision.position, []).append(decision)
    return found


def decisions_since(
    connection: psycopg.Connection[Any], project_id: int, decision_id: int, limit: int = 1_000
) -> list[StoredDecision]:
    """Decisions of a project after one, in the order in which they were stored."""
    return _fetch_all(
        connection,
        _COLUMNS
        + "where project_id = %(project)s and decision_id > %(after)s order by decision_id limit %(limit)s",
        {"project": project_id, "after": decision_id, "limit": limit},
    )


def settled_decisions(
    connection: psycopg.Connection[Any],
    project_id: int,
    *,
    after: int = 0,
    since: datetime | None = None,
) -> tuple[int, datetime]:
    """The decision, by its id, and the time up to which all of a project are committed.

    A decision may be committed after one with a higher id. Who reads on from here misses none: whatever this
    connection does not see in its next statement comes later. Neither is less than `after` and `since`.

    Args:
        connection: in a transaction, in which each statement sees what was committed before it.
        project_id: of the project.
        after: an id from an earlier call; 0 for none.
        since: a time from an earlier call.
    """
    parameters = {"project": project_id, "after": after}
    row = connection.cursor(row_factory=tuple_row).execute(read("review_settled"), parameters).fetchone()
    assert row is not None  # noqa: S101 - one row always
    settled_id, settled_at = row
    return settled_id or after, max(settled_at, since or settled_at)


def decisions_of_batch(
    connection: psycopg.Connection[Any], project_id: int, batch_id: UUID
) -> list[StoredDecision]:
    """The decisions that were made at once, by position; without what took them back."""
    return _fetch_all(
        connection,
        _COLUMNS
        + "where project_id = %(project)s and batch_id = %(batch)s and action <> 'undo' order by position",
        {"project": project_id, "batch": batch_id},
    )


def verdict_of(row: Mapping[str, Any]) -> Verdict:
    """The verdict in a row of review_decision or review_current."""
    targets = zip(row["targets"], row["mapping_types"], strict=True)
    return Verdict(
        state=ReviewState(row["state"]),
        targets=tuple(Target(concept_id, mapping_type) for concept_id, mapping_type in targets),
        equivalence=Equivalence(row["equivalence"]),
        comment=row["comment"],
    )


def _decide(
    connection: psycopg.Connection[Any],
    project_id: int,
    reviewer: str,
    new: NewDecision,
    action: Action,
    batch_id: UUID | None,
    undoes: int | None,
) -> DecisionResult:
    verdict = new.verdict
    row = (
        connection.cursor(row_factory=tuple_row)
        .execute(
            read("review_decide"),
            {
                "project": project_id,
                "position": new.position,
                "version": new.version,
                "request_id": new.request_id,
                "reviewer": reviewer,
                "action": action.value,
                "state": verdict.state.value,
                "targets": [target.concept_id for target in verdict.targets],
                "mapping_types": [target.mapping_type for target in verdict.targets],
                "equivalence": verdict.equivalence.value,
                "comment": verdict.comment,
                "revision": new.revision,
                "rank": new.rank,
                "batch_id": batch_id,
                "undoes": undoes,
            },
        )
        .fetchone()
    )
    stored = _by_request(connection, new.request_id)
    if row is None and stored is None:
        current = history(connection, project_id, new.position)
        if not current and not _has_term(connection, project_id, new.position):
            raise InputError(f"the review has no term at position {new.position}")
        return DecisionResult(new=new, stored=None, current=current[-1] if current else None)
    if stored is None or (stored.project_id, stored.position) != (project_id, new.position):
        raise InputError("the request id was used for another term: make a new one for each decision")
    return DecisionResult(new=new, stored=stored, current=stored)


def _repeat(stored: StoredDecision) -> NewDecision:
    return NewDecision(
        position=stored.position,
        version=stored.version - 1,
        verdict=stored.verdict,
        request_id=stored.request_id,
        revision=stored.revision,
        rank=stored.rank,
    )


def _has_term(connection: psycopg.Connection[Any], project_id: int, position: int) -> bool:
    found = connection.execute(
        "select from omop_emb.review_term where project_id = %s and position = %s", (project_id, position)
    )
    return found.fetchone() is not None


def _by_request(connection: psycopg.Connection[Any], request_id: UUID) -> StoredDecision | None:
    found = _fetch_all(connection, _COLUMNS + "where request_id = %(request_id)s", {"request_id": request_id})
    return found[0] if found else None


def _of_version(
    connection: psycopg.Connection[Any], project_id: int, position: int, version: int
) -> StoredDecision | None:
    found = _fetch_all(
        connection,
        _COLUMNS + "where project_id = %(project)s and position = %(position)s and version = %(version)s",
        {"project": project_id, "position": position, "version": version},
    )
    return found[0] if found else None


def _fetch_all(
    connection: psycopg.Connection[Any], query: str, parameters: Mapping[str, Any]
) -> list[StoredDecision]:
    rows: Sequence[dict[str, Any]] = (
        connection.cursor(row_factory=dict_row).execute(query, parameters).fetchall()
    )
    names = ("state", "targets", "mapping_types", "equivalence", "comment")
    return [
        StoredDecision(
            **{name: value for name, value in row.items() if name not in names}
            | {"action": Action(row["action"]), "verdict": verdict_of(row)}
        )
        for row in rows
    ]
