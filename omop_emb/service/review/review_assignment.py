"""Review assignment: who is to decide which terms; only ever added, the latest counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from omop_emb.errors import InputError
from omop_emb.service.review.decision_records import ReviewState, reviewer_name
from omop_emb.sql import read

MOST_REVIEWERS = 100


@dataclass(frozen=True, kw_only=True)
class AssignmentFilter:
    """Which terms are assigned.

    Attributes:
        positions: only these; None for all.
        states: only terms in these states; empty for all.
        domain: only terms of this domain: the file's, or that of the first candidate; "" for all.
        text: only terms whose name or code contains it; "" for all.
        unassigned: only terms that nobody is to decide.
    """

    positions: tuple[int, ...] | None = None
    states: tuple[ReviewState, ...] = (ReviewState.UNREVIEWED,)
    domain: str = ""
    text: str = ""
    unassigned: bool = True


def assign(
    connection: psycopg.Connection[Any],
    project_id: int,
    assigned_by: str,
    reviewers: Sequence[str],
    which: AssignmentFilter | None = None,
) -> dict[str, int]:
    """Assign terms to people, divided equally in the order of the file; the caller commits.

    Each person gets terms that follow each other, so that what is alike is often decided by one.

    Returns how many terms each person got.

    Raises:
        InputError: nobody is named, or too many are.
    """
    names = reviewer_names(reviewers)
    positions = _positions(connection, project_id, which or AssignmentFilter())
    shares = _divided(positions, len(names))
    _store(
        connection,
        project_id,
        assigned_by,
        ((position, name) for name, share in zip(names, shares, strict=True) for position in share),
    )
    return {name: len(share) for name, share in zip(names, shares, strict=True)}


def unassign(
    connection: psycopg.Connection[Any],
    project_id: int,
    assigned_by: str,
    which: AssignmentFilter | None = None,
) -> int:
    """Take assignments back, so that terms are anybody's; returns of how many. The caller commits."""
    chosen = which or AssignmentFilter(unassigned=False)
    held = _assigned(connection, project_id)
    positions = [one for one in _positions(connection, project_id, chosen) if one in held]
    _store(connection, project_id, assigned_by, ((position, "") for position in positions))
    return len(positions)


def assigned_counts(connection: psycopg.Connection[Any], project_id: int) -> dict[str, tuple[int, int]]:
    """Person -> how many terms are assigned to them, and how many of those are not decided yet."""
    rows = connection.cursor(row_factory=tuple_row).execute(
        "select assigned_to, count(*), count(*) filter (where state in ('unreviewed', 'flagged')) "
        "from omop_emb.review_current where project_id = %s and assigned_to <> '' group by 1 order by 1",
        (project_id,),
    )
    return {name: (assigned, open_) for name, assigned, open_ in rows}


def reviewer_names(reviewers: Sequence[str]) -> list[str]:
    """Names, each alone or several with commas between them, each once.

    Raises:
        InputError: there is none, there are too many, or one cannot be a name.
    """
    listed = [part for entry in reviewers for part in entry.split(",") if part.strip()]
    names = list(dict.fromkeys(reviewer_name(part) for part in listed))
    if not 1 <= len(names) <= MOST_REVIEWERS:
        raise InputError(
            f"terms are assigned to 1 to {MOST_REVIEWERS} people, with commas between their names; "
            f"found {len(names)}"
        )
    return names


def _divided(positions: Sequence[int], parts: int) -> list[Sequence[int]]:
    """Consecutive parts whose lengths differ by one at most."""
    bounds = [len(positions) * number // parts for number in range(parts + 1)]
    return [positions[start:end] for start, end in pairwise(bounds)]


def _positions(connection: psycopg.Connection[Any], project_id: int, which: AssignmentFilter) -> list[int]:
    parameters: Mapping[str, object] = {
        "project": project_id,
        "positions": None if which.positions is None else list(which.positions),
        "states": [state.value for state in which.states],
        "domain": which.domain,
        "text": which.text.casefold(),
        "unassigned": which.unassigned,
    }
    rows = connection.cursor(row_factory=tuple_row).execute(read("review_terms_to_assign"), parameters)
    return [position for (position,) in rows]


def _assigned(connection: psycopg.Connection[Any], project_id: int) -> set[int]:
    rows = connection.cursor(row_factory=tuple_row).execute(
        "select position from omop_emb.review_current where project_id = %s and assigned_to <> ''",
        (project_id,),
    )
    return {position for (position,) in rows}


def _store(
    connection: psycopg.Connection[Any],
    project_id: int,
    assigned_by: str,
    assignments: Iterable[tuple[int, str]],
) -> None:
    by = reviewer_name(assigned_by)
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "copy omop_emb.review_assignment (project_id, position, reviewer, assigned_by) from stdin"
        ) as copy,
    ):
        for position, reviewer in assignments:
            copy.write_row((project_id, position, reviewer, by))
