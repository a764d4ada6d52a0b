"""Previous file: what a person approved in an earlier file, checked against the present vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from omop_emb.mapping.approvals.approved_file import read_approved
from omop_emb.mapping.approvals.reuse import CheckedMappings, check_previous
from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns


def read_previous(
    connection: psycopg.Connection[Any],
    path: Path | None,
    columns: ApprovedColumns,
    on_message: Callable[[str], None],
) -> CheckedMappings | None:
    """The checked mappings of a file; None without one. `on_message` gets what was read."""
    if path is None:
        return None
    file = read_approved(path, columns)
    for problem in file.problems:
        on_message(f"{path}, {problem}; skipped")
    checked = check_previous(connection, file.by_key)
    outdated = sum(1 for _ in checked.outdated_rows())
    on_message(f"{file.note}; {outdated:,} of their targets are outdated")
    return checked
