"""Reviews as tables: every term with its decision and candidates, for people to fill."""

from __future__ import annotations

import csv
import io

import openpyxl
import psycopg
import pyarrow.parquet
import pytest
import sqlalchemy

from omop_emb.errors import InputError
from omop_emb.service.review.decision_records import Equivalence
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

CONTENT = b"name,code,ward,n,decision\nHTN,007,w1,3,yes\n\"=cmd|'/c calc'!A1\",2,+1,,\nasthma,3,w3,9,\n"


@pytest.fixture
def project_id(reviews: psycopg.Connection) -> int:
    """Three terms with two candidates each: one with two targets, one flagged, one open."""
    made = make_review(reviews, CONTENT)
    for one in read_terms(reviews, made):
        suggest(
            reviews, made, one.position, one.term, (HYPERTENSION, "Hypertensive disorder"), (ASTHMA, "Asthma")
        )
    said = verdict("approved", HYPERTENSION, (DIABETES, "MAPS_TO_VALUE"), comment="a\nb")
    decided(reviews, made, 1, said)
    decided(reviews, made, 2, verdict("flagged", ASTHMA, equivalence=Equivalence.WIDER, comment="=1+1"))
    return made


def export(engine: sqlalchemy.Engine, project_id: int, name: str, **options: str) -> bytes:
    out, found = io.BytesIO(), find_export(name)
    report = found.write(engine, project_id, parse_options(found, options), out)
    assert (report.rows, report.left_out) == (3, ())
    return out.getvalue()


@pytest.mark.parametrize(("name", "separator"), [("csv", ","), ("tsv", "\t")])
def test_each_term_has_its_columns_its_decision_and_its_candidates(
    review_engine: sqlalchemy.Engine, project_id: int, name: str, separator: str
) -> None:
    text = export(review_engine, project_id, name).decode()
    first, second, third = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    assert list(first)[:8] == [
        *("position", "source_code", "source_name", "source_frequency", "ward", "source:decision"),
        *("decision", "choice"),
    ]
    assert (first["source_code"], first["source_frequency"], first["source:decision"]) == ("007", "3", "yes")
    assert (first["decision"], first["choice"]) == ("approve", "")
    assert first["concept_ids"] == f"{HYPERTENSION}; {DIABETES}"
    assert first["concept_names"] == "Hypertensive disorder; Type 2 diabetes mellitus"
    assert (first["mapping_types"], first["comment"]) == ("maps to; maps to value", "a\nb")
    assert (first["equivalence"], first["reviewer"]) == ("the same meaning", "Ada")
    assert (second["decision"], second["choice"]) == ("flag", "2")
    assert second["equivalence"] == "the concept says more than the term"
    assert (third["decision"], third["concept_ids"], third["equivalence"]) == ("", "", "")
    assert third["candidate_1"] == f"{HYPERTENSION} Hypertensive disorder (Condition, 0.75)"
    assert (third["candidate_3"], third["probability"], third["review_version"]) == ("", "0.75", "0")
    assert (second["source_name"], second["comment"]) == ("'=cmd|'/c calc'!A1", "'=1+1")
    assert set(second["apostrophe_before"].split(", ")) == {"source_name", "ward", "comment"}


def test_parquet_has_texts_as_they_are(review_engine: sqlalchemy.Engine, project_id: int) -> None:
    table = pyarrow.parquet.read_table(io.BytesIO(export(review_engine, project_id, "parquet")))
    rows = table.to_pylist()
    assert [row["source_name"] for row in rows] == ["HTN", "=cmd|'/c calc'!A1", "asthma"]
    assert [row["choice"] for row in rows] == [None, 2, None]


def test_a_workbook_offers_what_can_be_chosen_and_holds_no_formula(
    review_engine: sqlalchemy.Engine, project_id: int
) -> None:
    content = export(review_engine, project_id, "xlsx", candidates="3")
    sheet = openpyxl.load_workbook(io.BytesIO(content)).worksheets[0]
    headers = [cell.value for cell in sheet[1]]
    letters = {cell.value: cell.column_letter for cell in sheet[1]}
    assert headers[-1] == "review_version"
    assert [name for name in headers if str(name).startswith("candidate_")] == [
        *("candidate_1", "candidate_2", "candidate_3")
    ]
    assert sheet.freeze_panes == "D2"
    assert sheet.auto_filter.ref.startswith("A1:")
    assert sheet.column_dimensions[letters["review_version"]].hidden
    assert not sheet.column_dimensions[letters["decision"]].hidden
    assert sheet.column_dimensions[letters["source_name"]].width == 40
    offered = {str(one.sqref): one.formula1 for one in sheet.data_validations.dataValidation}
    assert offered == {
        f"{letters['decision']}2:{letters['decision']}4": '"approve,no match,flag,ignore"',
        f"{letters['choice']}2:{letters['choice']}4": '"1,2,3"',
        f"{letters['equivalence']}2:{letters['equivalence']}4": (
            '"the same words,the same meaning,the concept says more than the term,'
            'the concept says less than the term,they overlap,no concept fits"'
        ),
    }
    assert all(one.allow_blank and one.showErrorMessage for one in sheet.data_validations.dataValidation)
    assert all(len(formula) <= 257 for formula in offered.values())  # Excel's limit, with the quotes
    cells = [cell for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} <= {"s", "n"}
    name = sheet[f"{letters['source_name']}3"]
    assert (name.value, name.data_type, name.quotePrefix) == ("=cmd|'/c calc'!A1", "s", True)


@pytest.mark.parametrize("candidates", ["0", "21", "many", "-1"])
def test_a_number_of_candidates_that_cannot_be_is_refused(
    review_engine: sqlalchemy.Engine, project_id: int, candidates: str
) -> None:
    with pytest.raises(InputError, match="candidates is a number from 1 to 20"):
        export(review_engine, project_id, "csv", candidates=candidates)
