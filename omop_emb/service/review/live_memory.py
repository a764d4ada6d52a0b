"""Live memory: a site remembers what its reviews approve, and forgets what they take back.

The memory follows the decisions: it can be made from them again at any time, and twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from omop_emb.mapping.approvals.approval_store import Approval, remember_approvals, withdraw_these
from omop_emb.service.review.decision_store import settled_decisions
from omop_emb.service.review.project_records import Project
from omop_emb.sql import read


@dataclass(frozen=True, kw_only=True)
class MemoryChanges:
    """What a site remembers or has forgotten now.

    Attributes:
        remembered, withdrawn: names, each with a concept.
        settled: id of a decision of the project up to which all are committed and were looked at; 0 for none.
    """

    remembered: Sequence[Approval]
    withdrawn: Sequence[Approval]
    settled: int

    @property
    def names(self) -> list[str]:
        """The source names concerned, each once."""
        return list(dict.fromkeys(one.source_name for one in (*self.remembered, *self.withdrawn)))


def sync_memory(connection: psycopg.Connection[Any], project: Project, *, after: int = 0) -> MemoryChanges:
    """Bring the memory of a project's site up to date with its decisions after one; the caller commits.

    What it says is settled is what to ask with the next time.
    A name is remembered while any review of the site has approved it. What came with a file, and not from a
    review, is left alone, and so is what a deleted review approved.
    """
    settled, _ = settled_decisions(connection, project.project_id, after=after)
    rows = (
        connection.cursor(row_factory=dict_row)
        .execute(
            read("review_memory_changes"),
            {"project": project.project_id, "site": project.site, "after": after},
        )
        .fetchall()
    )
    wanted: list[Approval] = []
    unwanted: list[Approval] = []
    for row in rows:
        (wanted if row.pop("is_wanted") else unwanted).append(Approval(**row))
    withdraw_these(connection, project.site, unwanted)
    for approval in wanted:
        remember_approvals(connection, project.site, [approval], approval.approved_from)
    return MemoryChanges(remembered=wanted, withdrawn=unwanted, settled=settled)
