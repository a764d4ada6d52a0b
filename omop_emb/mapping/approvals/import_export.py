"""Files of approved mappings into a site's memory, and out of it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from omop_emb.database.migrations import migrate
from omop_emb.mapping.approvals import approval_store
from omop_emb.mapping.approvals.reuse import read_approved
from omop_emb.mapping.files.delimited import Problem
from omop_emb.vocabulary import reader

_MEANS = "MAPS_TO"


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """What became of a file of approvals.

    Attributes:
        file: its name.
        approvals: mappings of a name to a concept in it.
        added: of them new, or back after they were withdrawn.
        lost: targets that the vocabulary does not have any more.
        problems: rows that make no sense.
    """

    file: str
    approvals: int
    added: int
    lost: int
    problems: list[Problem]


def remember_file(connection: psycopg.Connection[Any], site: str, path: str | Path) -> Remembered:
    """Remember a file's approved mappings for a site; the caller's transaction is used, never committed.

    Taken are names with the concepts that they mean: neither values and units that belong to a mapping,
    nor what was approved as without a match.

    Raises:
        InputError: it is neither a file that Usagi saved nor a source_to_concept_map.
    """
    migrate(connection)
    approved, problems = read_approved(path)
    found = [
        approval_store.Approval(source_name=name, concept_id=target.concept_id, source_code=code)
        for (code, name), mapping in approved.items()
        for target in mapping.targets
        if target.mapping_type == _MEANS and name.strip()
    ]
    known: object = ()
    if reader.vocabulary_tables(connection) is not None:
        known = reader.concepts_by_id(connection, sorted({one.concept_id for one in found}))
    return Remembered(
        file=Path(path).name,
        approvals=len(found),
        added=approval_store.remember(connection, site, found, Path(path).name),
        lost=sum(one.concept_id not in known for one in found) if isinstance(known, dict) else 0,
        problems=problems,
    )


def forget_approvals(
    connection: psycopg.Connection[Any],
    site: str,
    *,
    source_name: str | None = None,
    approved_from: str | None = None,
) -> int:
    """Withdraw a site's approvals: all, those of a name, those of a file. Returns how many."""
    migrate(connection)
    return approval_store.withdraw(connection, site, source_name=source_name, approved_from=approved_from)


def list_approvals(connection: psycopg.Connection[Any], site: str) -> list[dict[str, Any]]:
    """A site's approvals as rows, with their concepts' names, in the order in which they came."""
    migrate(connection)
    found = approval_store.approvals(connection, site)
    ids = sorted({one.concept_id for one in found})
    known = reader.concepts_by_id(connection, ids) if reader.vocabulary_tables(connection) is not None else {}
    return [
        {
            "source_code": one.source_code,
            "source_name": one.source_name,
            "concept_id": one.concept_id,
            "concept_name": known[one.concept_id].concept_name if one.concept_id in known else None,
            "approved_from": one.approved_from,
            "approved_at": None if one.approved_at is None else one.approved_at.isoformat(timespec="seconds"),
        }
        for one in found
    ]
