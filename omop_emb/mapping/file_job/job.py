"""A whole file mapped: read, settled by earlier approvals, mapped, judged and written, or nothing of it."""

from __future__ import annotations

import difflib
import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.embeddings.models import find_model
from omop_emb.errors import InputError, UnknownValueError
from omop_emb.mapping.approvals.reuse import CheckedMappings, check_previous, read_approved
from omop_emb.mapping.batches import map_in_batches
from omop_emb.mapping.engine import Begun
from omop_emb.mapping.file_job.outputs import FileOutputs, Outputs
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.journal import Journal, journal_path
from omop_emb.mapping.files.source import Source
from omop_emb.mapping.files.terms import ReadOptions, TermFile, open_terms
from omop_emb.mapping.judge.judge_job import JudgeJob, judged
from omop_emb.mapping.mapper import BATCH, SITE, Mapper
from omop_emb.mapping.records import Decision, MappedTerm, SourceTerm
from omop_emb.mapping.retrieval import vocabulary_subset
from omop_emb.mapping.retrieval.lexicon import Lexicon
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.terms.language import looks_english

if TYPE_CHECKING:
    from sqlalchemy import Engine

_LOOKED_AT = 1_000
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class FileJob:
    """What is to be done with a file.

    Attributes:
        input: the file of terms; "-" is stdin.
        outputs: what is written.
        reading: how the file is read.
        settings: how terms are mapped.
        site: whose memory and ranker are used.
        previous: a file of approved mappings, which stay where they still stand.
        judge: asks a generative model about terms in review; None asks nobody.
        resume: go on with an interrupted run.
        batch_size: terms at once.
    """

    input: str | Path
    outputs: Outputs
    reading: ReadOptions = field(default_factory=ReadOptions)
    settings: Settings = field(default_factory=Settings)
    site: str = SITE
    previous: Path | None = None
    judge: JudgeJob | None = None
    resume: bool = False
    batch_size: int = BATCH


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """What was done.

    Attributes:
        decisions: how many terms were decided how.
        kept: terms whose approved mapping stands, among them.
        disagreeing: terms whose code leads elsewhere than their name.
        problems: rows that were kept out of an output, by line.
        waiting: terms that are not in source_to_concept_map because nobody has reviewed them.
        replaced: rows that were replaced in the database's source_to_concept_map; None if not asked for.
        run_id: of the run in the database; None if it was not kept.
    """

    decisions: Counter[Decision]
    kept: int
    disagreeing: int
    problems: list[Problem]
    waiting: int
    replaced: int | None
    run_id: int | None

    @property
    def terms(self) -> int:
        """How many terms were mapped."""
        return self.decisions.total()


