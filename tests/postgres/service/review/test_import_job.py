"""Imports of files into reviews: every format, what a person decided in it, kills, and many rows."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy

from omop_emb.database.engine import database_engine, driver_connection, session_scope
from omop_emb.errors import InputError
from omop_emb.mapping.files.columns import Columns
from omop_emb.mapping.files.read_options import ReadOptions
from omop_emb.service import ConceptFinder
from omop_emb.service.review.decision_records import Action, Equivalence, ReviewState, Target
from omop_emb.service.review.imports.import_job import import_progress, import_review, unfinished_reviews
from omop_emb.service.review.imports.import_runner import ImportRunner
from omop_emb.service.review.imports.new_review import begin_review, preview_file, same_file
from omop_emb.service.review.project_records import CurrentTerm, Project
from omop_emb.service.review.project_store import (
    delete_project,
    file_content,
    find_project,
    list_projects,
    read_terms,
)
from omop_emb.service.review.suggestion_store import current_terms, read_suggestions
from tests.conftest import as_url

USAGI_HEADER = (
    "sourceCode,sourceName,sourceFrequency,sourceAutoAssignedConceptIds,matchScore,mappingStatus,equivalence,"
    "statusSetBy,statusSetOn,conceptId,conceptName,domainId,mappingType,comment,createdBy,createdOn,"
    "assignedReviewer"
)


@pytest.fixture(scope="module")
def database_url(
    server_conninfo: str, sample_template: str, new_database: Callable[[str], AbstractContextManager[str]]
) -> Iterator[str]:
    with new_database(sample_template) as name:
        yield as_url(server_conninfo, dbname=name)


@pytest.fixture(scope="module")
def engine(database_url: str) -> Iterator[sqlalchemy.Engine]:
    made = database_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def finder(engine: sqlalchemy.Engine, cache_folder: Path) -> Iterator[ConceptFinder]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache_folder))
        with ConceptFinder(engine) as opened:
            yield opened


@pytest.fixture
def begin(engine: sqlalchemy.Engine, tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Begins reviews of files with a content, which are deleted at the end."""
    made: list[int] = []

    def begin(file_name: str, content: str | bytes, context: tuple[str, ...] = ()) -> Project:
        path = tmp_path / file_name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        reading = ReadOptions(columns=Columns(context=context))
        project = begin_review(engine, path, options=reading, created_by="Ada")
        made.append(project.project_id)
        return project

    yield begin
    with session_scope(engine) as session:
        for project_id in made:
            delete_project(driver_connection(session), project_id)


def imported(engine: sqlalchemy.Engine, finder: ConceptFinder, project: Project) -> list[CurrentTerm]:
    assert import_review(engine, project.project_id, finder)
    with session_scope(engine) as session:
        return current_terms(driver_connection(session), project.project_id)


def found(engine: sqlalchemy.Engine, project: Project) -> Project:
    with session_scope(engine) as session:
        return find_project(driver_connection(session), project.project_id)


def usagi_row(code: str, name: str, status: str, **cells: str) -> str:
    values = {
        "sourceCode": code, "sourceName": name, "sourceFrequency": "10", "matchScore": "0.9",
        "mappingStatus": status, "equivalence": "UNREVIEWED", "statusSetOn": "0", "conceptId": "0",
        "mappingType": "MAPS_TO", "createdOn": "0", **cells,
    }  # fmt: skip
    return ",".join(values.get(name, "") for name in USAGI_HEADER.split(","))


