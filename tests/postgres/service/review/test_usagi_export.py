"""Reviews as files for Usagi: what nobody changed is as it was, and Usagi's reader takes the rest."""

from __future__ import annotations

import io
from typing import Any

import psycopg
import pytest
import sqlalchemy

from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.decision_records import MAPPING_TYPES, Action, Equivalence
from omop_emb.service.review.decision_store import undo
from omop_emb.service.review.exports.export_format import ExportReport
from omop_emb.service.review.exports.usagi_export import UsagiExport
from omop_emb.service.review.project_records import ReviewTerm
from omop_emb.service.review.project_store import read_terms, store_terms
from tests.postgres.service.review.review_samples import (
    ASTHMA,
    DIABETES,
    HYPERTENSION,
    decided,
    make_review,
    suggest,
    verdict,
)
from tests.usagi_reader import EQUIVALENCES, STATUSES, TYPES, read_usagi

HEADER = (
    "sourceCode,sourceName,sourceFrequency,sourceAutoAssignedConceptIds,ADD_INFO:ward,matchScore,mappingStatus,"
    "equivalence,statusSetBy,statusSetOn,conceptId,conceptName,domainId,mappingType,comment,createdBy,createdOn,"
    "assignedReviewer\n"
)


def row(code: str, status: str = "UNCHECKED", concept: int = ASTHMA, **changed: Any) -> str:
    """A row as Usagi writes it."""
    decided_by = ("Eve", "1600000000000") if status in ("APPROVED", "FLAGGED", "IGNORED") else ("", "0")
    cells = {
        "code": code,
        "name": f"name of {code}",
        "frequency": "12",
        "auto": "",
        "ward": "W1",
        "score": "0.81",
        "status": status,
        "equivalence": "UNREVIEWED",
        "set_by": decided_by[0],
        "set_on": decided_by[1],
        "concept": str(concept),
        "concept_name": "Asthma" if concept else "Unmapped",
        "domain": "Condition" if concept else "",
        "type": "MAPS_TO",
        "comment": "",
        "created_by": "<auto>" if concept else "",
        "created_on": "1500000000000" if concept else "0",
        "assigned": "",
    }
    return ",".join({**cells, **changed}.values()) + "\n"


def export(engine: sqlalchemy.Engine, project_id: int) -> tuple[bytes, ExportReport]:
    out = io.BytesIO()
    report = UsagiExport().write(engine, project_id, {}, out)
    return out.getvalue(), report


ALL_STATES = (HEADER + "".join(row(f"C{place}", status) for place, status in enumerate(STATUSES))).encode()


def test_a_file_that_nobody_has_touched_comes_out_as_it_came_in(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection
) -> None:
    content, report = export(review_engine, make_review(reviews, ALL_STATES))
    assert content == ALL_STATES
    assert (report.rows, report.left_out) == (len(STATUSES), ())
    assert "7 of 7 rows are as they were in the file" in report.notes


@pytest.mark.parametrize(
    ("said", "status", "concepts"),
    [
        (verdict("approved", HYPERTENSION), "APPROVED", [HYPERTENSION]),
        (verdict("no match", equivalence=Equivalence.UNMATCHED), "APPROVED", []),
        (verdict("flagged", HYPERTENSION), "FLAGGED", [HYPERTENSION]),
        (verdict("flagged", comment="ask"), "FLAGGED", [ASTHMA]),
        (verdict("ignored"), "IGNORED", [ASTHMA]),
    ],
)
@pytest.mark.parametrize("before", STATUSES)
def test_a_decision_changes_the_rows_of_its_term_and_no_byte_of_another(
    review_engine: sqlalchemy.Engine,
    reviews: psycopg.Connection,
    said: Any,
    status: str,
    concepts: list[int],
    before: str,
) -> None:
    content = (HEADER + row("A") + row("B", before) + row("C", "APPROVED")).encode()
    project_id = make_review(reviews, content)
    stored = decided(reviews, project_id, 2, said).stored
    written, report = export(review_engine, project_id)
    lines = written.decode().splitlines(keepends=True)
    assert lines[:2] == [HEADER, row("A")]
    assert lines[-1] == row("C", "APPROVED")
    mapping = read_usagi(written)[1]
    assert (mapping.status, [one.concept_id for one in mapping.targets]) == (status, concepts)
    assert mapping.equivalence == said.equivalence.value
    assert stored is not None
    assert (mapping.status_set_by, mapping.status_set_on) == (
        "Ada",
        round(stored.decided_at.timestamp() * 1000),
    )
    assert report.rows == 3


