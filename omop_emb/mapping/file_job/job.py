"""File jobs: a file of terms read, mapped, judged and written; every output file complete, or as before."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.embeddings.models import find_model
from omop_emb.errors import InputError, UnknownValueError
from omop_emb.mapping.approvals.previous_file import read_previous
from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns
from omop_emb.mapping.file_job.outputs import Outputs, OutputWriter, open_outputs
from omop_emb.mapping.file_job.run_store import RunOrigin
from omop_emb.mapping.file_job.target_check import TargetCheck
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.journal import Journal, journal_path
from omop_emb.mapping.files.reading_report import count_lines, reading_lines
from omop_emb.mapping.files.source_to_concept_map import MapRowBuilder
from omop_emb.mapping.files.term_file import ReadOptions, TermFile, open_terms
from omop_emb.mapping.judge.judge_job import JudgeJob, judge_terms
from omop_emb.mapping.mapper import BATCH_SIZE, DEFAULT_SITE, Mapper, open_mapper
from omop_emb.mapping.records import Decision, MappedTerm, SourceTerm
from omop_emb.mapping.retrieval.term_values import TermValues
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.terms.language import looks_english
from omop_emb.records import counted

if TYPE_CHECKING:
    from sqlalchemy import Engine

_LANGUAGE_SAMPLE = 1_000  # terms
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
        previous: a file of approved mappings, which are reused while their targets are valid.
        previous_columns: how that file is read.
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
    previous: Path | None = None
    previous_columns: ApprovedColumns = field(default_factory=ApprovedColumns)
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
        problems: rows that were skipped, or left out of an output, by line.
        outdated: terms with a target that is no valid standard concept in the loaded vocabulary.
        map_rows: what was left out of source_to_concept_map, and why; None if it was not written.
        replaced_rows: rows replaced in the database's source_to_concept_map; None if it was not written.
        run_id: of the run in the database; None if it was not stored.
        judge_failure: why the judge gave up or answered nothing; "" if it did not, or was not asked.
    """

    decisions: Counter[Decision]
    reused: int
    disagreeing: int
    unknown_codes: int
    problems: list[Problem]
    outdated: int
    map_rows: MapRowBuilder | None
    replaced_rows: int | None
    run_id: int | None
    judge_failure: str

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
    on_progress: Callable[[int], None] = lambda _terms: None,
    stdin: BinaryIO | None = None,
) -> JobReport:
    """Map a file; every output is complete, or as it was before, see open_outputs().

    Args:
        engine: of the database; this function opens its own transactions.
        job: the file, and how to map it.
        on_message: called with each line for the user.
        confirm: asked before the judge is used, with the expected cost; False skips the judge.
        on_progress: called with the number of terms done.
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
        file.check_has_terms()
        job.outputs.check(file)
        _check_outputs(job, file)
        path = _journal_path(job, stack)
        with session_scope(engine) as session:
            mapper = stack.enter_context(
                open_mapper(session, site=job.site, settings=job.settings, use_own_ranker=not job.shipped)
            )
            previous = read_previous(
                driver_connection(session), job.previous, job.previous_columns, on_message
            )
        for note in [*mapper.notes, *_language_warnings(mapper, file)]:
            on_message(note)
        _check_vocabulary(job.reading.source_vocabulary, mapper.values)
        journal = _open_journal(job, file, mapper, path, stack, on_message)
        problems: list[Problem] = []
        judge_failures: list[str] = []
        results = mapper.map(
            _usable_terms(file, mapper.values, problems),
            batch_size=job.batch_size,
            previous=previous,
            journal=journal,
        )
        if job.judge is not None:
            for number, _ in enumerate(results, start=1):
                on_progress(number)
            calibration = mapper.engine.ranker.calibration if mapper.provenance.calibrated else None
            shifts = calibration.judge_shifts if calibration is not None else {}
            results = judge_terms(
                engine,
                job.judge,
                journal.replay,
                shifts=shifts,
                on_message=on_message,
                on_failure=judge_failures.append,
                confirm=confirm,
            )
        check = TargetCheck(engine, mapper.engine.lexicon)
        origin = RunOrigin(job.site, Path(file.source.name).name, mapper.provenance)
        with open_outputs(engine, job.outputs, file, previous=previous, check=check, origin=origin) as writer:
            counts = _write(writer, results, on_progress)
        journal.remove()
        for line in count_lines(file):
            on_message(line)
        for message in mapper.values.messages():
            on_message(message)
        return JobReport(
            **counts,
            problems=sorted({*file.problems, *problems, *writer.problems}, key=lambda p: (p.line, p.reason)),
            outdated=writer.outdated,
            map_rows=writer.map_rows,
            replaced_rows=writer.replaced_rows,
            run_id=writer.run_id,
            judge_failure="".join(judge_failures),
        )


def _open_journal(
    job: FileJob, file: TermFile, mapper: Mapper, path: Path, stack: ExitStack, on_message: OnMessage
) -> Journal:
    if not job.resume and path.exists():
        on_message(
            "an earlier run to this output did not finish: its files may be older than what it wrote to "
            "the database; this run writes all of them again"
        )
    settings = _all_settings(job, file, mapper)
    journal = stack.enter_context(
        Journal(path, input_digest=file.source.digest(), settings=settings, resume=job.resume)
    )
    if journal.done:
        on_message(f"resuming: {counted(journal.done, 'term is', 'terms are')} mapped already")
    return journal


def _check_outputs(job: FileJob, file: TermFile) -> None:
    """Refuse an output that can have no content."""
    if job.outputs.outdated is not None and job.previous is None and file.usagi is None:
        raise InputError(
            "--outdated lists approved targets that are not valid: give --previous FILE, or Usagi's file"
        )


def _write(
    writer: OutputWriter, results: Iterable[MappedTerm], on_progress: Callable[[int], None]
) -> dict[str, Any]:
    """Write the results; returns JobReport's counts of them."""
    decisions: Counter[Decision] = Counter()
    counts: Counter[str] = Counter(reused=0, disagreeing=0, unknown_codes=0)
    for number, mapped in enumerate(results, start=1):
        mapped = writer.write(mapped)
        decisions[mapped.decision] += 1
        counts["reused"] += mapped.is_reused
        counts["disagreeing"] += mapped.disagrees
        counts["unknown_codes"] += mapped.unknown_code
        on_progress(number)
    return {"decisions": decisions, **counts}


