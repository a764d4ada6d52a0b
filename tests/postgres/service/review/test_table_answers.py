"""Tables of a review, filled by people and read back: what they changed is decided, and nothing else."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import psycopg
import pyarrow
import pyarrow.parquet
import pytest
import sqlalchemy

from omop_emb.errors import InputError
from omop_emb.service.review.answers import ReadBackReport, read_back
from omop_emb.service.review.decision_records import Action, Equivalence, ReviewState, Target, Verdict
from omop_emb.service.review.decision_store import histories, history
from omop_emb.service.review.exports.export_registry import find_export, parse_options
from omop_emb.service.review.project_store import read_terms
from tests.postgres.service.review.review_samples import (
    ASTHMA,
    DIABETES,
    HYPERTENSION,
    decided,
    make_review,
    suggest,
    verdict,
)

NAMES = ("HTN", "asthma", "=1+1", "DM", "none", "old")
CONTENT = ("name,code\n" + "".join(f"{name},00{n}\n" for n, name in enumerate(NAMES, start=1))).encode()
Edit = Callable[[list[dict[str, Any]]], object]


@pytest.fixture
def project_id(reviews: psycopg.Connection) -> int:
    """Six terms, all but "none" with two candidates; "old" is approved, with a comment."""
    made = make_review(reviews, CONTENT)
    for one in read_terms(reviews, made):
        if one.term.name != "none":
            found = (HYPERTENSION, "Hypertensive disorder"), (ASTHMA, "Asthma")
            suggest(reviews, made, one.position, one.term, *found)
    decided(reviews, made, 6, verdict("approved", ASTHMA, (DIABETES, "MAPS_TO_VALUE"), comment="why"))
    return made


def exported(engine: sqlalchemy.Engine, project_id: int, folder: Path, name: str = "csv") -> Path:
    found = find_export(name)
    path = folder / f"filled{found.suffix}"
    with path.open("wb") as out:
        found.write(engine, project_id, parse_options(found, {}), out)
    return path


def fill(path: Path, edit: Edit) -> None:
    """Change the rows of a file as a person would, in the program for it."""
    if path.suffix == ".xlsx":
        book = openpyxl.load_workbook(path)
        sheet = book.worksheets[0]
        headers = [cell.value for cell in sheet[1]]
        rows = [
            dict(zip(headers, values, strict=True)) for values in sheet.iter_rows(min_row=2, values_only=True)
        ]
        edit(rows)
        sheet.delete_rows(2, sheet.max_row)
        for number, row in enumerate(rows, start=2):
            for column, header in enumerate(headers, start=1):
                cell = sheet.cell(number, column, row[header])
                if isinstance(row[header], str):
                    cell.data_type = "s"
        book.save(path)
    elif path.suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
        rows = table.to_pylist()
        edit(rows)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=table.schema), path)
    else:
        separator = "\t" if path.suffix == ".tsv" else ","
        rows = list(csv.DictReader(io.StringIO(path.read_text(), newline=""), delimiter=separator))
        headers = list(rows[0])
        edit(rows)
        with path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, headers, delimiter=separator)
            writer.writeheader()
            writer.writerows(rows)


def by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["source_name"].lstrip("'"): row for row in rows}


def decide_all(rows: list[dict[str, Any]]) -> None:
    """What a person decides, in another order than the rows were written in."""
    named = by_name(rows)
    named["HTN"] |= {"decision": "approve"}
    named["asthma"] |= {"decision": "Approved", "choice": 2, "equivalence": "the same words"}
    named["=1+1"] |= {"decision": "flag", "comment": "=what?"}
    named["DM"] |= {"concept_ids": str(DIABETES)}
    named["none"] |= {"decision": "no match"}
    named["old"] |= {"decision": "ignore"}
    rows.reverse()


@pytest.mark.parametrize("name", ["xlsx", "csv", "tsv", "parquet"])
def test_what_people_filled_in_is_decided(
    review_engine: sqlalchemy.Engine,
    reviews: psycopg.Connection,
    project_id: int,
    tmp_path: Path,
    name: str,
) -> None:
    path = exported(review_engine, project_id, tmp_path, name)
    assert read_back(review_engine, project_id, path, "Bob") == ReadBackReport(
        rows=6, decided=0, unchanged=6, repeated=0
    )
    fill(path, decide_all)
    report = read_back(review_engine, project_id, path, "Bob")
    assert (report.rows, report.decided, report.problems, report.conflicts) == (6, 6, (), ())
    found = {position: past[-1] for position, past in histories(reviews, project_id, range(1, 7)).items()}
    assert {position: one.verdict for position, one in found.items()} == {
        1: Verdict(state=ReviewState.APPROVED, targets=(Target(HYPERTENSION),)),
        2: Verdict(state=ReviewState.APPROVED, targets=(Target(ASTHMA),), equivalence=Equivalence.EQUAL),
        3: Verdict(state=ReviewState.FLAGGED, comment="=what?"),
        4: Verdict(state=ReviewState.APPROVED, targets=(Target(DIABETES),)),
        5: Verdict(state=ReviewState.NO_MATCH, equivalence=Equivalence.UNMATCHED),
        6: Verdict(state=ReviewState.IGNORED, equivalence=Equivalence.EQUIVALENT, comment="why"),
    }
    assert {one.reviewer for one in found.values()} == {"Bob"}
    assert {one.action for one in found.values()} == {Action.IMPORT}
    assert [found[position].rank for position in range(1, 7)] == [1, 2, None, None, None, None]
    assert len({one.batch_id for one in found.values()}) == 1


def test_a_file_that_is_read_again_decides_nothing_twice(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection, project_id: int, tmp_path: Path
) -> None:
    path = exported(review_engine, project_id, tmp_path)
    fill(path, decide_all)
    read_back(review_engine, project_id, path, "Bob")
    again = read_back(review_engine, project_id, path, "Bob")
    assert (again.decided, again.repeated, again.conflicts) == (0, 6, ())
    assert len(history(reviews, project_id, 1)) == 1
    new = exported(review_engine, project_id, tmp_path)
    assert read_back(review_engine, project_id, new, "Bob").unchanged == 6


def test_what_somebody_else_decided_meanwhile_is_a_conflict_and_stays(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection, project_id: int, tmp_path: Path
) -> None:
    path = exported(review_engine, project_id, tmp_path)
    fill(path, decide_all)
    other = decided(reviews, project_id, 1, verdict("approved", ASTHMA), reviewer="Cleo").stored
    same = Equivalence.UNMATCHED
    decided(reviews, project_id, 5, verdict("no match", equivalence=same), reviewer="Cleo")
    report = read_back(review_engine, project_id, path, "Bob")
    (conflict,) = report.conflicts
    assert (conflict.position, conflict.source_name, conflict.source_code) == (1, "HTN", "001")
    assert conflict.current == other
    assert conflict.said.targets == (Target(HYPERTENSION),)
    assert (report.decided, report.unchanged, report.conflict_count) == (4, 1, 1)
    assert len(history(reviews, project_id, 1)) == 1


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"decision": "perhaps"}, "'decision' says neither approve, no match, flag nor ignore"),
        ({"decision": "rejected"}, "'decision' says neither approve, no match, flag nor ignore"),
        ({"decision": "approve", "choice": "7"}, "'choice' is not the number of a candidate"),
        ({"decision": "approve", "choice": "x"}, "'choice' is not the number of a candidate"),
        ({"decision": "approve", "concept_ids": "asthma"}, "'concept_ids' holds no concept ids"),
        ({"decision": "approve", "concept_ids": "0"}, "'concept_ids' holds no concept ids"),
        ({"decision": "approve", "concept_ids": "99999999999"}, "'concept_ids' holds no concept ids"),
        ({"decision": "approve", "concept_ids": "7"}, "the vocabulary has no concept 7"),
        (
            {"decision": "approve", "choice": "1", "concept_ids": str(DIABETES)},
            "'choice' and 'concept_ids' name different concepts",
        ),
        ({"decision": "no match", "concept_ids": str(DIABETES)}, "it says no match, and 'concept_ids'"),
        ({"decision": "approve", "mapping_types": "maps near"}, "'mapping_types' is none of maps to"),
        ({"decision": "approve", "mapping_types": "maps to; maps to"}, "has 2 types for 1 concept"),
        ({"decision": "approve", "equivalence": "wide"}, "'equivalence' is none of the words"),
        ({"position": "2"}, "its term is in the file twice"),
        ({"position": "77"}, "position 77 of the review is another term"),
        ({"position": ""}, "'position' or 'review_version' is no number"),
        ({"review_version": "9"}, "'review_version' is 9, and its term has been decided 0 times"),
        ({"source_name": "another"}, "position 1 of the review is another term"),
        ({"source_code": "5"}, "position 1 of the review is another term"),
        ({"comment": "x" * 10_001}, "a comment has at most 10,000 characters"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_costs_no_other(
    review_engine: sqlalchemy.Engine,
    reviews: psycopg.Connection,
    project_id: int,
    tmp_path: Path,
    cells: dict[str, str],
    reason: str,
) -> None:
    path = exported(review_engine, project_id, tmp_path)

    def edit(rows: list[dict[str, Any]]) -> None:
        rows[0] |= cells
        rows[3]["decision"] = "ignore"
        rows.append(rows.pop(0))

    fill(path, edit)
    report = read_back(review_engine, project_id, path, "Bob")
    (problem,) = report.problems
    assert reason in problem.reason
    assert problem.line == 7
    assert (report.decided, report.unchanged) == (1, 4)
    assert not history(reviews, project_id, 1)
    assert history(reviews, project_id, 4)[-1].verdict.state is ReviewState.IGNORED


def test_an_approved_row_without_a_candidate_needs_an_id(
    review_engine: sqlalchemy.Engine, project_id: int, tmp_path: Path
) -> None:
    path = exported(review_engine, project_id, tmp_path)
    fill(path, lambda rows: by_name(rows)["none"].update(decision="approve"))
    report = read_back(review_engine, project_id, path, "Bob")
    assert "there is no candidate: write an id in 'concept_ids'" in report.problems[0].reason


def test_several_targets_and_their_kinds_are_read(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection, project_id: int, tmp_path: Path
) -> None:
    path = exported(review_engine, project_id, tmp_path)

    def edit(rows: list[dict[str, Any]]) -> None:
        named = by_name(rows)
        ids = f"{ASTHMA}, {DIABETES}"
        named["HTN"] |= {"decision": "yes", "concept_ids": ids, "mapping_types": "maps to;MAPS_TO_UNIT"}
        named["asthma"] |= {"decision": "x", "concept_ids": f"{ASTHMA}.0"}
        named["old"] |= {"comment": "because"}

    fill(path, edit)
    assert read_back(review_engine, project_id, path, "Bob").decided == 3
    assert history(reviews, project_id, 1)[-1].verdict.targets == (
        Target(ASTHMA),
        Target(DIABETES, "MAPS_TO_UNIT"),
    )
    assert history(reviews, project_id, 2)[-1].verdict.targets == (Target(ASTHMA),)
    assert history(reviews, project_id, 6)[-1].verdict == verdict(
        "approved", ASTHMA, (DIABETES, "MAPS_TO_VALUE"), comment="because"
    )


def test_an_emptied_decision_opens_the_term_again(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection, project_id: int, tmp_path: Path
) -> None:
    path = exported(review_engine, project_id, tmp_path)
    fill(path, lambda rows: by_name(rows)["old"].update(decision=""))
    read_back(review_engine, project_id, path, "Bob")
    assert history(reviews, project_id, 6)[-1].verdict == Verdict(state=ReviewState.UNREVIEWED, comment="why")


def test_a_concept_that_is_not_standard_is_stored_and_said(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection, project_id: int, tmp_path: Path
) -> None:
    path = exported(review_engine, project_id, tmp_path)
    fill(path, lambda rows: by_name(rows)["none"].update(concept_ids="433644"))
    report = read_back(review_engine, project_id, path, "Bob")
    assert report.decided == 1
    assert "1 row names a concept that is not standard" in report.notes[0]


def test_another_program_may_have_taken_zeros_and_changed_the_separator(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection, project_id: int, tmp_path: Path
) -> None:
    path = exported(review_engine, project_id, tmp_path)
    rows = list(csv.DictReader(io.StringIO(path.read_text(), newline="")))
    for row in rows:
        row["source_code"] = row["source_code"].lstrip("0")
    rows[0] |= {"decision": "approve", "choice": "1.0"}
    rows[1] |= {"decision": "APPROVE "}
    with path.open("w", newline="", encoding="utf-8-sig") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter=";", lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
    report = read_back(review_engine, project_id, path, "Bob")
    assert (report.decided, report.problem_count) == (2, 0)
    assert history(reviews, project_id, 2)[-1].verdict.targets == (Target(HYPERTENSION),)


def test_a_file_of_another_review_or_of_none_is_refused_or_changes_nothing(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection, project_id: int, tmp_path: Path
) -> None:
    other = make_review(reviews, b"name,code\nfever,1\n", name="other")
    path = exported(review_engine, other, tmp_path)
    fill(path, lambda rows: rows[0].update(decision="ignore"))
    report = read_back(review_engine, project_id, path, "Bob")
    assert (report.decided, report.problem_count) == (0, 1)
    path.write_bytes(CONTENT)
    with pytest.raises(InputError, match="has no column position, review_version"):
        read_back(review_engine, project_id, path, "Bob")
    with pytest.raises(InputError, match="a reviewer's name"):
        read_back(review_engine, project_id, path, " ")
    assert reviews.execute("select count(*) from omop_emb.review_batch").fetchone() == (0,)