def test_a_table_of_terms_becomes_mapped_terms_with_reasons(
    engine: sqlalchemy.Engine, finder: ConceptFinder, begin: Callable[..., Project]
) -> None:
    content = "code,name,frequency,ward\nA1,hypertension,12,east\nA2,,3,west\nA3,asthma,often,east\n"
    project = begin("terms.csv", content, context=("ward",))
    assert (project.name, project.file_name, project.terms) == ("terms", "terms.csv", 0)
    terms = imported(engine, finder, project)
    assert [(one.source_code, one.frequency, one.version) for one in terms] == [
        ("A1", 12, 0),
        ("A3", None, 0),
    ]
    project = found(engine, project)
    assert project.ready_at is not None
    assert project.reading.terms == project.terms == 2
    assert list(project.reading.problems) == [
        "line 3: no term in 'name'",
        "line 4: its frequency is no number and is not used",
    ]
    assert project.provenance["model"]
    with session_scope(engine) as session:
        connection = driver_connection(session)
        suggestion = read_suggestions(connection, project.project_id, [1])[1]
        assert b"".join(file_content(connection, project.project_id)) == content.encode()
        assert [one.term.context for one in read_terms(connection, project.project_id, [1])] == [
            {"ward": "east"}
        ]
    assert suggestion.mapped.best is not None
    assert suggestion.mapped.best.concept_id == 316866
    assert suggestion.mapped.best.contributions


def test_every_state_of_usagi_becomes_what_a_person_decided_or_waits_for_one(
    engine: sqlalchemy.Engine, finder: ConceptFinder, begin: Callable[..., Project]
) -> None:
    moment = datetime(2024, 5, 17, 8, 30, tzinfo=UTC)
    person = {"statusSetBy": "Eve", "statusSetOn": str(int(moment.timestamp() * 1000))}
    rows = [
        usagi_row(
            "1", "asthma", "APPROVED", conceptId="317009", equivalence="EQUAL", comment="sure", **person
        ),
        usagi_row("2", "glucose 5 mg", "APPROVED", conceptId="3004501", mappingType="EVENT", **person),
        usagi_row("2", "glucose 5 mg", "APPROVED", conceptId="8840", mappingType="VALUE", **person),
        usagi_row("3", "nothing", "APPROVED", equivalence="UNMATCHED", **person),
        usagi_row("4", "cough", "FLAGGED", conceptId="254761", **person),
        usagi_row("5", "test patient", "IGNORED", **person),
        usagi_row("6", "asthma attack", "UNCHECKED", conceptId="317009", assignedReviewer="Bob"),
        usagi_row("7", "headache", "AUTO_MAPPED_TO_1", conceptId="378253", statusSetBy="<auto>"),
        usagi_row("8", "nausea", "APPROVED", conceptId="31967", statusSetBy="omop-emb"),
        usagi_row("9", "vomiting", "INVALID_TARGET", conceptId="441408", comment="look again"),
        usagi_row("10", "pain", "APPROVED", conceptId="4329041", mappingType="MAPS_TO_MOON", **person),
        usagi_row("11", "broken", "SOMETHING"),
        usagi_row("12", "rash", "APPROVED", conceptId="140214", equivalence="BROADER"),
    ]
    project = begin("all.usagi.csv", "\n".join([USAGI_HEADER, *rows]) + "\n")
    terms = {one.source_code: one for one in imported(engine, finder, project)}
    assert list(terms) == ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "12"]
    said = {
        code: (one.verdict.state, [t.concept_id for t in one.verdict.targets]) for code, one in terms.items()
    }
    assert said == {
        "1": (ReviewState.APPROVED, [317009]),
        "2": (ReviewState.APPROVED, [3004501, 8840]),
        "3": (ReviewState.NO_MATCH, []),
        "4": (ReviewState.FLAGGED, [254761]),
        "5": (ReviewState.IGNORED, []),
        "6": (ReviewState.UNREVIEWED, []),
        "7": (ReviewState.UNREVIEWED, []),
        "8": (ReviewState.UNREVIEWED, []),
        "9": (ReviewState.UNREVIEWED, []),
        "10": (ReviewState.UNREVIEWED, []),
        "12": (ReviewState.APPROVED, [140214]),
    }
    first = terms["1"]
    assert (first.reviewer, first.decided_at, first.action) == ("Eve", moment, Action.IMPORT)
    assert (first.verdict.equivalence, first.verdict.comment) == (Equivalence.EQUAL, "sure")
    assert terms["2"].verdict.targets[1] == Target(8840, "MAPS_TO_VALUE")
    assert terms["3"].verdict.equivalence is Equivalence.UNMATCHED
    assert [terms[code].source_state for code in "678"] == ["UNCHECKED", "AUTO_MAPPED_TO_1", "APPROVED"]
    assert terms["6"].assigned_to == "Bob"
    assert terms["9"].verdict.comment == "look again"
    assert terms["12"].reviewer == "Ada", "nobody is named, so it is who brought the file"
    assert list(found(engine, project).reading.problems) == [
        "line 12: its decision is not used: a mapping type is one of MAPS_TO, MAPS_TO_VALUE, MAPS_TO_UNIT, "
        "MAPS_TO_OPERATOR, MAPS_TO_TYPE, MAPS_TO_NUMBER; found 'MAPS_TO_MOON'",
        "line 13: a mappingStatus that Usagi does not know",
        "line 14: its equivalence is none of Usagi's and is not used",
    ]
    with session_scope(engine) as session:
        connection = driver_connection(session)
        (suggestion,) = read_suggestions(connection, project.project_id, [6]).values()
        remembered = connection.execute(
            "select source_name from omop_emb.mapping_memory where withdrawn_at is null order by source_name"
        ).fetchall()
        connection.execute("delete from omop_emb.mapping_memory")
    assert remembered == [("asthma",), ("glucose 5 mg",), ("rash",)], "what a person approved, for the rest"
    assert 317009 in [candidate.concept_id for candidate in suggestion.mapped.candidates]


