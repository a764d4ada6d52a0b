"""Reviews as source_to_concept_map: what was approved and nothing else, and why the rest is not in it."""

from __future__ import annotations

import csv
import datetime
import io

import openpyxl
import psycopg
import pyarrow.parquet
import pytest
import sqlalchemy

from omop_emb.errors import DatabaseError, InputError
from omop_emb.service.review.exports.export_format import ExportReport
from omop_emb.service.review.exports.export_registry import find_export, parse_options
from omop_emb.service.review.exports.map_export import MAP_OPTIONS, fill_map_table
from tests.postgres.service.review.review_samples import (
    ASTHMA,
    DIABETES,
    HYPERTENSION,
    decided,
    make_review,
    verdict,
)

LONG = "x" * 51
CONTENT = f"""name,code
asthma,A
nothing,B
open,C
flagged,D
ignored,E
value only,F
gone,G
one name,H
other name,H
{LONG},{LONG}
with a value,I
twice,J
twice too,J
half,K
open half,K
ignored half,L
decided half,L
""".encode()
GONE = 999_999_999
HEADER = (
    "source_code,source_concept_id,source_vocabulary_id,source_code_description,target_concept_id,"
    "target_vocabulary_id,valid_start_date,valid_end_date,invalid_reason"
)


@pytest.fixture
def project_id(reviews: psycopg.Connection) -> int:
    """A review with a term for every reason to have a row, or to have none."""
    made = make_review(reviews, CONTENT)
    for position, said in {
        1: verdict("approved", ASTHMA),
        2: verdict("no match"),
        4: verdict("flagged", ASTHMA),
        5: verdict("ignored"),
        6: verdict("approved", (DIABETES, "MAPS_TO_VALUE")),
        7: verdict("approved", GONE),
        8: verdict("approved", ASTHMA),
        9: verdict("approved", DIABETES),
        10: verdict("approved", ASTHMA),
        11: verdict("approved", HYPERTENSION, ASTHMA, (DIABETES, "MAPS_TO_VALUE")),
        12: verdict("approved", ASTHMA),
        13: verdict("approved", ASTHMA),
        14: verdict("approved", ASTHMA),
        16: verdict("ignored"),
        17: verdict("approved", DIABETES),
    }.items():
        decided(reviews, made, position, said)
    return made


def export(
    engine: sqlalchemy.Engine, project_id: int, name: str = "source-to-concept-map", **given: str
) -> ExportReport:
    found = find_export(name)
    options = parse_options(found, {"source_vocabulary_id": "North", **given})
    return found.write(engine, project_id, options, io.BytesIO())


def rows_of(engine: sqlalchemy.Engine, project_id: int, **given: str) -> list[dict[str, str]]:
    out, found = io.BytesIO(), find_export("source-to-concept-map")
    found.write(engine, project_id, parse_options(found, {"source_vocabulary_id": "North", **given}), out)
    return list(csv.DictReader(io.StringIO(out.getvalue().decode(), newline="")))


def test_only_what_was_approved_is_in_the_map(review_engine: sqlalchemy.Engine, project_id: int) -> None:
    rows = rows_of(review_engine, project_id)
    assert ",".join(rows[0]) == HEADER
    assert [(row["source_code"], int(row["target_concept_id"])) for row in rows] == [
        ("A", ASTHMA),
        ("B", 0),
        ("I", HYPERTENSION),
        ("I", ASTHMA),
        ("J", ASTHMA),
        ("L", DIABETES),
    ]
    assert rows[0] == {
        "source_code": "A",
        "source_concept_id": "0",
        "source_vocabulary_id": "North",
        "source_code_description": "asthma",
        "target_concept_id": str(ASTHMA),
        "target_vocabulary_id": "SNOMED",
        "valid_start_date": "1970-01-01",
        "valid_end_date": "2099-12-31",
        "invalid_reason": "",
    }
    assert rows[1]["target_vocabulary_id"] == "None"