def run(
    engine: Engine,
    job: FileJob,
    *,
    tell: Tell,
    confirm: Callable[[str], bool] = lambda _question: True,
    progress: Callable[[int], None] = lambda _done: None,
    stdin: BinaryIO | None = None,
) -> JobReport:
    """Map a file; its outputs appear whole, all of them, or none.

    Args:
        engine: of the database; transactions are this function's own.
        job: what is to be done.
        tell: is called with lines for a person.
        confirm: is asked before a judge is, with what that will take; False leaves the judge out.
        progress: is told how many terms are done.
        stdin: where "-" reads from.

    Raises:
        InputError: a file cannot be read or written, or a column is not there.
        ConfigurationError: acceptance was asked for and cannot be given.
        OmopEmbError: anything else that a person can put right.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open_terms(job.input, job.reading, stdin=stdin))
        job.outputs.check(file)
        place = _journal_place(job, stack)
        with session_scope(engine) as session:
            first = list(islice(file, vocabulary_subset.FEW + 1))
            few = (
                first
                if job.reading.source_vocabulary is None and len(first) <= vocabulary_subset.FEW
                else None
            )
            mapper = Mapper(session, site=job.site, settings=job.settings, terms=few)
            previous = _previous(job, tell, session)
        lexicon = mapper.engine.lexicon
        for note in [*file.notes, *mapper.notes, *_language_notes(mapper, file)]:
            tell(note)
        _check_vocabulary(job.reading.source_vocabulary, lexicon)
        journal = stack.enter_context(
            Journal(
                place,
                input_digest=file.source.digest(),
                settings=_settings(job, file, mapper),
                resume=job.resume,
            )
        )
        if journal.done:
            tell(f"{journal.done:,} terms were mapped before; going on with the rest")
        problems: list[Problem] = []
        results = map_in_batches(
            _usable(file, lexicon, problems),
            lambda begun: _finish(mapper, previous, begun),
            begin=lambda batch: _begin(mapper, previous, batch),
            batch_size=job.batch_size,
            journal=journal,
        )
        if job.judge is not None:
            for number, _ in enumerate(results, start=1):
                progress(number)
            learned = mapper.engine.ranker.calibration if mapper.provenance.calibrated else None
            shifts = learned.judged if learned is not None else {}
            results = judged(engine, job.judge, journal.replay, shifts=shifts, tell=tell, confirm=confirm)
        decisions: Counter[Decision] = Counter()
        kept = disagreeing = 0
        with FileOutputs(engine, job.outputs, file, previous) as outputs:
            for number, mapped in enumerate(results, start=1):
                outputs.write(mapped)
                decisions[mapped.decision] += 1
                kept += "approved before (" in mapped.reason
                disagreeing += mapped.disagrees
                progress(number)
            outputs.finish(site=job.site, input_name=Path(file.source.name).name, made=mapper.provenance)
        journal.remove()
        found = sorted({*file.problems, *problems, *outputs.problems}, key=lambda p: (p.line, p.reason))
        return JobReport(
            decisions=decisions,
            kept=kept,
            disagreeing=disagreeing,
            problems=found,
            waiting=outputs.waiting,
            replaced=outputs.replaced,
            run_id=outputs.run_id,
        )


def _journal_place(job: FileJob, stack: ExitStack) -> Path:
    """Beside the output; for stdout in a folder that goes with the run."""
    if str(job.outputs.output) == "-" and not job.resume:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="omop-emb-"))
        return Path(folder) / "journal"
    place = journal_path(job.outputs.output)
    if not place.parent.is_dir():
        raise InputError(f"there is no folder {place.parent}; make it first")
    return place


def _previous(job: FileJob, tell: Tell, session: object) -> CheckedMappings | None:
    if job.previous is None:
        return None
    approved, problems = read_approved(job.previous)
    for problem in problems:
        tell(f"{job.previous}, {problem}; left out")
    checked = check_previous(driver_connection(session), approved)  # type: ignore[arg-type]  # a Session
    lost = sum(1 for _ in checked.outdated())
    tell(f"{len(approved):,} approved mappings in {job.previous}, {lost:,} targets of them no longer stand")
    return checked


@dataclass(frozen=True)
class _Batch:
    """A batch under way: what was settled by an earlier approval, and the rest."""

    settled: list[MappedTerm | None]
    rest: Future[Begun] | None


def _begin(mapper: Mapper, previous: CheckedMappings | None, batch: Sequence[SourceTerm]) -> _Batch:
    """Terms whose approved mapping stands need not be mapped."""
    settled = [previous.settle(term, mapper.provenance) if previous else None for term in batch]
    rest = [term for term, done in zip(batch, settled, strict=True) if done is None]
    return _Batch(settled, mapper.begin(rest) if rest else None)


def _finish(mapper: Mapper, previous: CheckedMappings | None, begun: _Batch) -> list[MappedTerm]:
    """One result a term."""
    found = iter(mapper.finish(begun.rest) if begun.rest is not None else ())
    results = [done or next(found) for done in begun.settled]
    return results if previous is None else [previous.annotate(one) for one in results]


def _usable(file: TermFile, lexicon: Lexicon, problems: list[Problem]) -> Iterator[SourceTerm]:
    """The file's terms, their domains written as the vocabulary does; unknown domains are kept out."""
    known = {domain.casefold(): domain for domain in lexicon.domains}
    for term in file:
        if term.domain is None:
            yield term
            continue
        asked = [part.strip() for part in term.domain.split("|") if part.strip()]
        found = [known.get(part.casefold()) for part in asked]
        if None in found:
            wrong = asked[found.index(None)]
            near = difflib.get_close_matches(wrong.casefold(), known, n=1)
            hint = f"; did you mean {known[near[0]]}?" if near else ""
            problems.append(Problem(term.line or 0, f"its domain has no concepts in the vocabulary{hint}"))
            continue
        yield replace(term, domain="|".join(name for name in found if name))


def _language_notes(mapper: Mapper, file: TermFile) -> list[str]:
    """A warning where the names of no column look English and the model knows nothing else."""
    known = find_model(mapper.provenance.model)
    if known is None or not known.english_only:
        return []
    terms = list(islice(file, _LOOKED_AT))
    further = max((len(term.further_names) for term in terms), default=0)
    columns = [[term.name for term in terms]]
    columns += [
        [term.further_names[n] for term in terms if len(term.further_names) > n] for n in range(further)
    ]
    words = mapper.engine.lexical.words.number
    if not any(looks_english(names, words) for names in columns):
        return [
            f"warning: {known.name} knows only English: terms in other languages are found by their spelling "
            "alone. Give a translation with a further --name-column, or build a space with a multilingual "
            "model (omop-emb models list)"
        ]
    return []


def _check_vocabulary(name: str | None, lexicon: Lexicon) -> None:
    if name is None or name in lexicon.code_vocabularies:
        return
    near = difflib.get_close_matches(name, lexicon.code_vocabularies, n=3, cutoff=0.4)
    raise UnknownValueError("vocabulary with codes", name, near)


def _settings(job: FileJob, file: TermFile, mapper: Mapper) -> dict[str, object]:
    """Everything but the input that shapes the results."""
    previous = None
    if job.previous is not None:
        with Source(job.previous) as source:
            previous = source.digest()
    memory = mapper.engine.memory
    approved = "" if memory is None else repr([*zip(memory.names, memory.concept.tolist(), strict=True)])
    return {
        "file": file.settings,
        "settings": asdict(job.settings),
        "site": job.site,
        "made with": asdict(mapper.provenance),
        "previous": previous,
        "memory": hashlib.sha256(approved.encode()).hexdigest(),
    }
