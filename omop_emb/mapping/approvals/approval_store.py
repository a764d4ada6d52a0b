"""Approval store: the mappings that a site approved, remembered in the database until they are withdrawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import class_row, tuple_row

from omop_emb.database.migrations import migrate
from omop_emb.mapping.approvals.approved_file import ApprovedFile
from omop_emb.mapping.files.problem_list import ProblemList
from omop_emb.records import Concept
from omop_emb.vocabulary import reader


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A source term that a person mapped to a standard concept."""

    source_name: str
    concept_id: int
    source_code: str = ""
    source_vocabulary: str = ""
    approved_from: str = ""  # the file that it came with; set, like the next, in what is read back
    approved_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """What remembering a file did."""

    file: str
    approvals: int  # mappings of a name to a concept in it
    added: int  # of these, mappings that are new, or back after they were withdrawn
    unknown: int  # targets that the vocabulary does not have; 0 without a vocabulary
    not_standard: int  # targets that are not standard concepts: map offers what they map to
    problems: ProblemList  # rows that could not be used: the first, and how many
    note: str  # what says that they are approved


def remember_file(
    connection: psycopg.Connection[Any], site: str, path: str | Path, file: ApprovedFile
) -> Remembered:
    """Remember for a site what read_approved() found in a file; the caller commits.

    Names with the concepts that they mean are remembered, not the values and units that belong to a
    mapping, nor terms approved as "no match".
    """
    migrate(connection)
    approvals = [
        Approval(source_name=mapping.term.name, concept_id=target.concept_id, source_code=mapping.term.code)
        for mapping in file.approved
        for target in mapping.targets
        if target.is_mapping and mapping.term.name.strip()
    ]
    concepts = _concepts(connection, approvals)
    return Remembered(
        file=Path(path).name,
        approvals=len(approvals),
        added=remember_approvals(connection, site, approvals, Path(path).name),
        unknown=sum(one.concept_id not in concepts for one in approvals) if concepts is not None else 0,
        not_standard=sum(
            one.concept_id in concepts and concepts[one.concept_id].standard_concept != "S"
            for one in approvals
        )
        if concepts is not None
        else 0,
        problems=file.problems,
        note=file.note,
    )


def remember_approvals(
    connection: psycopg.Connection[Any], site: str, approvals: Iterable[Approval], approved_from: str
) -> int:
    """Store approvals for a site; one that was withdrawn comes back. Returns how many are new or back."""
    cursor = connection.cursor()
    changed = 0
    for approval in approvals:
        cursor.execute(
            "insert into omop_emb.mapping_memory "
            "(site, source_code, source_name, source_vocabulary, concept_id, approved_from) "
            "values (%(site)s, %(source_code)s, %(source_name)s, %(source_vocabulary)s, %(concept_id)s, "
            "%(approved_from)s) "
            "on conflict (site, source_code, source_name, concept_id) do update "
            "set withdrawn_at = null, approved_from = excluded.approved_from, approved_at = now() "
            "where mapping_memory.withdrawn_at is not null",
            {**asdict(approval), "site": site, "approved_from": approved_from},
        )
        changed += cursor.rowcount
    return changed


def withdraw_approvals(
    connection: psycopg.Connection[Any],
    site: str,
    *,
    source_name: str | None = None,
    approved_from: str | None = None,
) -> list[tuple[str, str]]:
    """Withdraw a site's approvals: all, those of a name, or those that came with a file.

    Case does not matter in the name. Returns code and name of each that was withdrawn.
    """
    migrate(connection)
    cursor = connection.cursor(row_factory=tuple_row).execute(
        "update omop_emb.mapping_memory set withdrawn_at = now() "
        "where site = %(site)s and withdrawn_at is null "
        "and (%(name)s::text is null or lower(trim(source_name)) = lower(trim(%(name)s))) "
        "and (%(file)s::text is null or approved_from = %(file)s) returning source_code, source_name",
        {"site": site, "name": source_name, "file": approved_from},
    )
    return cursor.fetchall()


def withdraw_these(connection: psycopg.Connection[Any], site: str, approvals: Iterable[Approval]) -> int:
    """Withdraw single approvals of a site, each of a name with its code for a concept; returns how many."""
    cursor = connection.cursor()
    withdrawn = 0
    for approval in approvals:
        cursor.execute(
            "update omop_emb.mapping_memory set withdrawn_at = now() "
            "where site = %(site)s and source_code = %(source_code)s and source_name = %(source_name)s "
            "and concept_id = %(concept_id)s and withdrawn_at is null",
            {**asdict(approval), "site": site},
        )
        withdrawn += cursor.rowcount
    return withdrawn


def stored_approvals(connection: psycopg.Connection[Any], site: str) -> list[Approval]:
    """A site's approvals that are not withdrawn, oldest first."""
    rows = connection.cursor(row_factory=class_row(Approval)).execute(
        "select source_name, concept_id, source_code, source_vocabulary, approved_from, approved_at "
        "from omop_emb.mapping_memory "
        "where site = %(site)s and withdrawn_at is null order by memory_id",
        {"site": site},
    )
    return rows.fetchall()


def list_approvals(connection: psycopg.Connection[Any], site: str) -> list[dict[str, Any]]:
    """A site's approvals as rows with the names of their concepts, oldest first."""
    migrate(connection)
    approvals = stored_approvals(connection, site)
    concepts = _concepts(connection, approvals) or {}
    return [
        {
            "source_code": one.source_code,
            "source_name": one.source_name,
            "concept_id": one.concept_id,
            "concept_name": concepts[one.concept_id].concept_name if one.concept_id in concepts else None,
            "approved_from": one.approved_from,
            "approved_at": None if one.approved_at is None else one.approved_at.isoformat(timespec="seconds"),
        }
        for one in approvals
    ]


def _concepts(
    connection: psycopg.Connection[Any], approvals: Iterable[Approval]
) -> dict[int, Concept] | None:
    """The approvals' concepts by id, as far as the vocabulary has them; None without a vocabulary."""
    if reader.vocabulary_tables(connection) is None:
        return None
    return reader.concepts_by_id(connection, sorted({approval.concept_id for approval in approvals}))