def test_targets_that_were_there_keep_who_made_them_and_new_ones_say_who_chose_them(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection
) -> None:
    project_id = make_review(reviews, (HEADER + row("A") + row("B")).encode())
    both = verdict("approved", HYPERTENSION, ASTHMA, (DIABETES, "MAPS_TO_VALUE"), comment='"a", b\nc')
    decided(reviews, project_id, 1, both)
    written, _ = export(review_engine, project_id)
    first, second = read_usagi(written)
    assert [(one.concept_id, one.mapping_type, one.created_by) for one in first.targets] == [
        (HYPERTENSION, "MAPS_TO", "Ada"),
        (ASTHMA, "MAPS_TO", "<auto>"),
        (DIABETES, "MAPS_TO_VALUE", "Ada"),
    ]
    assert first.targets[1].created_on == 1500000000000
    assert first.comment == '"a", b\\nc'  # Usagi leaves line breaks as they are written
    assert (first.frequency, first.additional, first.score) == (12, {"ward": "W1"}, 0.81)
    assert b"Hypertensive disorder,Condition,MAPS_TO" in written
    assert second.status == "UNCHECKED"


def test_a_decision_equal_to_what_the_file_says_changes_nothing(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection
) -> None:
    content = (
        HEADER
        + row("A", "APPROVED", equivalence="EQUAL", comment="why")
        + row("B", "APPROVED", 0, equivalence="UNMATCHED")
        + row("C", "FLAGGED")
        + row("D", "IGNORED", 0)
    ).encode()
    project_id = make_review(reviews, content)
    decided(reviews, project_id, 1, verdict("approved", ASTHMA, equivalence=Equivalence.EQUAL))
    decided(reviews, project_id, 2, verdict("no match", equivalence=Equivalence.UNMATCHED))
    decided(reviews, project_id, 3, verdict("flagged", equivalence=Equivalence.UNREVIEWED))
    decided(reviews, project_id, 4, verdict("ignored", equivalence=Equivalence.UNREVIEWED))
    assert export(review_engine, project_id)[0] == content


def test_what_a_program_approved_gets_the_name_of_the_person_who_approves_it(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection
) -> None:
    content = (HEADER + row("A", "APPROVED", equivalence="EQUAL", set_by="omop-emb")).encode()
    project_id = make_review(reviews, content)
    decided(reviews, project_id, 1, verdict("approved", ASTHMA, equivalence=Equivalence.EQUAL))
    (mapping,) = read_usagi(export(review_engine, project_id)[0])
    assert (mapping.status_set_by, mapping.targets[0].created_by) == ("Ada", "<auto>")


def test_an_undone_decision_leaves_no_trace_and_an_opened_term_is_unchecked_again(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection
) -> None:
    content = (HEADER + row("A") + row("B", "APPROVED") + row("C", "APPROVED", comment="x")).encode()
    project_id = make_review(reviews, content)
    for position in (1, 2):
        decided(reviews, project_id, position, verdict("approved", HYPERTENSION))
    for _ in range(2):
        undo(reviews, project_id, "Ada")
    assert export(review_engine, project_id)[0] == content
    imported = verdict("approved", ASTHMA, equivalence=Equivalence.UNREVIEWED, comment="x")
    decided(reviews, project_id, 3, imported, reviewer="Eve", action=Action.IMPORT)
    decided(reviews, project_id, 3, verdict("unreviewed"), version=1)
    *_, last = read_usagi(export(review_engine, project_id)[0])
    assert (last.status, last.equivalence, last.status_set_by, last.status_set_on) == (
        "UNCHECKED",
        "UNREVIEWED",
        "",
        0,
    )
    assert (last.comment, [one.concept_id for one in last.targets]) == ("x", [ASTHMA])


def test_who_is_to_review_a_term_is_in_the_file(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection
) -> None:
    project_id = make_review(reviews, (HEADER + row("A") + row("B")).encode())
    reviews.execute(
        "insert into omop_emb.review_assignment (project_id, position, reviewer, assigned_by) "
        "values (%s, 2, 'Bob', 'Ada')",
        (project_id,),
    )
    written = export(review_engine, project_id)[0]
    assert [one.assigned_reviewer for one in read_usagi(written)] == ["", "Bob"]
    assert row("A").encode() in written


def test_an_old_file_keeps_its_columns_and_names_of_mapping_types(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection
) -> None:
    header = (
        "sourceCode,sourceName,sourceFrequency,sourceAutoAssignedConceptIds,matchScore,mappingStatus,"
        "conceptId,mappingType\r\n"
    )
    content = (header + "A,a,1,,0.5,UNCHECKED,317009,EVENT\r\nB,b,1,,0.5,UNCHECKED,317009,EVENT\r\n").encode()
    project_id = make_review(reviews, content)
    decided(reviews, project_id, 2, verdict("approved", HYPERTENSION, (DIABETES, "MAPS_TO_VALUE")))
    written, report = export(review_engine, project_id)
    assert written.decode().splitlines(keepends=True) == [
        header,
        "A,a,1,,0.5,UNCHECKED,317009,EVENT\r\n",
        f"B,b,1,,0.5,APPROVED,{HYPERTENSION},EVENT\r\n",
        f"B,b,1,,0.5,APPROVED,{DIABETES},VALUE\r\n",
    ]
    assert any("no column equivalence, statusSetBy" in note for note in report.notes)
    assert [one.targets[-1].mapping_type for one in read_usagi(written)] == ["MAPS_TO", "MAPS_TO_VALUE"]