def test_maps_own_output_gives_its_terms_and_what_its_column_reviewed_says(
    engine: sqlalchemy.Engine, finder: ConceptFinder, begin: Callable[..., Project]
) -> None:
    header = (
        "source_code,source_name,source_frequency,line,reviewed,decision,reason,probability,concept_id,"
        "concept_name,domain_id,matched_text,targets,ward"
    )
    project = begin(
        "mapped.csv",
        f"{header}\n"
        "A1,asthma,12,2,approve,review,x,0.9,317009,Asthma,Condition,asthma,317009,east\n"
        "A2,cough,3,3,,review,x,0.9,254761,Cough,Condition,cough,254761,east\n"
        "A3,nothing,3,4,no match,review,x,0.9,254761,Cough,Condition,cough,254761,east\n"
        "A4,fever,3,5,flagged,review,x,0.9,437663,Fever,Condition,fever,437663,east\n"
        "A5,pain,3,6,reject,review,x,0.9,4329041,Pain,Condition,pain,4329041,east\n"
        "A6,rash,3,7,bananas,review,x,0.9,4329041,Pain,Condition,pain,4329041,east\n",
    )
    terms = imported(engine, finder, project)
    assert [(one.source_code, one.verdict.state.value, one.source_state) for one in terms] == [
        ("A1", "approved", "approve"),
        ("A2", "unreviewed", ""),
        ("A3", "no match", "no match"),
        ("A4", "flagged", "flagged"),
        ("A5", "unreviewed", "reject"),
        ("A6", "unreviewed", "bananas"),
    ]
    assert [target.concept_id for target in terms[0].verdict.targets] == [317009]
    assert (terms[0].reviewer, terms[0].action) == ("Ada", Action.IMPORT)
    with session_scope(engine) as session:
        (first, *_) = read_terms(driver_connection(session), project.project_id)
    assert first.term.extra == {"ward": "east"}
    assert first.term.domain is None, "domain_id is the candidate's"
    assert list(found(engine, project).reading.problems) == [
        "line 7: 'reviewed' says neither approve nor no match"
    ]


@pytest.mark.parametrize("suffix", ["xlsx", "parquet"])
def test_a_reviewed_workbook_gives_the_targets_of_all_rows_of_a_term(
    engine: sqlalchemy.Engine,
    finder: ConceptFinder,
    begin: Callable[..., Project],
    suffix: str,
    tmp_path: Path,
) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "local name": ["asthma", "asthma", "cough"],
            "concept_id": ["317009", "254761", "254761"],
            "approved": ["yes", "yes", ""],
            "comment": ["two of them", "", ""],
        }
    )
    path = tmp_path / f"made.{suffix}"
    frame.to_excel(path, index=False) if suffix == "xlsx" else frame.to_parquet(path)
    project = begin(f"reviewed.{suffix}", path.read_bytes())
    terms = imported(engine, finder, project)
    assert [(one.source_name, one.verdict.state.value) for one in terms] == [
        ("asthma", "approved"),
        ("cough", "unreviewed"),
    ]
    assert [target.concept_id for target in terms[0].verdict.targets] == [317009, 254761]
    assert terms[0].verdict.comment == "two of them"


