"""Written file: a review exported to a file of the user's, complete or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import InputError
from omop_emb.safe_files.atomic_file import atomic_write, check_folder_of
from omop_emb.service.review.exports.export_format import Export, ExportReport
from omop_emb.service.review.exports.export_registry import EXPORTS, find_export, parse_options
from omop_emb.service.review.project_store import find_project

if TYPE_CHECKING:
    from sqlalchemy import Engine


def export_file(
    engine: Engine,
    review: int | str,
    path: str | Path,
    *,
    format_name: str = "",
    options: Mapping[str, str] | None = None,
) -> ExportReport:
    """Write a review as it is now.

    Args:
        engine: of the database.
        review: its id or name.
        path: the file, or "-" for stdout.
        format_name: of an Export; "" takes the one whose ending the path has.
        options: of that format.

    Raises:
        InputError: there is no such review, format or option, or the file cannot be written.
    """
    with session_scope(engine) as session:
        project_id = find_project(driver_connection(session), review).project_id
    export = find_export(format_name) if format_name else _by_ending(str(path))
    values = parse_options(export, options or {})
    if str(path) != "-":
        check_folder_of(path)
    # Workbooks need a file in which they can go back, which stdout is not.
    with tempfile.TemporaryFile(prefix="omop-emb-") as made:
        report = export.write(engine, project_id, values, made)
        made.flush()
        made.seek(0)
        with atomic_write(path) as handle:
            shutil.copyfileobj(made, handle)
    return report


def _by_ending(path: str) -> Export:
    """The format with the longest ending that a path has; of several the one named so."""
    found = [export for export in EXPORTS if path.lower().endswith(export.suffix)]
    if not found:
        names = ", ".join(export.name for export in EXPORTS)
        raise InputError(f"the ending of {path} names no format: give --format, one of {names}")
    return max(found, key=lambda export: (len(export.suffix), export.name == export.suffix[1:]))
