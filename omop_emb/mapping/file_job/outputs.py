"""Job outputs: every file and table that a mapped file is written to, all of them or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import InputError
from omop_emb.mapping.approvals.reuse import OUTDATED_COLUMNS, CheckedMappings
from omop_emb.mapping.file_job import map_table, run_store
from omop_emb.mapping.files import source_to_concept_map
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.disk_buffer import DiskBuffer
from omop_emb.mapping.files.result_rows import candidate_columns, candidate_rows, term_columns, term_row
from omop_emb.mapping.files.review_queue import write_review_queue
from omop_emb.mapping.files.source_to_concept_map import MapRow, MapRowBuilder, MapSettings
from omop_emb.mapping.files.table_writer import write_table
from omop_emb.mapping.files.usagi_writer import UsagiWriter, write_usagi
from omop_emb.mapping.records import MappedTerm, Provenance
from omop_emb.records import Concept
from omop_emb.vocabulary import reader

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from omop_emb.mapping.files.term_file import TermFile

_USAGI_SUFFIX = ".usagi.csv"


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is written.

    Attributes:
        output: Usagi's CSV if it ends in .usagi.csv, or in .csv and the input is Usagi's; else a table with
            one row per term: .tsv, .parquet or CSV; "-" is stdout.
        candidate_table: all candidates with their scores, one per row.
        review_queue: what a person must look at, the most valuable first.
        map_file: source_to_concept_map; needs `map_settings`.
        map_schema: schema whose table source_to_concept_map is filled; needs `map_settings`.
        map_settings: what all rows of source_to_concept_map have in common.
        outdated: targets of earlier approvals that are no longer valid, with their replacements.
        keep_run: whether every candidate is stored in the database too.
    """

    output: str | Path
    candidate_table: Path | None = None
    review_queue: Path | None = None
    map_file: Path | None = None
    map_schema: str | None = None
    map_settings: MapSettings | None = None
    outdated: Path | None = None
    keep_run: bool = False

    def check(self, file: TermFile) -> None:
        """Refuse outputs that would overwrite each other or the input; Usagi's input may be replaced.

        Raises:
            InputError: two outputs are the same file, or one is the input.
        """
        files = [self.output, self.candidate_table, self.review_queue, self.map_file, self.outdated]
        paths = [Path(path).resolve() for path in files if path is not None and str(path) != "-"]
        if len(set(paths)) < len(paths):
            raise InputError("two outputs have the same name; give each its own file")
        source = Path(file.source.name).resolve()
        if source in paths and not (file.usagi is not None and source == Path(self.output).resolve()):
            raise InputError(f"{file.source.name} is the input; give the output another name")

    def is_for_usagi(self, file: TermFile) -> bool:
        """Whether the output is Usagi's CSV."""
        name = str(self.output).lower()
        return name.endswith(_USAGI_SUFFIX) or (
            file.usagi is not None and (name.endswith(".csv") or name == "-")
        )


@contextmanager
def open_outputs(
    engine: Engine, outputs: Outputs, file: TermFile, previous: CheckedMappings | None
) -> Iterator[OutputWriter]:
    """A writer to all outputs; the files appear when the block ends without an error."""
    with ExitStack() as stack:
        yield OutputWriter(engine, outputs, file, previous, stack)