def test_what_an_old_file_cannot_say_is_reported_and_left(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection
) -> None:
    header = (
        "sourceCode,sourceName,sourceFrequency,sourceAutoAssignedConceptIds,matchScore,mappingStatus,"
        "conceptId\n"
    )
    content = (header + "A,a,1,,0.5,UNCHECKED,317009\n").encode()
    project_id = make_review(reviews, content)
    decided(reviews, project_id, 1, verdict("approved", HYPERTENSION, (DIABETES, "MAPS_TO_VALUE")))
    written, report = export(review_engine, project_id)
    assert written == content
    (left,) = report.left_out
    assert (left.count, left.examples) == (1, ("A",))


def test_bad_rows_and_blank_lines_stay_where_they_are(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection
) -> None:
    content = (HEADER + row("A") + "one,two\n\n" + row("B", "DONE") + row("C")).encode()
    project_id = make_review(reviews, content)
    decided(reviews, project_id, 2, verdict("ignored"))
    written = export(review_engine, project_id)[0].decode()
    assert written.startswith(HEADER + row("A") + "one,two\n\n" + row("B", "DONE") + "C,name of C")
    assert "IGNORED" in written.splitlines()[-1]


@pytest.mark.parametrize("mapping_type", MAPPING_TYPES)
@pytest.mark.parametrize("equivalence", Equivalence)
def test_every_mapping_type_and_equivalence_is_one_that_usagi_knows(
    review_engine: sqlalchemy.Engine,
    reviews: psycopg.Connection,
    mapping_type: str,
    equivalence: Equivalence,
) -> None:
    assert list(MAPPING_TYPES) == TYPES
    assert {one.value for one in Equivalence} == set(EQUIVALENCES)
    project_id = make_review(reviews, b"code,name,ward\n1,asthma,w\n")
    said = verdict("approved", ASTHMA, (DIABETES, mapping_type), equivalence=equivalence)
    decided(reviews, project_id, 1, said)
    (mapping,) = read_usagi(export(review_engine, project_id)[0])
    assert [one.mapping_type for one in mapping.targets] == ["MAPS_TO", mapping_type]
    assert mapping.equivalence == equivalence.value


def test_a_new_file_has_every_term_with_the_columns_of_its_source(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection
) -> None:
    content = (
        'name,code,ward,n,bed\n"HTN, ""old""",007,w1,3,b\nasthma,2,w2,,\nçough,3,w3,9,\nx,4,,,\n'.encode()
    )
    project_id = make_review(reviews, content)
    terms = read_terms(reviews, project_id)
    for one in terms[:3]:
        suggest(reviews, project_id, one.position, one.term, (HYPERTENSION, "HTN"), (ASTHMA, "Asthma"))
    decided(reviews, project_id, 1, verdict("approved", ASTHMA))
    decided(reviews, project_id, 2, verdict("no match"))
    written, report = export(review_engine, project_id)
    mappings = read_usagi(written)
    assert [(one.code, one.name, one.frequency, one.status) for one in mappings] == [
        ("007", 'HTN, "old"', 3, "APPROVED"),
        ("2", "asthma", -1, "APPROVED"),
        ("3", "çough", 9, "UNCHECKED"),
        ("4", "x", -1, "UNCHECKED"),
    ]
    assert [[target.concept_id for target in one.targets] for one in mappings] == [
        [ASTHMA],
        [],
        [HYPERTENSION],
        [],
    ]
    assert mappings[0].additional == {
        "ward": "w1",
        "bed": "b",
        "review position": "1",
        "review version": "1",
        "other candidates": f"{ASTHMA} Asthma",
    }
    assert mappings[2].targets[0].created_by == "omop-emb"
    assert mappings[2].score == 0.75
    assert (report.rows, report.left_out) == (4, ())


def test_terms_that_usagi_would_merge_are_reported(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection
) -> None:
    project_id = make_review(reviews, b"code,name\n1,a\n1,a\n2,b\n1,a\n")
    written, report = export(review_engine, project_id)
    assert [one.code for one in read_usagi(written)] == ["1", "2", "1"]
    (left,) = report.left_out
    assert (left.count, left.examples) == (1, ("1",))
    assert "merge" in left.reason


def test_hostile_text_stays_in_its_cell(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection
) -> None:
    names = ['a\\"b', "\\", '"', 'x,"', "\\n", "a\\", '""', "tab\there", ",", '\\",']
    project_id = make_review(reviews, b"name\nplaceholder\n")
    reviews.execute("delete from omop_emb.review_term")
    for position, name in enumerate(names, start=1):
        _add_term(reviews, project_id, position, SourceTerm(name=name, code=name, extra={name: name}))
    decided(reviews, project_id, 1, verdict("approved", ASTHMA, comment=" ".join(names)))
    mappings = read_usagi(export(review_engine, project_id)[0])
    assert [(one.code, one.name) for one in mappings] == [(name, name) for name in names]
    assert mappings[0].comment == " ".join(names)


def _add_term(connection: psycopg.Connection, project_id: int, position: int, term: SourceTerm) -> None:
    one = ReviewTerm(position=position, term=term, text_key=term.name, group_key=term.name)
    store_terms(connection, project_id, [one])
