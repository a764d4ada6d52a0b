"""Review overviews: how far the import of each review is, and the people with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from omop_emb.service.review.imports.import_job import ImportProgress, import_progress
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.project_store import has_review_tables, list_projects
from omop_emb.sql import read


@dataclass(frozen=True, kw_only=True)
class ProjectOverview:
    """A review in the list of all.

    Attributes:
        progress: of its import.
        decided: terms that a person has settled.
        flagged: terms that wait for somebody.
        reviewers: who made the latest decision of a term, by name.
        last_decided_at: when the latest decision was made; None for none.
    """

    project: Project
    progress: ImportProgress
    decided: int = 0
    flagged: int = 0
    reviewers: Sequence[str] = ()
    last_decided_at: datetime | None = None


def project_overviews(connection: psycopg.Connection[Any]) -> list[ProjectOverview]:
    """All reviews, the latest first."""
    if not has_review_tables(connection):
        return []
    found = _people(connection, None)
    return [_overview(connection, project, found) for project in list_projects(connection)]


def project_overview(connection: psycopg.Connection[Any], project: Project) -> ProjectOverview:
    """One review."""
    return _overview(connection, project, _people(connection, project.project_id))


def _people(connection: psycopg.Connection[Any], project_id: int | None) -> dict[int, dict[str, Any]]:
    cursor = connection.cursor(row_factory=dict_row)
    rows = cursor.execute(read("review_overview"), {"project": project_id}).fetchall()
    return {row.pop("project_id"): row for row in rows}


def _overview(
    connection: psycopg.Connection[Any], project: Project, people: dict[int, dict[str, Any]]
) -> ProjectOverview:
    return ProjectOverview(
        project=project,
        progress=import_progress(connection, project),
        **people.get(project.project_id, {}),
    )