class OutputWriter:
    """Writes mapped terms to all outputs; finish() writes what goes into the database.

    Attributes:
        replaced_rows: rows of the database's source_to_concept_map that were replaced; None if not written.
        run_id: of the run in the database; None if not stored.
    """

    def __init__(
        self,
        engine: Engine,
        outputs: Outputs,
        file: TermFile,
        previous: CheckedMappings | None,
        stack: ExitStack,
    ) -> None:
        self.replaced_rows: int | None = None
        self.run_id: int | None = None
        self._engine, self._outputs, self._file, self._previous = engine, outputs, file, previous
        self._term_count = 0
        self._usagi: UsagiWriter | None = None
        self._writers: list[Callable[[MappedTerm], object]] = []
        self._map_writers: list[Callable[[MapRow], object]] = []
        self._map_buffer: DiskBuffer[MapRow] | None = None
        self._run_buffer: DiskBuffer[run_store.ResultRow] | None = None
        extras, opened = file.extra_headers, stack.enter_context
        if outputs.is_for_usagi(file):
            self._usagi = opened(
                write_usagi(outputs.output, original=file.usagi, extra_headers=extras, previous=previous)
            )
            self._writers.append(self._usagi.write)
        else:
            write_term = opened(write_table(outputs.output, term_columns(extras)))
            self._writers.append(lambda mapped: write_term(term_row(mapped)))
        if outputs.candidate_table is not None:
            write_candidate = opened(write_table(outputs.candidate_table, candidate_columns(extras)))
            self._writers.append(lambda mapped: [write_candidate(row) for row in candidate_rows(mapped)])
        if outputs.review_queue is not None:
            self._writers.append(opened(write_review_queue(outputs.review_queue, extra_headers=extras)))
        self._map_rows = MapRowBuilder(outputs.map_settings, self._concepts) if outputs.map_settings else None
        if outputs.map_file is not None:
            write_map_row = opened(write_table(outputs.map_file, source_to_concept_map.COLUMNS))
            self._map_writers.append(lambda row: write_map_row(row.as_dict()))
        if outputs.map_schema is not None:
            self._map_buffer = opened(DiskBuffer[MapRow]())
            self._map_writers.append(self._map_buffer.append)
        if outputs.keep_run:
            self._run_buffer = opened(DiskBuffer[run_store.ResultRow]())

    def write(self, mapped: MappedTerm) -> None:
        """Add a term to every output."""
        for write in self._writers:
            write(mapped)
        if self._map_rows is not None:
            self._write_map_rows(self._map_rows.rows_of_term(mapped))
        if self._run_buffer is not None:
            for row in run_store.result_rows(self._term_count, mapped):
                self._run_buffer.append(row)
        self._term_count += 1

    def finish(self, *, site: str, input_name: str, provenance: Provenance) -> None:
        """Write what no term of the run brings: approvals in Usagi's file, outdated targets, the database."""
        if self._map_rows is not None and self._file.usagi is not None:
            for mapping in self._file.usagi.mappings():
                if not mapping.problem and mapping.status == "APPROVED":
                    self._write_map_rows(self._map_rows.rows_of_usagi(mapping))
        if self._outputs.outdated is not None:
            with write_table(self._outputs.outdated, OUTDATED_COLUMNS) as write_row:
                for row in self._previous.outdated_rows() if self._previous is not None else ():
                    write_row(row)
        if self._map_buffer is None and self._run_buffer is None:
            return
        with session_scope(self._engine) as session:
            connection = driver_connection(session)
            if self._map_buffer is not None and self._outputs.map_schema is not None:
                schema = self._outputs.map_schema
                written = map_table.write_map_rows(connection, self._map_buffer, schema=schema)
                self.replaced_rows = written.replaced
            if self._run_buffer is not None:
                self.run_id = run_store.store_run(
                    connection,
                    site=site,
                    input_name=input_name,
                    provenance=provenance,
                    rows=self._run_buffer,
                )

    @property
    def problems(self) -> list[Problem]:
        """Rows that an output could not take."""
        return [
            *(self._usagi.problems if self._usagi is not None else ()),
            *(self._map_rows.problems if self._map_rows is not None else ()),
        ]

    @property
    def unreviewed(self) -> int:
        """Terms that are not in source_to_concept_map because nobody has reviewed them."""
        return self._map_rows.unreviewed if self._map_rows is not None else 0

    @property
    def omitted_values(self) -> int:
        """Values, units … beside mappings, for which source_to_concept_map has no column."""
        return self._map_rows.values if self._map_rows is not None else 0

    def _write_map_rows(self, rows: Iterable[MapRow]) -> None:
        for row in rows:
            for write in self._map_writers:
                write(row)

    def _concepts(self, concept_ids: Iterable[int]) -> Mapping[int, Concept]:
        with session_scope(self._engine) as session:
            return reader.concepts_by_id(driver_connection(session), list(concept_ids))
