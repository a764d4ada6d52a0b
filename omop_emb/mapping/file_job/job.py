"""File jobs: a file of terms read, mapped, judged and written; every output file complete, or as before."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from omop_emb.database.engine import driver_connection, waiting_session
from omop_emb.errors import InputError, UnknownValueError
from omop_emb.mapping.approvals.previous_file import read_previous
from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns
from omop_emb.mapping.file_job.job_progress import JobPhase, OnProgress, with_progress
from omop_emb.mapping.file_job.judge_step import made_with, prepare_judge
from omop_emb.mapping.file_job.language_warnings import language_warnings
from omop_emb.mapping.file_job.outputs import Outputs, OutputWriter, open_outputs
from omop_emb.mapping.file_job.part_columns import PartColumns, left_out_lines, part_columns
from omop_emb.mapping.file_job.reviewed_rows import correct_by_reviewed_rows
from omop_emb.mapping.file_job.run_store import RunOrigin
from omop_emb.mapping.file_job.target_check import TargetCheck
from omop_emb.mapping.file_job.translation_step import prepare_translations
from omop_emb.mapping.file_job.usable_terms import usable_terms
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.journal import Journal, journal_path
from omop_emb.mapping.files.problem_list import ProblemList, merged_problems
from omop_emb.mapping.files.reading_report import count_lines, reading_lines
from omop_emb.mapping.files.source_to_concept_map import MapRowBuilder
from omop_emb.mapping.files.term_file import ReadOptions, TermFile, open_terms
from omop_emb.mapping.judge.judge_job import JudgeJob
from omop_emb.mapping.judge.translation_job import TranslationJob
from omop_emb.mapping.mapper import BATCH_SIZE, DEFAULT_SITE, Mapper, open_mapper
from omop_emb.mapping.ranking.prior_shift import PriorShift
from omop_emb.mapping.records import Decision, MappedTerm
from omop_emb.mapping.retrieval.term_values import TermValues
from omop_emb.mapping.settings import Settings
from omop_emb.records import counted

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

OnMessage = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class FileJob:
    """A file to map, and how.

    Attributes:
        input: the file of terms; "-" is stdin.
        outputs: what is written.
        reading: how the file is read.
        settings: how terms are mapped.
        site: the site whose memory and ranker are used.
        shipped: use the shipped ranker, even if the site has one of its own.
        also_spaces: names of spaces that are searched too; None: those that the site's ranker learned with.
        previous: a file of approved mappings, which are reused while their targets are valid.
        previous_columns: how that file is read.
        translate: a generative model that translates distinct terms into English first; None asks none.
        judge: asks a generative model about terms in review; None asks none.
        resume: continue an interrupted run.
        batch_size: terms per batch.
    """

    input: str | Path
    outputs: Outputs
    reading: ReadOptions = field(default_factory=ReadOptions)
    settings: Settings = field(default_factory=Settings)
    site: str = DEFAULT_SITE
    shipped: bool = False
    also_spaces: Sequence[str] | None = None
    previous: Path | None = None
    previous_columns: ApprovedColumns = field(default_factory=ApprovedColumns)
    translate: TranslationJob | None = None
    judge: JudgeJob | None = None
    resume: bool = False
    batch_size: int = BATCH_SIZE


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """What a job did.

    Attributes:
        decisions: number of terms by decision.
        reused: terms among them that an earlier approval decided.
        disagreeing: terms whose code maps to another concept than their name.
        unknown_codes: terms whose code was looked up and does not exist.
        problems: rows that were skipped, or left out of an output, by line: the first, and in all `total`.
        outdated: terms with a target that is no valid standard concept in the loaded vocabulary.
        map_rows: what was left out of source_to_concept_map, and why; None if it was not written.
        replaced_rows: rows replaced in the database's source_to_concept_map; None if it was not written.
        run_id: of the run in the database; None if it was not stored.
        failures: why generative models gave up or answered nothing; empty if none did, or was asked.
        shift: what the file's own reviewed rows changed about its probabilities.
    """

    decisions: Counter[Decision]
    reused: int
    disagreeing: int
    unknown_codes: int
    problems: ProblemList
    outdated: int
    map_rows: MapRowBuilder | None
    replaced_rows: int | None
    run_id: int | None
    failures: Sequence[str]
    shift: PriorShift

    @property
    def terms(self) -> int:
        """How many terms were mapped."""
        return self.decisions.total()


def run(
    engine: Engine,
    job: FileJob,
    *,
    on_message: OnMessage,
    confirm: Callable[[str], bool] = lambda _question: True,
    on_progress: OnProgress = lambda _progress: None,
    stdin: BinaryIO | None = None,
) -> JobReport:
    """Map a file; every output is complete, or as it was before, see open_outputs().

    Args:
        engine: of the database; this function opens its own transactions.
        job: the file, and how to map it.
        on_message: called with each line for the user.
        confirm: asked before a generative model is used, with the expected cost; False skips it.
        on_progress: called after each term.
        stdin: what an input of "-" reads.

    Raises:
        InputError: a file cannot be read or written, or a column is missing.
        ConfigurationError: the settings ask for acceptance that is not possible.
        OmopEmbError: anything else that the user can fix.
    """
    job.outputs.check_names()
    with ExitStack() as stack:
        file = stack.enter_context(open_terms(job.input, job.reading, stdin=stdin))
        for line in reading_lines(file):
            on_message(line)
        _check_file(job, file)
        path = _journal_path(job)
        with waiting_session(engine) as session:
            mapper = stack.enter_context(_mapper_of(session, job))
            previous = read_previous(
                driver_connection(session), job.previous, job.previous_columns, on_message
            )
        judge = prepare_judge(engine, mapper, job.judge)
        for note in [*mapper.notes, *language_warnings(mapper, file, job.translate)]:
            on_message(note)
        _check_vocabulary(job.reading.source_vocabulary, mapper.values)
        shift = correct_by_reviewed_rows(mapper, file, previous)
        problems = ProblemList()
        failures: list[str] = []
        talk = {"on_message": on_message, "on_failure": failures.append, "confirm": confirm}
        parts = part_columns(file, mapper)
        total = _count_terms(file, mapper, parts, on_message)
        journal = _open_journal(job, file, mapper, parts, path, stack, on_message)
        read_terms = partial(usable_terms, file, mapper.values, parts)
        add_translation = prepare_translations(
            job.translate, partial(read_terms, ProblemList()), mapper, previous, skip=journal.done, **talk
        )
        results = mapper.map(
            map(add_translation, read_terms(problems)),
            batch_size=job.batch_size,
            previous=previous,
            journal=journal,
        )
        results = with_progress(results, JobPhase.MAP, total, on_progress, resumed=journal.done)
        if judge is not None:
            deque(results, maxlen=0)
            results = with_progress(judge(journal.replay, **talk), JobPhase.WRITE, total, on_progress)
        check = TargetCheck(engine, mapper.engine.lexicon)
        origin = RunOrigin(job.site, Path(file.source.name).name, made_with(mapper, job.judge))
        with open_outputs(engine, job.outputs, file, previous=previous, check=check, origin=origin) as writer:
            counts = _write(writer, results)
        journal.remove()
        for line in (*count_lines(file), *mapper.values.messages(), *left_out_lines(mapper)):
            on_message(line)
        return JobReport(
            **counts,
            problems=merged_problems(file.problems, problems, writer.problems),
            outdated=writer.outdated,
            map_rows=writer.map_rows,
            replaced_rows=writer.replaced_rows,
            run_id=writer.run_id,
            failures=failures,
            shift=shift,
        )


def _mapper_of(session: Session, job: FileJob) -> AbstractContextManager[Mapper]:
    return open_mapper(
        session,
        also_spaces=job.also_spaces,
        site=job.site,
        settings=job.settings,
        use_own_ranker=not job.shipped,
    )


def _open_journal(
    job: FileJob,
    file: TermFile,
    mapper: Mapper,
    parts: PartColumns | None,
    path: Path | None,
    stack: ExitStack,
    on_message: OnMessage,
) -> Journal:
    if path is not None and not job.resume and path.exists():
        on_message(
            "an earlier run with this output did not finish, so its files may be older than what it "
            "wrote to the database; this run writes all of them again"
        )
    settings = _all_settings(job, file, mapper)
    if parts is not None:
        settings["files of terms"] = parts.digest
    journal = stack.enter_context(
        Journal(path, input_digest=file.source.digest(), settings=settings, resume=job.resume)
    )
    if journal.done:
        on_message(f"resuming: {counted(journal.done, 'term is', 'terms are')} mapped already")
    return journal


def _count_terms(file: TermFile, mapper: Mapper, parts: PartColumns | None, on_message: OnMessage) -> int:
    """The number of usable terms, after a line about the files that go with them."""
    total = sum(1 for _ in usable_terms(file, mapper.values, parts, ProblemList()))
    if parts is not None:
        on_message(parts.line())
    return total


def _check_file(job: FileJob, file: TermFile) -> None:
    """Refuse a file without terms, and an output that can have no content."""
    file.check_has_terms()
    job.outputs.check(file)
    if job.outputs.outdated is not None and job.previous is None and file.usagi is None:
        raise InputError(
            "--outdated lists approved targets that are not valid: give --previous FILE, or Usagi's file"
        )


def _write(writer: OutputWriter, results: Iterable[MappedTerm]) -> dict[str, Any]:
    """Write the results; returns JobReport's counts of them."""
    decisions: Counter[Decision] = Counter()
    counts: Counter[str] = Counter(reused=0, disagreeing=0, unknown_codes=0)
    for result in results:
        mapped = writer.write(result)
        decisions[mapped.decision] += 1
        counts["reused"] += mapped.is_reused
        counts["disagreeing"] += mapped.disagrees
        counts["unknown_codes"] += mapped.unknown_code
    return {"decisions": decisions, **counts}