def _journal_path(job: FileJob, stack: ExitStack) -> Path:
    """Beside the output; for stdout in a temporary folder that ends with the run."""
    if str(job.outputs.output) == "-" and not job.resume:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="omop-emb-"))
        return Path(folder) / "journal"
    path = journal_path(job.outputs.output)
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}; create it first")
    return path


def _usable_terms(file: TermFile, values: TermValues, problems: list[Problem]) -> Iterator[SourceTerm]:
    """The file's terms without those of unknown domains, which become problems."""
    for term in file:
        unknown = values.unknown_value("domain", term.domain) if term.domain else None
        if unknown is None:
            yield term
            continue
        nearest = values.nearest("domain", unknown)[:1]
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        problems.append(Problem(term.line or 0, f"its domain has no concepts in the vocabulary{hint}"))


def _language_warnings(mapper: Mapper, file: TermFile) -> list[str]:
    """A warning if no name column looks English and the model knows only English."""
    model = find_model(mapper.provenance.model)
    if model is None or not model.english_only:
        return []
    names = ((term.name, *term.further_names) for term in islice(file, _LANGUAGE_SAMPLE))
    columns = list(zip_longest(*names, fillvalue=""))
    words = mapper.engine.lexical.words.column
    if not columns or any(looks_english(filter(None, column), words) for column in columns):
        return []
    return [
        f"warning: {mapper.provenance.model} knows only English: terms in other languages are found by their "
        "spelling alone. Add a translation with a further --name-column, or build a space with a "
        "multilingual model (omop-emb models list)"
    ]


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
        "site": job.site,
        "made with": asdict(mapper.provenance),
        "previous": previous,
        "previous columns": asdict(job.previous_columns),
        "memory": hashlib.sha256(approved.encode()).hexdigest(),
    }
