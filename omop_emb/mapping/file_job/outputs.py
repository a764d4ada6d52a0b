"""The outputs of a mapped file, opened and finished together: all of them appear, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import InputError
from omop_emb.mapping.approvals.reuse import OUTDATED_COLUMNS, CheckedMappings
from omop_emb.mapping.file_job import map_table, run_store
from omop_emb.mapping.files import source_to_concept_map
from omop_emb.mapping.files.candidates import candidate_columns, candidate_rows, term_columns, term_row
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.review_queue import ReviewQueueWriter
from omop_emb.mapping.files.source_to_concept_map import MapRow, MapRows, MapSettings
from omop_emb.mapping.files.spool import Spool
from omop_emb.mapping.files.table_out import TableWriter
from omop_emb.mapping.files.usagi_out import UsagiWriter
from omop_emb.mapping.records import MappedTerm, Provenance
from omop_emb.records import Concept
from omop_emb.vocabulary import reader

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from omop_emb.mapping.files.terms import TermFile

_USAGI = ".usagi.csv"


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is written.

    Attributes:
        output: for Usagi if it ends in .usagi.csv, or in .csv where the input is Usagi's; else a table with
            a row a term, .tsv, .parquet or CSV; "-" is stdout.
        candidates: all candidates with their scores, a row each.
        review_queue: what a person must look at, the most valuable first.
        map_file: source_to_concept_map; needs `map_settings`.
        map_schema: schema whose source_to_concept_map is filled; needs `map_settings`.
        map_settings: what is the same in every row of it.
        outdated: targets of earlier approvals that no longer stand, with what replaces them.
        keep_run: whether every candidate goes into the database too.
    """

    output: str | Path
    candidates: Path | None = None
    review_queue: Path | None = None
    map_file: Path | None = None
    map_schema: str | None = None
    map_settings: MapSettings | None = None
    outdated: Path | None = None
    keep_run: bool = False

    def check(self, file: TermFile) -> None:
        """Refuse what cannot be written, before anything is read.

        Raises:
            InputError: two outputs are one file, or an output is the input where that is not Usagi's.
        """
        files = [self.output, self.candidates, self.review_queue, self.map_file, self.outdated]
        places = [Path(one).resolve() for one in files if one is not None and str(one) != "-"]
        if len(set(places)) < len(places):
            raise InputError("two outputs have the same name; give each a file of its own")
        source = Path(file.source.name).resolve()
        if source in places and not (file.usagi is not None and source == Path(self.output).resolve()):
            raise InputError(f"{file.source.name} is the input; give the output another name")

    def is_usagi(self, file: TermFile) -> bool:
        """Whether the output is for Usagi."""
        name = str(self.output).lower()
        return name.endswith(_USAGI) or (file.usagi is not None and (name.endswith(".csv") or name == "-"))


class FileOutputs:
    """Writes mapped terms to everything that was asked for; finish() ends what goes into the database.

    Attributes:
        problems: rows that an output could not take.
        waiting: terms that are not in source_to_concept_map because nobody has reviewed them.
        replaced: rows of source_to_concept_map in the database that made way.
        run_id: of the run in the database.
    """

    def __init__(
        self, engine: Engine, outputs: Outputs, file: TermFile, previous: CheckedMappings | None
    ) -> None:
        self.replaced: int | None = None
        self.run_id: int | None = None
        self._engine, self._asked, self._file, self._previous = engine, outputs, file, previous
        self._stack = ExitStack()
        self._count = 0
        extras = file.extra_headers
        self._usagi: UsagiWriter | None = None
        self._table: TableWriter | None = None
        if outputs.is_usagi(file):
            self._usagi = UsagiWriter(
                outputs.output, original=file.usagi, extra_headers=extras, previous=previous
            )
        else:
            self._table = TableWriter(outputs.output, term_columns(extras))
        self._candidates = (
            TableWriter(outputs.candidates, candidate_columns(extras)) if outputs.candidates else None
        )
        self._queue = (
            ReviewQueueWriter(outputs.review_queue, extra_headers=extras) if outputs.review_queue else None
        )
        self._rows = MapRows(outputs.map_settings, self._concepts) if outputs.map_settings else None
        self._map_file = (
            TableWriter(outputs.map_file, source_to_concept_map.COLUMNS) if outputs.map_file else None
        )
        self._map_spool: Spool[MapRow] | None = Spool() if outputs.map_schema else None
        self._run_spool: Spool[run_store.ResultRow] | None = Spool() if outputs.keep_run else None

    def __enter__(self) -> FileOutputs:
        everything = (
            self._usagi, self._table, self._candidates, self._queue, self._map_file, self._map_spool,
            self._run_spool,
        )  # fmt: skip
        with ExitStack() as opening:
            for one in everything:
                if one is not None:
                    opening.enter_context(one)
            self._stack = opening.pop_all()
        return self

    def write(self, mapped: MappedTerm) -> None:
        """Add a term to every output."""
        if self._usagi is not None:
            self._usagi.write(mapped)
        if self._table is not None:
            self._table.write(term_row(mapped))
        if self._candidates is not None:
            for row in candidate_rows(mapped):
                self._candidates.write(row)
        if self._queue is not None:
            self._queue.write(mapped)
        if self._rows is not None:
            self._write_rows(self._rows.of_term(mapped))
        if self._run_spool is not None:
            for result in run_store.result_rows(self._count, mapped):
                self._run_spool.put(result)
        self._count += 1

    def finish(self, *, site: str, input_name: str, made: Provenance) -> None:
        """Write what is not a term's: what Usagi's file has approved, outdated targets, the database."""
        if self._rows is not None and self._file.usagi is not None:
            for mapping in self._file.usagi.mappings():
                if not mapping.problem and mapping.status == "APPROVED":
                    self._write_rows(self._rows.of_usagi(mapping))
        if self._asked.outdated is not None:
            with TableWriter(self._asked.outdated, OUTDATED_COLUMNS) as table:
                for row in self._previous.outdated() if self._previous is not None else ():
                    table.write(row)
        if self._map_spool is None and self._run_spool is None:
            return
        with session_scope(self._engine) as session:
            connection = driver_connection(session)
            if self._map_spool is not None and self._asked.map_schema is not None:
                schema = self._asked.map_schema
                written = map_table.write_map_rows(connection, self._map_spool, schema=schema)
                self.replaced = written.replaced
            if self._run_spool is not None:
                self.run_id = run_store.store(
                    connection, site=site, input_name=input_name, provenance=made, rows=self._run_spool
                )

    @property
    def problems(self) -> list[Problem]:
        """Rows that an output could not take."""
        return [
            *(self._usagi.problems if self._usagi is not None else ()),
            *(self._rows.problems if self._rows is not None else ()),
        ]

    @property
    def waiting(self) -> int:
        """Terms that are not in source_to_concept_map because nobody has reviewed them."""
        return self._rows.left_out if self._rows is not None else 0

    def _write_rows(self, rows: Iterable[MapRow]) -> None:
        for row in rows:
            if self._map_file is not None:
                self._map_file.write(row.as_dict())
            if self._map_spool is not None:
                self._map_spool.put(row)

    def _concepts(self, concept_ids: Iterable[int]) -> Mapping[int, Concept]:
        with session_scope(self._engine) as session:
            return reader.concepts_by_id(driver_connection(session), list(concept_ids))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
