"""Map export: what was approved in a review as source_to_concept_map of CDM 5.4, in a file or a schema."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import psycopg

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import InputError
from omop_emb.mapping.file_job.map_table import OWN_SCHEMA, write_map_rows
from omop_emb.mapping.files.disk_buffer import DiskBuffer
from omop_emb.mapping.files.source_to_concept_map import (
    COLUMNS,
    FIRST_DAY,
    LAST_DAY,
    MapKey,
    MapRow,
    MapRowBuilder,
    MapSettings,
)
from omop_emb.mapping.files.table_writer import write_table
from omop_emb.records import counted
from omop_emb.service.review.decision_records import ReviewState
from omop_emb.service.review.exports.export_format import ExportOption, ExportReport
from omop_emb.service.review.exports.exported_terms import ExportedTerm, exported_terms
from omop_emb.service.review.exports.left_out import LeftOutCounts
from omop_emb.service.review.exports.table_export import FORMAT_NAMES, MEDIA_TYPES
from omop_emb.service.review.exports.target_concepts import TargetValidity
from omop_emb.service.review.project_store import find_project

if TYPE_CHECKING:
    from sqlalchemy import Engine

_NOT_DECIDED = {
    ReviewState.UNREVIEWED: "not reviewed",
    ReviewState.FLAGGED: "flagged",
    ReviewState.IGNORED: "ignored",
}
MAP_OPTIONS = (
    ExportOption(
        name="source_vocabulary_id",
        label="Your own name for the codes (source_vocabulary_id), at most 20 characters",
        is_required=True,
    ),
    ExportOption(name="valid_start_date", label="Valid from", default=FIRST_DAY.isoformat()),
    ExportOption(name="valid_end_date", label="Valid until", default=LAST_DAY.isoformat()),
    ExportOption(
        name="key",
        label="What source_code is: the code, or code and name",
        default="code",
        choices=("code", "code+name"),
    ),
)


class MapExport:
    """source_to_concept_map as a file: approved terms, and those without a match with concept 0."""

    options: Sequence[ExportOption] = MAP_OPTIONS

    def __init__(self, suffix: str) -> None:
        """`suffix`: one of MEDIA_TYPES."""
        self.suffix = suffix
        self.name = "source-to-concept-map" + ("" if suffix == ".csv" else f"-{suffix[1:]}")
        self.label = f"source_to_concept_map, {FORMAT_NAMES[suffix]}"
        self.media_type = MEDIA_TYPES[suffix]

    def write(
        self, engine: Engine, project_id: int, options: Mapping[str, str], out: BinaryIO
    ) -> ExportReport:
        """Write the review; see Export.write()."""
        settings = map_settings(options)
        with session_scope(engine) as session:
            with _map_rows(driver_connection(session), project_id, settings) as made:
                path = Path(tempfile.gettempdir()) / f"source_to_concept_map{self.suffix}"
                with write_table(path, COLUMNS, open_file=lambda _: nullcontext(out)) as write_row:
                    for row in made.rows:
                        write_row(row.as_dict())
                return made.report()


def fill_map_table(
    engine: Engine, project: int | str, options: Mapping[str, str], *, schema: str = OWN_SCHEMA
) -> ExportReport:
    """Write what was approved straight into a schema's table source_to_concept_map.

    Earlier rows of the same vocabulary and code are replaced; all is written, or nothing.

    Args:
        engine: of the database; this function commits.
        project: id or name of the review.
        options: a value for each of MAP_OPTIONS.
        schema: of the CDM; omop-emb's own table is created if needed.

    Raises:
        InputError: an option has a value that cannot be used.
        DatabaseError: there is no such table, or it rejects a row.
    """
    settings = map_settings(options)
    with session_scope(engine) as session:
        connection = driver_connection(session)
        project_id = find_project(connection, project).project_id
        with _map_rows(connection, project_id, settings) as made, DiskBuffer[MapRow]() as rows:
            for row in made.rows:
                rows.append(row)
            counts = write_map_rows(connection, rows, schema=schema)
            replaced = counted(counts.replaced, "earlier row")
            return made.report(f"{replaced} of the same codes replaced in {schema}.source_to_concept_map")


def map_settings(options: Mapping[str, str]) -> MapSettings:
    """The options as settings.

    Raises:
        InputError: one has a value that cannot be used.
    """
    key: MapKey = "code+name" if options["key"] == "code+name" else "code"
    return MapSettings(
        source_vocabulary_id=options["source_vocabulary_id"],
        valid_start_date=_date("valid_start_date", options),
        valid_end_date=_date("valid_end_date", options),
        key=key,
    )


def _date(name: str, options: Mapping[str, str]) -> datetime.date:
    try:
        return datetime.date.fromisoformat(options[name])
    except ValueError:
        raise InputError(f"{name} is a day such as 2026-01-31; found {options[name][:20]!r}") from None


@contextmanager
def _map_rows(
    connection: psycopg.Connection[Any], project_id: int, settings: MapSettings
) -> Iterator[_MapRows]:
    find_project(connection, project_id)  # raises if there is none
    validity = TargetValidity(connection)
    with MapRowBuilder(settings, validity.concepts, validity) as builder:
        made = _MapRows(builder, validity)
        for batch in exported_terms(connection, project_id, has_suggestions=False):
            validity.load(target.concept_id for term in batch for target in term.verdict.targets)
            for term in batch:
                made.add(term)
        yield made


@dataclass
class _MapRows:
    """The rows of a review's terms, and why others have none."""

    builder: MapRowBuilder
    validity: TargetValidity
    left_out: LeftOutCounts = field(default_factory=LeftOutCounts)
    written: int = 0
    _terms: dict[str, int] = field(default_factory=dict)  # source code -> terms that have rows

    def add(self, term: ExportedTerm) -> None:
        """Add a term, or count why it gives no row."""
        code, name = term.term.code.strip(), term.term.name
        if term.state is ReviewState.IGNORED:
            self.left_out.add(_NOT_DECIDED[term.state], term.example)
        elif term.state in _NOT_DECIDED:
            self.builder.add_undecided(code, name)
            self.left_out.add(_NOT_DECIDED[term.state], term.example)
        else:
            self._add_approved(term, code, name)

    def _add_approved(self, term: ExportedTerm, code: str, name: str) -> None:
        targets = [target.concept_id for target in term.verdict.targets if target.is_mapping]
        values = len(term.verdict.targets) - len(targets)
        refused = self.builder.add_approved(
            term.line,
            code,
            name,
            targets,
            values=values,
            vocabularies=self.validity.vocabularies(targets),
        )
        if values and not targets:
            self.left_out.add("only values, units …, for which the table has no column", term.example)
        elif refused:
            reason, _, detail = refused.partition(": ")
            is_outdated = bool(detail)
            self.left_out.add(
                "a target is no valid standard concept now" if is_outdated else reason,
                f"{term.example}: {detail}" if is_outdated else term.example,
            )
        else:
            key = self.builder.source_key(code, name)
            self._terms[key] = self._terms.get(key, 0) + 1

    @property
    def rows(self) -> Iterator[MapRow]:
        """The rows; can be read once."""
        for row in self.builder.rows():
            self.written += 1
            yield row

    def report(self, *notes: str) -> ExportReport:
        """What was written, once all rows have been read."""
        builder = self.builder
        for key in sorted(builder.conflicting_keys):
            for _ in range(self._terms.pop(key, 0)):
                reason = "another term with its code has other targets, or is not decided"
                self.left_out.add(reason, key)
        further = list(notes)
        if shared := sum(self._terms.values()) - len(self._terms):
            further.append(f"{counted(shared, 'term')} with the code and targets of another share its rows")
        if builder.replaced:
            further.append(
                f"{counted(builder.replaced, 'term')} got what replaces a target that is not valid now"
            )
        if builder.values:
            further.append(
                f"{counted(builder.values, 'value, unit …', 'values, units …')} have no column here"
            )
        if builder.cut:
            further.append(f"{counted(builder.cut, 'name')} longer than 255 characters cut")
        if builder.only_case:
            listed = ", ".join(builder.only_case[:5])
            further.append(f"codes that differ in case alone, which many databases ignore: {listed}")
        return ExportReport(rows=self.written, left_out=self.left_out.as_tuple, notes=tuple(further))
