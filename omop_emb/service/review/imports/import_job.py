"""Import job: reads a review's terms from its file and maps them; killed, it continues where it stopped."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.database.fetch import fetch_value
from omop_emb.errors import DatabaseError, InputError, OmopEmbError
from omop_emb.indexing.connections import open_connection
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.problem_list import ProblemList, merged_problems
from omop_emb.mapping.files.read_options import ReadOptions
from omop_emb.mapping.files.reading_report import reading_lines
from omop_emb.mapping.files.term_file import TermFile
from omop_emb.mapping.records import MappedTerm, SourceTerm
from omop_emb.mapping.settings import Settings
from omop_emb.service.review.imports.import_store import store_imported, stored_terms
from omop_emb.service.review.imports.imported_term import ImportedTerm
from omop_emb.service.review.imports.reading_settings import reading_from_json
from omop_emb.service.review.imports.table_import import table_terms
from omop_emb.service.review.imports.usagi_import import usagi_terms
from omop_emb.service.review.live_memory import sync_memory
from omop_emb.service.review.project_records import Project, ReadingReport
from omop_emb.service.review.project_store import (
    file_content,
    find_project,
    list_projects,
    mark_ready,
    read_terms,
    store_provenance,
)
from omop_emb.service.review.suggestion_store import store_suggestions
from omop_emb.sql import read
from omop_emb.vocabulary.spelling import intended_value, split_values

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from omop_emb.service.concept_finder import ConceptFinder

_LOGGER = logging.getLogger("omop_emb.review")
_READ_TERMS = 2_000  # that are read at once
_FIRST_MAPPED, _MAPPED = 50, 300  # terms that are mapped at once; few at first, as somebody waits for them
_CANDIDATES = 10
_LISTED_PROBLEMS = 1_000
_SETTINGS = Settings(candidates=_CANDIDATES, explain=_CANDIDATES)
_LOCK = "select pg_try_advisory_lock(hashtext('omop_emb.review_import'), %s)"
_UNLOCK = "select pg_advisory_unlock(hashtext('omop_emb.review_import'), %s)"


@dataclass(frozen=True, kw_only=True)
class ImportProgress:
    """How far a review's import is.

    Attributes:
        read, mapped: terms so far.
        terms: how many there are; None while they are being read.
        is_ready: whether all have been read and mapped.
    """

    read: int
    mapped: int
    terms: int | None
    is_ready: bool


def import_review(
    engine: Engine, project_id: int, finder: ConceptFinder, is_stopped: threading.Event | None = None
) -> bool:
    """Read a review's terms and map them, as far as that is left to do; whether it is complete now.

    Every batch is committed, so that terms appear as they are read, and whoever continues does only the rest.
    If another process works on it, or the review is deleted meanwhile, nothing more happens.

    Args:
        engine: of the database.
        project_id: of the review.
        finder: maps its terms; of the review's site.
        is_stopped: ends the work after the current batch.

    Raises:
        DatabaseError: the database cannot be reached.
        OmopEmbError: terms cannot be mapped, or the stored file cannot be read; kept with the review too.
    """
    stop = is_stopped or threading.Event()
    with open_connection(engine, autocommit=True) as connection:
        if not fetch_value(connection, _LOCK, (project_id,)):
            return False
        try:
            return _import(engine, project_id, finder, stop)
        finally:
            with suppress(psycopg.Error):
                connection.execute(_UNLOCK, (project_id,))


def import_progress(connection: psycopg.Connection[Any], project: Project) -> ImportProgress:
    """How far a review's import is; counts only while it runs."""
    is_ready = project.ready_at is not None
    mapped = project.terms
    if not is_ready:
        mapped = int(
            fetch_value(
                connection,
                "select count(*) from omop_emb.review_suggestion where project_id = %s",
                (project.project_id,),
            )
        )
    return ImportProgress(read=project.terms, mapped=mapped, terms=project.reading.terms, is_ready=is_ready)


def unfinished_reviews(connection: psycopg.Connection[Any]) -> list[Project]:
    """The reviews whose terms have not all been mapped, the first first."""
    return [one for one in reversed(list_projects(connection)) if one.ready_at is None]


def _import(engine: Engine, project_id: int, finder: ConceptFinder, stop: threading.Event) -> bool:
    try:
        project = _find(engine, project_id)
        if project is None or project.ready_at is not None:
            return project is not None
        if project.reading.failure:
            _store_reading(engine, project_id, {"failure": ""})
        if project.read_at is None:
            _read_file(engine, project, stop)
            with session_scope(engine) as session:
                sync_memory(driver_connection(session), project)  # for the terms that nobody has decided
        if not stop.is_set():
            _map_terms(engine, project_id, finder, stop)
        if stop.is_set():
            return False
        with session_scope(engine) as session:
            mark_ready(driver_connection(session), project_id)
        return True
    except (DatabaseError, psycopg.errors.ForeignKeyViolation):
        if _find(engine, project_id) is None:  # deleted meanwhile
            return False
        raise
    except OmopEmbError as error:
        _store_reading(engine, project_id, {"failure": str(error)})
        raise


