"""Usagi export: a review as a file for Usagi, the one that it came from with its decisions, or a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.service.review.exports.export_format import ExportOption, ExportReport
from omop_emb.service.review.exports.exported_terms import exported_terms
from omop_emb.service.review.exports.left_out import LeftOutCounts
from omop_emb.service.review.exports.new_usagi_file import NewUsagiFile
from omop_emb.service.review.exports.stored_file import as_usagi, source_headers, stored_file, stored_table
from omop_emb.service.review.exports.target_concepts import TargetConcepts
from omop_emb.service.review.exports.usagi_original import UsagiOriginal
from omop_emb.service.review.project_store import find_project

if TYPE_CHECKING:
    from sqlalchemy import Engine


class UsagiExport:
    """A file that Usagi opens; one that came from Usagi keeps what nobody changed, byte for byte."""

    name = "usagi"
    label = "Usagi"
    suffix = ".usagi.csv"
    media_type = "text/csv; charset=utf-8"
    options: Sequence[ExportOption] = ()

    def write(
        self, engine: Engine, project_id: int, options: Mapping[str, str], out: BinaryIO
    ) -> ExportReport:
        """Write the review; see Export.write()."""
        left_out = LeftOutCounts()
        with session_scope(engine) as session:
            connection = driver_connection(session)
            project = find_project(connection, project_id)
            concepts = TargetConcepts(connection)
            with stored_file(connection, project) as source:
                table = stored_table(source, project.settings)
                original = as_usagi(table)
                writer: UsagiOriginal | NewUsagiFile
                if original is not None:
                    writer = UsagiOriginal(original, table, out, concepts, left_out)
                else:
                    made_on = round((project.ready_at or project.created_at).timestamp() * 1000)
                    headers = source_headers(connection, project_id, table)
                    writer = NewUsagiFile(headers, made_on, out, concepts, left_out)
                for batch in exported_terms(connection, project_id, has_suggestions=original is None):
                    concepts.load(batch)
                    for term in batch:
                        writer.write(term)
                writer.finish()
        return ExportReport(rows=writer.rows, left_out=left_out.as_tuple, notes=tuple(writer.notes))
