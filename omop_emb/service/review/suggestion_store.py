"""Suggestion store: what mapping suggests for the terms of a review, and the queue that follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg.rows import dict_row, tuple_row

from omop_emb.mapping.files.result_json import from_json, to_json
from omop_emb.mapping.records import MappedTerm
from omop_emb.service.review.decision_records import (
    Action,
)
from omop_emb.service.review.decision_store import verdict_of
from omop_emb.service.review.project_records import (
    CurrentTerm,
    Suggestion,
)
from omop_emb.sql import read


def store_suggestions(
    connection: psycopg.Connection[Any], project_id: int, results: Iterable[tuple[int, MappedTerm]]
) -> int:
    """Store results by position; one that replaces another raises its revision. The caller commits.

    Returns how many terms have another first candidate than before. A result that is equal to what is there
    changes nothing.
    """
    changed = 0
    cursor = connection.cursor(row_factory=tuple_row)
    for position, mapped in results:
        best = mapped.best
        row = cursor.execute(
            read("review_store_suggestion"),
            {
                "project": project_id,
                "position": position,
                "result": to_json(mapped).replace("\\u0000", ""),
                "concept": best.concept_id if best else 0,
                "name": best.concept_name if best else "",
                "domain": best.domain_id if best else "",
                "flags": list(flag_kinds(best.flags)) if best else [],
                "probability": mapped.probability,
                "priority": mapped.priority,
            },
        ).fetchone()
        changed += bool(row and row[0])
    return changed


def flag_kinds(flags: Iterable[str]) -> tuple[str, ...]:
    """What flags are about, each once: "laterality" of "laterality: left in the term, not the concept"."""
    return tuple(dict.fromkeys(flag.partition(":")[0] for flag in flags))


def read_suggestions(
    connection: psycopg.Connection[Any], project_id: int, positions: Iterable[int]
) -> dict[int, Suggestion]:
    """The latest suggestions by position, of those terms that have been mapped."""
    rows = connection.cursor(row_factory=tuple_row).execute(
        "select position, revision, result, changed_at from omop_emb.review_suggestion "
        "where project_id = %s and position = any(%s)",
        (project_id, list(positions)),
    )
    return {
        position: Suggestion(revision=revision, mapped=from_json(result), changed_at=changed_at)
        for position, revision, result, changed_at in rows
    }


def current_terms(
    connection: psycopg.Connection[Any], project_id: int, positions: Iterable[int] | None = None
) -> list[CurrentTerm]:
    """The latest state of a project's terms by position, or of all, in the order of the file."""
    wanted = None if positions is None else list(positions)
    rows = connection.cursor(row_factory=dict_row).execute(
        read("review_current_terms"), {"project": project_id, "positions": wanted}
    )
    return [_current_term(row) for row in rows]


def _current_term(row: dict[str, Any]) -> CurrentTerm:
    verdict = verdict_of(row)
    names = ("state", "targets", "mapping_types", "equivalence", "comment")
    values = {name: value for name, value in row.items() if name not in names}
    action = None if row["action"] is None else Action(row["action"])
    return CurrentTerm(**{**values, "flags": tuple(row["flags"]), "verdict": verdict, "action": action})
