"""Conflict dismissals: who has looked at a conflict and called it right, when and why; only ever added."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row, dict_row

from omop_emb.errors import InputError
from omop_emb.service.review.conflict_records import ConflictKind, Dismissal
from omop_emb.service.review.decision_records import reviewer_name

_LONGEST_REASON = 1_000
_KEY_LENGTH = 32


def dismissals(connection: psycopg.Connection[Any], project_id: int) -> dict[str, Dismissal]:
    """Key of a conflict -> who called it right, where nobody has taken that back."""
    rows = connection.cursor(row_factory=dict_row).execute(
        "select distinct on (conflict) conflict, is_right, reviewer, reason, decided_at "
        "from omop_emb.review_dismissal where project_id = %s order by conflict, dismissal_id desc",
        (project_id,),
    )
    return {
        row["conflict"]: Dismissal(
            reviewer=row["reviewer"], reason=row["reason"], decided_at=row["decided_at"]
        )
        for row in rows
        if row["is_right"]
    }


def call_right(
    connection: psycopg.Connection[Any],
    project_id: int,
    reviewer: str,
    *,
    key: str,
    kind: ConflictKind,
    request_id: UUID,
    reason: str = "",
    is_right: bool = True,
) -> Dismissal:
    """Dismiss a conflict as intended; is_right=False takes the dismissal back.

    The caller commits. A request that comes again gives what it stored the first time.

    Raises:
        InputError: no conflict has such a key, or the reason is too long.
    """
    if len(key) != _KEY_LENGTH or not all(sign in "0123456789abcdef" for sign in key):
        raise InputError(f"a conflict's key has {_KEY_LENGTH} hexadecimal digits")
    if len(reason) > _LONGEST_REASON or "\0" in reason:
        raise InputError(f"a reason has at most {_LONGEST_REASON:,} characters, and no NUL")
    connection.execute(
        "insert into omop_emb.review_dismissal "
        "(project_id, request_id, conflict, kind, is_right, reason, reviewer) "
        "values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
        (project_id, request_id, key, kind.value, is_right, reason.strip(), reviewer_name(reviewer)),
    )
    stored = (
        connection.cursor(row_factory=class_row(Dismissal))
        .execute(
            "select reviewer, reason, decided_at from omop_emb.review_dismissal "
            "where request_id = %s and project_id = %s and conflict = %s",
            (request_id, project_id, key),
        )
        .fetchone()
    )
    if stored is None:
        raise InputError("the request id was used for another conflict: make a new one for each")
    return stored