def test_the_report_says_why_each_other_term_has_no_row(
    review_engine: sqlalchemy.Engine, project_id: int
) -> None:
    report = export(review_engine, project_id)
    assert report.rows == 6
    left = {one.reason: (one.count, list(one.examples)) for one in report.left_out}
    assert left == {
        "another term with its code has other targets, or is not decided": (3, ["H", "H", "K"]),
        "not reviewed": (2, ["C", "K"]),
        "ignored": (2, ["E", "L"]),
        "flagged": (1, ["D"]),
        "only values, units …, for which the table has no column": (1, ["F"]),
        "a target is no valid standard concept now": (
            1,
            [f"G: {GONE} is no longer in the vocabulary and nothing replaces it"],
        ),
        "the code is longer than 50 characters": (1, [LONG]),
    }
    # A, B, I, J twice and L have rows: all 17 terms are accounted for.
    assert sum(count for count, _ in left.values()) + 6 == 17
    assert "1 term with the code and targets of another share its rows" in report.notes
    assert any(note.startswith("2 values, units …") for note in report.notes)


def test_dates_and_key_are_options(review_engine: sqlalchemy.Engine, project_id: int) -> None:
    rows = rows_of(
        review_engine, project_id, key="code+name", valid_start_date="2026-01-01", valid_end_date="2026-12-31"
    )
    assert {row["valid_start_date"] for row in rows} == {"2026-01-01"}
    assert {row["valid_end_date"] for row in rows} == {"2026-12-31"}
    assert [row["source_code"] for row in rows if row["source_code"].startswith("H")] == [
        "H|one name",
        "H|other name",
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source_vocabulary_id": "a name of more than 20"}, "1 to 20 characters"),
        ({"source_vocabulary_id": ""}, "needs source_vocabulary_id"),
        ({"valid_start_date": "soon"}, "valid_start_date is a day such as 2026-01-31; found 'soon'"),
        ({"valid_start_date": "2200-01-01"}, "end .* before they begin"),
        ({"key": "name"}, "key must be one of code, code\\+name"),
    ],
)
def test_options_that_cannot_be_are_refused(
    review_engine: sqlalchemy.Engine, project_id: int, given: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export(review_engine, project_id, **given)


def test_each_kind_of_file_has_the_same_rows(review_engine: sqlalchemy.Engine, project_id: int) -> None:
    contents = {}
    for name in ("tsv", "parquet", "xlsx"):
        out, found = io.BytesIO(), find_export(f"source-to-concept-map-{name}")
        found.write(review_engine, project_id, parse_options(found, {"source_vocabulary_id": "North"}), out)
        contents[name] = out.getvalue()
    expected = [row["source_code"] for row in rows_of(review_engine, project_id)]
    tsv = list(csv.DictReader(io.StringIO(contents["tsv"].decode(), newline=""), delimiter="\t"))
    assert [row["source_code"] for row in tsv] == expected
    table = pyarrow.parquet.read_table(io.BytesIO(contents["parquet"])).to_pylist()
    assert [row["source_code"] for row in table] == expected
    assert table[0]["valid_start_date"] == datetime.date(1970, 1, 1)
    sheet = openpyxl.load_workbook(io.BytesIO(contents["xlsx"])).worksheets[0]
    assert [row[0].value for row in sheet.iter_rows(min_row=2)] == expected


def test_the_map_goes_straight_into_a_schema_and_replaces_the_codes_it_has(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection, project_id: int
) -> None:
    options = {one.name: one.default for one in MAP_OPTIONS} | {"source_vocabulary_id": "North"}
    report = fill_map_table(review_engine, project_id, options)
    assert (report.rows, len(report.left_out)) == (6, 7)
    reviews.execute(
        "insert into omop_emb.source_to_concept_map select 'old', 0, 'North', '', 0, 'None', "
        "'1970-01-01', '2099-12-31', null"
    )
    again = fill_map_table(review_engine, project_id, options)
    assert any("6 earlier rows of the same codes replaced in omop_emb" in note for note in again.notes)
    found = reviews.execute("select source_code from omop_emb.source_to_concept_map order by 1").fetchall()
    assert [code for (code,) in found] == ["A", "B", "I", "I", "J", "L", "old"]
    with pytest.raises(DatabaseError, match=r"no table nowhere\.source_to_concept_map"):
        fill_map_table(review_engine, project_id, options, schema="nowhere")