def _journal_path(job: FileJob) -> Path | None:
    """Beside the output; None for stdout, whose journal has no name and is gone with the run."""
    if str(job.outputs.output) == "-" and not job.resume:
        return None
    path = journal_path(job.outputs.output)
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}; create it first")
    return path


def _check_vocabulary(names: str | None, values: TermValues) -> None:
    unknown = values.unknown_value("vocabulary", names) if names is not None else None
    if unknown is not None:
        raise UnknownValueError("vocabulary with codes", unknown, values.nearest("vocabulary", unknown))


def _all_settings(job: FileJob, file: TermFile, mapper: Mapper) -> dict[str, object]:
    """Everything but the input that the results depend on."""
    previous = None
    if job.previous is not None:
        with InputFile(job.previous) as source:
            previous = source.digest()
    memory = mapper.engine.memory
    approved = "" if memory is None else repr([*zip(memory.names, memory.concept.tolist(), strict=True)])
    return {
        "file": file.settings,
        "settings": asdict(job.settings),
        "translated by": None if job.translate is None else job.translate.model.source,
        "site": job.site,
        "made with": asdict(mapper.provenance),
        "previous": previous,
        "previous columns": asdict(job.previous_columns),
        "memory": hashlib.sha256(approved.encode()).hexdigest(),
    }