def test_odd_texts_and_values_cost_no_import(
    engine: sqlalchemy.Engine, finder: ConceptFinder, begin: Callable[..., Project]
) -> None:
    long = "asthma " * 5_000
    project = begin(
        "odd.tsv", f"name\tdomain\tnote\nasthma\tNo such domain\tx\n{long}\tCondition\ty\n++\tCondition\tz\n"
    )
    terms = imported(engine, finder, project)
    assert len(terms) == 3
    assert terms[0].concept_id == 317009, "a domain that does not exist is left out"
    assert terms[1].source_name == long.strip()


def test_a_file_that_cannot_be_read_or_has_no_terms_begins_no_review(
    engine: sqlalchemy.Engine, begin: Callable[..., Project], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is empty"):
        begin("empty.csv", "")
    with pytest.raises(InputError, match="has no terms: line 2: no term in 'name'"):
        begin("blank.csv", "code,name\nA1,\n")
    with pytest.raises(InputError, match="is a PDF"):
        begin("terms.csv", b"%PDF-1.4 something")
    with session_scope(engine) as session:
        assert list_projects(driver_connection(session)) == []


def test_a_review_takes_the_files_name_and_a_number_if_it_is_taken(
    engine: sqlalchemy.Engine, begin: Callable[..., Project], tmp_path: Path
) -> None:
    first, second = begin("terms.csv", "name\nasthma\n"), begin("terms.csv", "name\ncough\n")
    assert (first.name, second.name) == ("terms", "terms (2)")
    with pytest.raises(InputError, match="there is a review named 'terms' already"):
        begin_review(engine, tmp_path / "terms.csv", name="terms", created_by="Ada")
    assert same_file(engine, tmp_path / "terms.csv") == second
    assert same_file(engine, tmp_path / "terms.csv", site="north") is None, "with a memory of its own"


def test_a_preview_shows_rows_and_what_the_columns_are(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"code;term;n\nA1;asthma;3\n")
    with path.open("rb") as handle:
        preview = preview_file("terms.csv", content=handle)
    assert preview.headers == ["code", "term", "n"]
    assert preview.roles == {"term": ["term"], "code": ["code"], "frequency": ["n"]}
    assert preview.rows == [["A1", "asthma", "3"]]
    assert preview.lines[0].startswith("terms.csv: CSV or TSV, encoding")
    assert (preview.decided_by, preview.problem) == ("", "")
    path.write_bytes(b"x;y\nA1;asthma\n")
    unclear = preview_file(path)
    assert (unclear.headers, unclear.rows) == (["x", "y"], [["A1", "asthma"]])
    assert unclear.problem.startswith("no column of terms is recognised")
    assert preview_file(path, ReadOptions(columns=Columns(names=("y",)))).problem == ""


def many_rows(count: int) -> str:
    """A file of Usagi in which every tenth term is approved."""
    rows = (
        usagi_row(
            f"C{number}",
            f"asthma of kind {number}",
            "APPROVED" if number % 10 == 0 else "UNCHECKED",
            conceptId="317009" if number % 10 == 0 else "0",
            statusSetBy="Eve" if number % 10 == 0 else "",
        )
        for number in range(1, count + 1)
    )
    return "\n".join([USAGI_HEADER, *rows]) + "\n"


_IMPORT = """
import sys
from omop_emb.database.engine import database_engine
from omop_emb.service import ConceptFinder
from omop_emb.service.review.imports import import_job
import_job._READ_TERMS, import_job._FIRST_MAPPED, import_job._MAPPED = 100, 20, 20
engine = database_engine(sys.argv[1])
import_job.import_review(engine, int(sys.argv[2]), ConceptFinder(engine))
"""


def test_an_import_that_is_killed_at_any_moment_continues_and_doubles_nothing(
    engine: sqlalchemy.Engine,
    finder: ConceptFinder,
    database_url: str,
    begin: Callable[..., Project],
) -> None:
    total = 400
    project = begin("many.csv", many_rows(total))

    def progress() -> tuple[int, int]:
        with session_scope(engine) as session:
            connection = driver_connection(session)
            now = import_progress(connection, find_project(connection, project.project_id))
            return now.read, now.mapped

    for least in ((1, 0), (total, 30)):
        with subprocess.Popen([sys.executable, "-c", _IMPORT, database_url, str(project.project_id)]) as job:
            while progress() < least and job.poll() is None:
                time.sleep(0.005)
            job.send_signal(signal.SIGKILL)
        assert progress() >= least
        assert found(engine, project).ready_at is None
    assert import_review(engine, project.project_id, finder)
    with session_scope(engine) as session:
        connection = driver_connection(session)
        terms = current_terms(connection, project.project_id)
        decisions = connection.execute(
            "select count(*), max(version) from omop_emb.review_decision where project_id = %s",
            (project.project_id,),
        ).fetchone()
    assert [one.source_code for one in terms] == [f"C{number}" for number in range(1, total + 1)]
    assert [one.revision for one in terms] == [1] * total
    assert decisions == (total // 10, 1)


def test_two_that_import_the_same_review_do_not_both(
    engine: sqlalchemy.Engine, finder: ConceptFinder, begin: Callable[..., Project]
) -> None:
    project = begin("two.csv", many_rows(300))
    results: list[bool] = []

    def work() -> None:
        results.append(import_review(engine, project.project_id, finder))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert True in results
    assert found(engine, project).ready_at is not None
    with session_scope(engine) as session:
        assert len(current_terms(driver_connection(session), project.project_id)) == 300


def test_a_review_that_is_deleted_meanwhile_ends_its_import(
    engine: sqlalchemy.Engine, finder: ConceptFinder, begin: Callable[..., Project]
) -> None:
    project = begin("gone.csv", many_rows(2_000))
    results: list[bool] = []
    thread = threading.Thread(
        target=lambda: results.append(import_review(engine, project.project_id, finder))
    )
    thread.start()
    time.sleep(0.3)
    with session_scope(engine) as session:
        delete_project(driver_connection(session), project.project_id)
    thread.join()
    assert results == [False]
    with session_scope(engine) as session:
        assert unfinished_reviews(driver_connection(session)) == []


def test_the_runner_imports_what_is_unfinished_and_says_why_if_it_cannot(
    engine: sqlalchemy.Engine, finder: ConceptFinder, begin: Callable[..., Project]
) -> None:
    project = begin("waiting.csv", "name\nasthma\n")
    with session_scope(engine) as session:
        active = (
            driver_connection(session)
            .execute("update omop_emb.space set is_active = false where is_active returning space_id")
            .fetchone()
        )
    runner = ImportRunner(engine, finder, site="default")
    runner.start()
    try:
        deadline = time.monotonic() + 60
        while not found(engine, project).reading.failure and time.monotonic() < deadline:
            time.sleep(0.05)
        failed = found(engine, project)
        assert "omop-emb index" in failed.reading.failure
        assert failed.terms == 1, "terms are there without suggestions"
        with session_scope(engine) as session:
            driver_connection(session).execute(
                "update omop_emb.space set is_active = true where space_id = %s", active
            )
        runner.wake(project.project_id)
        while found(engine, project).ready_at is None and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        runner.close()
    assert found(engine, project).ready_at is not None
    assert found(engine, project).reading.failure == ""


def test_twenty_thousand_terms_are_read_in_seconds_and_listed_at_once(
    engine: sqlalchemy.Engine, begin: Callable[..., Project]
) -> None:
    project = begin("large.csv", many_rows(20_000))

    class Stopping(threading.Event):
        """Stops when all terms are read."""

        def is_set(self) -> bool:
            return found(engine, project).read_at is not None

    began = time.monotonic()
    with ConceptFinder(engine) as unused:
        assert not import_review(engine, project.project_id, unused, Stopping())
        assert unused.times_read == 0
    assert time.monotonic() - began < 60
    began = time.monotonic()
    assert found(engine, project).terms == 20_000
    assert time.monotonic() - began < 0.2
