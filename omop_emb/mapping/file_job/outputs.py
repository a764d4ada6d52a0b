"""Job outputs: every file and table that a mapped file is written to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import InputError
from omop_emb.mapping.approvals.reuse import OUTDATED_COLUMNS, CheckedMappings, outdated_rows
from omop_emb.mapping.file_job import map_table, run_store
from omop_emb.mapping.file_job.target_check import TargetCheck
from omop_emb.mapping.files import source_to_concept_map
from omop_emb.mapping.files.disk_buffer import DiskBuffer
from omop_emb.mapping.files.problem_list import ProblemList
from omop_emb.mapping.files.result_rows import candidate_columns, candidate_rows, term_columns, term_row
from omop_emb.mapping.files.review_queue import write_review_queue
from omop_emb.mapping.files.source_to_concept_map import MapRow, MapRowBuilder, MapSettings
from omop_emb.mapping.files.table_writer import Column, OpenFile, WriteRow, check_table_path, write_table
from omop_emb.mapping.files.usagi_writer import UsagiWriter, write_usagi
from omop_emb.mapping.records import Decision, MappedTerm
from omop_emb.records import Concept
from omop_emb.safe_files.atomic_file import AtomicFiles
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
            one row per term: .csv, .tsv, .xlsx or .parquet; "-" is stdout.
        candidate_table: all candidates with their scores, one per row.
        review_queue: what a person must look at, the most valuable first.
        map_file: source_to_concept_map; needs `map_settings`.
        map_schema: schema whose table source_to_concept_map is filled; needs `map_settings`.
        map_settings: what all rows of source_to_concept_map have in common.
        outdated: approved targets that are not valid standard concepts, with their replacements.
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

    def check_names(self) -> None:
        """Refuse names that cannot be written, before anything is read.

        Raises:
            InputError: a file has an unknown ending, or its folder does not exist.
            MissingExtraError: the library for its format is not installed.
        """
        for path in (self.output, self.candidate_table, self.review_queue, self.map_file, self.outdated):
            if path is not None:
                check_table_path(path)

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
    engine: Engine,
    outputs: Outputs,
    file: TermFile,
    *,
    previous: CheckedMappings | None,
    check: TargetCheck,
    origin: run_store.RunOrigin,
) -> Iterator[OutputWriter]:
    """A writer to all outputs, which appear when the block ends without an error.

    First every file is complete on disk under a temporary name, then the database's transaction is
    committed, then the files are renamed. An error before the commit leaves nothing. A kill between the
    commit and the last rename leaves the database written and some files old; the run's journal is still
    there, so the next run says so and writes all of them.
    """
    with AtomicFiles() as files, ExitStack() as buffers:
        with ExitStack() as stack:
            writer = OutputWriter(engine, outputs, file, previous, check, files.open, stack, buffers)
            yield writer
            writer.finish()
        writer.store(origin)
        files.publish()


class OutputWriter:
    """Writes mapped terms to all outputs, see open_outputs().

    Attributes:
        replaced_rows: rows of the database's source_to_concept_map that were replaced; None if not written.
        run_id: of the run in the database; None if not stored.
        outdated: how many terms have a target that is no valid standard concept.
        map_rows: what was left out of source_to_concept_map; None if it is not written.
    """

    def __init__(
        self,
        engine: Engine,
        outputs: Outputs,
        file: TermFile,
        previous: CheckedMappings | None,
        check: TargetCheck,
        open_file: OpenFile,
        stack: ExitStack,
        buffers: ExitStack,
    ) -> None:
        self.replaced_rows: int | None = None
        self.run_id: int | None = None
        self.outdated = 0
        self._engine, self._outputs, self._file, self._previous = engine, outputs, file, previous
        self._check = check
        self._term_count = 0
        self._usagi: UsagiWriter | None = None
        self._writers: list[Callable[[MappedTerm], object]] = []
        self._map_writers: list[Callable[[MapRow], object]] = []
        self._outdated_writers: list[WriteRow] = []
        self._map_buffer: DiskBuffer[MapRow] | None = None
        self._run_buffer: DiskBuffer[run_store.ResultRow] | None = None
        extras, opened = file.extra_headers, stack.enter_context

        def table(path: str | Path, columns: Sequence[Column]) -> WriteRow:
            return opened(write_table(path, columns, open_file=open_file))

        if outputs.is_for_usagi(file):
            self._usagi = opened(
                write_usagi(
                    outputs.output,
                    original=file.usagi,
                    extra_headers=extras,
                    previous=previous,
                    check=check,
                    open_file=open_file,
                )
            )
            self._writers.append(self._usagi.write)
        else:
            write_term = table(outputs.output, term_columns(extras))
            self._writers.append(lambda mapped: write_term(term_row(mapped)))
        if outputs.candidate_table is not None:
            write_candidate = table(outputs.candidate_table, candidate_columns(extras))
            self._writers.append(lambda mapped: [write_candidate(row) for row in candidate_rows(mapped)])
        if outputs.review_queue is not None:
            queue = write_review_queue(outputs.review_queue, extra_headers=extras, open_file=open_file)
            self._writers.append(opened(queue))
        if outputs.outdated is not None:
            self._outdated_writers.append(table(outputs.outdated, OUTDATED_COLUMNS))
        self.map_rows: MapRowBuilder | None = None
        if outputs.map_settings is not None:
            self.map_rows = opened(MapRowBuilder(outputs.map_settings, self._concepts, check))
        if outputs.map_file is not None:
            write_map_row = table(outputs.map_file, source_to_concept_map.COLUMNS)
            self._map_writers.append(lambda row: write_map_row(row.as_dict()))
        if outputs.map_schema is not None:
            self._map_buffer = buffers.enter_context(DiskBuffer[MapRow]())
            self._map_writers.append(self._map_buffer.append)
        if outputs.keep_run:
            self._run_buffer = buffers.enter_context(DiskBuffer[run_store.ResultRow]())

    def write(self, mapped: MappedTerm) -> MappedTerm:
        """Add a term to every output; returns it as it was written: in review if a target is not valid."""
        if outdated := self._list_outdated(mapped.term.key, mapped.term.line or 0, mapped.targets):
            decision = Decision.REVIEW if mapped.decision is Decision.ACCEPT else mapped.decision
            reason = f"{mapped.reason}; {outdated}"
            mapped = replace(mapped, decision=decision, outdated=outdated, reason=reason)
        for write in self._writers:
            write(mapped)
        if self.map_rows is not None:
            self.map_rows.add_term(mapped)
        if self._run_buffer is not None:
            for row in run_store.result_rows(self._term_count, mapped):
                self._run_buffer.append(row)
        self._term_count += 1
        return mapped

    def finish(self) -> None:
        """Complete the files: what people decided in Usagi's file, and outdated targets."""
        if self._file.usagi is not None:
            for mapping in self._file.usagi.mappings():
                if mapping.problem or mapping.is_undecided:
                    continue
                if mapping.status == "APPROVED":
                    self._list_outdated(mapping.key, mapping.line, [t.concept_id for t in mapping.targets])
                if self.map_rows is not None:
                    self.map_rows.add_usagi(mapping)
        for write_row in self._outdated_writers:
            for values in self._previous.outdated_rows() if self._previous is not None else ():
                write_row(values)
        for row in self.map_rows.rows() if self.map_rows is not None else ():
            for write in self._map_writers:
                write(row)

    def store(self, origin: run_store.RunOrigin) -> None:
        """Write what goes into the database, in one transaction."""
        if self._map_buffer is None and self._run_buffer is None:
            return
        with session_scope(self._engine) as session:
            connection = driver_connection(session)
            if self._map_buffer is not None and self._outputs.map_schema is not None:
                schema = self._outputs.map_schema
                written = map_table.write_map_rows(connection, self._map_buffer, schema=schema)
                self.replaced_rows = written.replaced
            if self._run_buffer is not None:
                self.run_id = run_store.store_run(connection, origin, self._run_buffer)

    @property
    def problems(self) -> ProblemList:
        """Rows that an output could not take."""
        problems = ProblemList()
        problems += self._usagi.problems if self._usagi is not None else ()
        problems += self.map_rows.problems if self.map_rows is not None else ()
        return problems

    def _list_outdated(self, key: tuple[str, str], line: int, targets: Sequence[int]) -> str:
        """Count and list the targets that are not valid; returns what is wrong, "" for nothing."""
        outdated = self._check(targets).outdated
        if outdated:
            self.outdated += 1
            for write_row in self._outdated_writers:
                for row in outdated_rows(key, line, self._check.outdated(targets)):
                    write_row(row)
        return outdated

    def _concepts(self, concept_ids: Iterable[int]) -> Mapping[int, Concept]:
        with session_scope(self._engine) as session:
            return reader.concepts_by_id(driver_connection(session), list(concept_ids))
