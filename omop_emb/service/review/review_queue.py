"""Review queue: which terms of a project wait, in which order, and how far the review has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import psycopg
from psycopg.rows import tuple_row

from omop_emb.errors import InputError
from omop_emb.service.review.decision_records import ReviewState
from omop_emb.sql import read


class QueueOrder(Enum):
    """In which order terms are reviewed."""

    PRIORITY = "priority"
    GROUP = "group"
    FILE = "file"


@dataclass(frozen=True, kw_only=True)
class QueueFilter:
    """Which terms are in a queue; a term must pass all that is given.

    Attributes:
        states: what was decided; empty for whatever.
        domains: of the first candidate.
        min_probability, max_probability: of the first candidate; a term without probability passes neither.
        flags: of these kinds the first candidate has one, such as "laterality".
        reviewer: who decided last.
        assigned: who is to review it.
        text: is part of name, code, or the first candidate's name; case does not matter.
        is_changed: another candidate has become the first since the project began.
        same_as: position of a term; only those that may be decided together with it.

    Raises:
        InputError: the probabilities leave nothing.
    """

    states: tuple[ReviewState, ...] = ()
    domains: tuple[str, ...] = ()
    min_probability: float | None = None
    max_probability: float | None = None
    flags: tuple[str, ...] = ()
    reviewer: str | None = None
    assigned: str | None = None
    text: str = ""
    is_changed: bool = False
    same_as: int | None = None

    def __post_init__(self) -> None:
        least, most = self.min_probability, self.max_probability
        if least is not None and most is not None and least > most:
            raise InputError(f"the least probability {least:g} is above the greatest {most:g}")


@dataclass(frozen=True, kw_only=True)
class ReviewProgress:
    """How far a review has come.

    Attributes:
        counts: of terms by state; every state is there.
        decided: terms that a person has settled.
    """

    counts: Mapping[ReviewState, int]
    total: int
    decided: int


def queue_positions(
    connection: psycopg.Connection[Any],
    project_id: int,
    *,
    order: QueueOrder = QueueOrder.PRIORITY,
    queue_filter: QueueFilter | None = None,
) -> list[int]:
    """Positions of the terms that pass a filter, in the order in which they are to be reviewed.

    By priority, terms whose frequency times uncertainty is largest are first. By group, terms with the same
    text stand together, the group of the largest priority first.
    """
    wanted = queue_filter or QueueFilter()
    row = (
        connection.cursor(row_factory=tuple_row)
        .execute(
            read("review_queue"),
            {
                "project": project_id,
                "order": order.value,
                "states": [state.value for state in wanted.states] or None,
                "domains": list(wanted.domains) or None,
                "min_probability": _as_stored(wanted.min_probability),
                "max_probability": _as_stored(wanted.max_probability),
                "flags": list(wanted.flags) or None,
                "reviewer": wanted.reviewer,
                "assigned": wanted.assigned,
                "text": wanted.text.strip() or None,
                "is_changed": wanted.is_changed,
                "same_as": wanted.same_as,
            },
        )
        .fetchone()
    )
    # One text: a hundred thousand numbers arrive many times as fast as in so many rows.
    return [int(position) for position in row[0].split(",")] if row and row[0] else []


def _as_stored(probability: float | None) -> float | None:
    """Rounded to single precision, as stored: the server refuses a smaller number than that can hold."""
    return None if probability is None else float(np.float32(probability))


def review_progress(connection: psycopg.Connection[Any], project_id: int) -> ReviewProgress:
    """Terms of a project by state."""
    rows = connection.cursor(row_factory=tuple_row).execute(read("review_progress"), {"project": project_id})
    counts = dict.fromkeys(ReviewState, 0) | {ReviewState(state): count for state, count in rows}
    return ReviewProgress(
        counts=counts,
        total=sum(counts.values()),
        decided=sum(count for state, count in counts.items() if state.is_decided),
    )


def queue_choices(connection: psycopg.Connection[Any], project_id: int) -> dict[str, list[str]]:
    """What a filter may name in a project: "domains", "flags", "reviewers", "assigned", each sorted."""
    cursor = connection.cursor(row_factory=tuple_row)
    rows = cursor.execute(read("review_queue_choices"), {"project": project_id}).fetchall()
    return {kind: sorted(filter(None, values or ())) for kind, values in rows}
