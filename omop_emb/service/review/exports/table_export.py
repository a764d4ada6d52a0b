"""Table export: every term of a review with its decision and candidates, as CSV, TSV, Parquet or Excel."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import InputError
from omop_emb.mapping.files.excel_writer import SheetLayout
from omop_emb.mapping.files.table_writer import write_table
from omop_emb.service.review.exports.export_format import ExportOption, ExportReport
from omop_emb.service.review.exports.exported_terms import exported_terms
from omop_emb.service.review.exports.review_columns import (
    CHOICE,
    COMMENT,
    CONCEPT_IDS,
    CONCEPT_NAMES,
    DECISION,
    DECISION_WORDS,
    EQUIVALENCE,
    EQUIVALENCE_WORDS,
    MOST_CANDIDATES,
    NAME,
    POSITION,
    VERSION,
    candidate_column,
    review_columns,
    review_row,
)
from omop_emb.service.review.exports.stored_file import source_headers, stored_file, stored_table
from omop_emb.service.review.exports.target_concepts import TargetConcepts
from omop_emb.service.review.project_store import find_project

if TYPE_CHECKING:
    from sqlalchemy import Engine

MEDIA_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".tsv": "text/tab-separated-values; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
FORMAT_NAMES = {".csv": "CSV", ".tsv": "TSV", ".parquet": "Parquet", ".xlsx": "Excel"}
_WIDTHS = {
    POSITION: 8, NAME: 40, DECISION: 12, CHOICE: 8, CONCEPT_IDS: 14, CONCEPT_NAMES: 30, EQUIVALENCE: 22,
    COMMENT: 30,
}  # fmt: skip
_FROZEN = 3  # position, code and name


class TableExport:
    """A table that people can fill and that can be read back; one with all terms."""

    def __init__(self, suffix: str) -> None:
        """`suffix`: one of MEDIA_TYPES."""
        self.suffix = suffix
        self.name = suffix[1:]
        self.label = f"{FORMAT_NAMES[suffix]} with the candidates, to fill and read back"
        self.media_type = MEDIA_TYPES[suffix]
        self.options: Sequence[ExportOption] = (
            ExportOption(
                name="candidates", label=f"Candidates of each term, up to {MOST_CANDIDATES}", default="5"
            ),
        )

    def write(
        self, engine: Engine, project_id: int, options: Mapping[str, str], out: BinaryIO
    ) -> ExportReport:
        """Write the review; see Export.write()."""
        candidates = _candidate_count(options["candidates"])
        rows = 0
        with session_scope(engine) as session:
            connection = driver_connection(session)
            project = find_project(connection, project_id)
            with stored_file(connection, project) as source:
                headers = source_headers(connection, project_id, stored_table(source, project.settings))
            concepts = TargetConcepts(connection)
            with write_table(
                Path(tempfile.gettempdir()) / f"review{self.suffix}",
                review_columns(headers, candidates),
                for_people=True,
                open_file=lambda _: nullcontext(out),
                layout=_layout(project.terms, candidates),
            ) as write_row:
                for batch in exported_terms(connection, project_id):
                    concepts.load(batch)
                    for term in batch:
                        write_row(review_row(term, concepts, candidates))
                        rows += 1
        return ExportReport(rows=rows)


def _candidate_count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_CANDIDATES:
        raise InputError(f"candidates is a number from 1 to {MOST_CANDIDATES}; found {text[:20]!r}")
    return int(text)


def _layout(rows: int, candidates: int) -> SheetLayout:
    numbers = range(1, candidates + 1)
    return SheetLayout(
        rows=rows,
        frozen=_FROZEN,
        widths={**_WIDTHS, **{candidate_column(number): 38 for number in numbers}},
        choices={
            DECISION: [words for words in DECISION_WORDS.values() if words],
            CHOICE: [*map(str, numbers)],
            EQUIVALENCE: EQUIVALENCE_WORDS,
        },
        hidden=frozenset({VERSION}),
    )