def _find(engine: Engine, project_id: int) -> Project | None:
    with session_scope(engine) as session, suppress(InputError):
        return find_project(driver_connection(session), project_id)
    return None


def _read_file(engine: Engine, project: Project, stop: threading.Event) -> None:
    options = reading_from_json(cast("dict[str, Any]", project.settings["reading"]))
    problems = ProblemList()
    with _stored_file(engine, project) as source, TermFile(source, options) as file:
        terms = _imported_terms(file, options, problems)
        with session_scope(engine) as session:
            stored = stored_terms(driver_connection(session), project.project_id)
        next(islice(terms, stored, stored), None)  # a killed import read them
        while batch := list(islice(terms, _READ_TERMS)):
            with session_scope(engine) as session:
                store_imported(driver_connection(session), project, stored + 1, batch)
            stored += len(batch)
            if stop.is_set():
                return
        found = merged_problems(problems, file.problems, file.dropped_values)
        report = ReadingReport(
            terms=stored,
            problems=[str(one) for one in found[:_LISTED_PROBLEMS]],
            problem_count=found.total,
            notes=list(reading_lines(file)),
        )
    _store_reading(engine, project.project_id, asdict(report), is_read=True)


def _imported_terms(file: TermFile, options: ReadOptions, problems: list[Problem]) -> Iterator[ImportedTerm]:
    if file.usagi is not None:
        return usagi_terms(file.usagi, file.columns, options.source_vocabulary, problems.append)
    return table_terms(file, options, problems.append)


@contextmanager
def _stored_file(engine: Engine, project: Project) -> Iterator[InputFile]:
    """The file as it came; without a name in the file system nobody else can open it."""
    with tempfile.TemporaryFile(prefix="omop-emb-") as copy:
        with session_scope(engine) as session:
            for piece in file_content(driver_connection(session), project.project_id):
                copy.write(piece)
        copy.flush()
        with InputFile(project.file_name, content=copy) as source:
            yield source


def _store_reading(
    engine: Engine, project_id: int, values: dict[str, object], *, is_read: bool = False
) -> None:
    with session_scope(engine) as session:
        driver_connection(session).execute(
            "update omop_emb.review_project set reading = reading || %s, "
            "read_at = case when %s then clock_timestamp() else read_at end where project_id = %s",
            (Jsonb(values), is_read, project_id),
        )


def _map_terms(engine: Engine, project_id: int, finder: ConceptFinder, stop: threading.Event) -> None:
    """Map the terms that have no suggestion, those that nobody has decided first."""
    size, domains = _FIRST_MAPPED, None
    for decided in (False, True):
        after = 0
        while True:
            with session_scope(engine) as session:
                connection = driver_connection(session)
                positions = _unmapped(connection, project_id, decided=decided, after=after, limit=size)
                terms = read_terms(connection, project_id, positions)
            if not positions or stop.is_set():
                break
            domains = finder.contents().domains if domains is None else domains
            usable = {
                one.position: _with_known_domain(one.term, domains) for one in terms if one.term.can_be_mapped
            }
            results = dict(zip(usable, _map(finder, list(usable.values())), strict=True))
            with session_scope(engine) as session:
                _store_results(driver_connection(session), project_id, results)
            after, size = positions[-1], _MAPPED


def _unmapped(
    connection: psycopg.Connection[Any], project_id: int, *, decided: bool, after: int, limit: int
) -> list[int]:
    rows = connection.cursor(row_factory=tuple_row).execute(
        read("review_unmapped_terms"),
        {"project": project_id, "decided": decided, "after": after, "limit": limit},
    )
    return [position for (position,) in rows]


def _store_results(
    connection: psycopg.Connection[Any], project_id: int, results: dict[int, MappedTerm | None]
) -> None:
    mapped = [(position, result) for position, result in results.items() if result is not None]
    store_suggestions(connection, project_id, mapped)
    if mapped:
        store_provenance(connection, project_id, asdict(mapped[0][1].provenance))


def _map(finder: ConceptFinder, terms: Sequence[SourceTerm]) -> Sequence[MappedTerm | None]:
    """The mapped terms in order; None for one that breaks mapping, which costs no other."""
    try:
        return finder.map(terms, settings=_SETTINGS)
    except OmopEmbError:
        raise
    except Exception as error:
        if len(terms) <= 1:
            _LOGGER.warning("a term could not be mapped: %s", type(error).__name__)
            return [None] * len(terms)
        middle = len(terms) // 2
        return [*_map(finder, terms[:middle]), *_map(finder, terms[middle:])]


def _with_known_domain(term: SourceTerm, domains: Sequence[str]) -> SourceTerm:
    """A term that may be in any domain if its own has no concepts, so that it gets suggestions at all."""
    if not term.domain:
        return term
    found = [intended_value(part, domains) for part in split_values(term.domain, domains)]
    return term if all(found) else replace(term, domain=None)
