"""SSSOM export: what sssom-py accepts, with each relation the right way round."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from omop_emb.database.engine import database_engine
from omop_emb.errors import InputError
from omop_emb.service.review.exports.export_format import ExportReport
from omop_emb.service.review.exports.export_registry import parse_options
from omop_emb.service.review.exports.sssom_export import SssomExport
from tests.conftest import NewDatabase, as_url
from tests.postgres.service.review.all_states import DecidedReview, decided_review

SSSOM = SssomExport()
ROOT = Path(__file__).parents[4]
SSSOM_PY = ROOT / ".venv/sssom/bin/sssom"
needs_sssom_py = pytest.mark.skipif(
    not SSSOM_PY.exists(), reason="sssom-py is not installed: make .venv/sssom.stamp"
)


@pytest.fixture(scope="module")
def review(
    server_conninfo: str,
    migrated_template: str,
    new_database: NewDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DecidedReview]:
    with new_database(migrated_template) as name:
        engine = database_engine(as_url(server_conninfo, dbname=name))
        yield decided_review(engine, tmp_path_factory.mktemp("vocabulary"))
        engine.dispose()


def export(review: DecidedReview, **options: str) -> tuple[str, ExportReport]:
    out = io.BytesIO()
    report = SSSOM.write(review.engine, review.project_id, parse_options(SSSOM, options), out)
    return out.getvalue().decode(), report


def read(text: str) -> tuple[list[str], list[dict[str, str]]]:
    """The lines of the metadata block, and the rows."""
    lines = text.splitlines(keepends=True)
    block = [line for line in lines if line.startswith("#")]
    table = "".join(lines[len(block) :])
    return block, list(csv.DictReader(io.StringIO(table, newline=""), delimiter="\t"))


def relations(rows: list[dict[str, str]]) -> dict[tuple[str, str], str]:
    return {(row["subject_label"], row["object_id"]): row["predicate_id"] for row in rows}


def test_each_relation_says_the_right_side_is_broader(review: DecidedReview) -> None:
    _, rows = read(export(review)[0])
    assert relations(rows) == {
        ("high blood pressure", "OMOP:1"): "skos:exactMatch",
        # "stage 2 HTN" to Hypertension: the concept is the broader one, subject skos:broadMatch object.
        ('stage 2 "HTN"\tor more', "OMOP:1"): "skos:broadMatch",
        # "HTN" to Stage 2 hypertension: the concept is the narrower one.
        ("HTN", "OMOP:3"): "skos:narrowMatch",
        ("blood pressure of heart", "OMOP:1"): "skos:closeMatch",
        ("blood pressure of heart", "OMOP:2"): "skos:closeMatch",
        ("asdf", "sssom:NoTermFound"): "skos:exactMatch",
        ("systolic 100 mmHg", "OMOP:4"): "skos:exactMatch",
        ("systolic 100 mmHg", "OMOP:5"): "skos:relatedMatch",
        ("systolic 100 mmHg", "OMOP:6"): "skos:relatedMatch",
        ("essential hypertension", "OMOP:1"): "skos:mappingRelation",
    }


def test_every_term_is_written_or_counted_as_left_out(review: DecidedReview) -> None:
    text, report = export(review)
    assert report.rows == len(read(text)[1]) == 10
    assert {(one.reason, one.count, one.examples) for one in report.left_out} == {
        ("not reviewed", 1, ("U1",)),
        ("flagged", 1, ("F1",)),
        ("ignored", 1, ("I1",)),
    }


def test_rows_say_who_decided_and_who_agreed(review: DecidedReview) -> None:
    by_label = {row["subject_label"]: row for row in read(export(review)[0])[1]}
    assert {row["mapping_justification"] for row in by_label.values()} == {"semapv:ManualMappingCuration"}
    assert {row["author_label"] for row in by_label.values()} == {"Ada \\| Lovelace"}
    assert by_label["high blood pressure"]["reviewer_label"] == "Bob"
    assert by_label['stage 2 "HTN"\tor more']["reviewer_label"] == ""  # Bob said something else
    assert by_label['stage 2 "HTN"\tor more']["comment"] == 'no "stage" there\nsee page 2'


def test_subjects_are_curies_of_codes_or_of_the_names_hash(review: DecidedReview) -> None:
    block, rows = read(export(review, prefix="NORTH", source="https://north.example.org/codes/")[0])
    subjects = {row["subject_label"]: row["subject_id"] for row in rows}
    assert subjects["high blood pressure"] == "NORTH:H1"
    assert subjects['stage 2 "HTN"\tor more'] == "NORTH:H%2F2"
    assert subjects["asdf"] == "NORTH:X%7C1"
    assert subjects["essential hypertension"] == "ICD10CM:I10"
    assert re.fullmatch(r"NORTH:name-[0-9a-f]{16}", subjects["systolic 100 mmHg"])
    declared = [line for line in block if line.startswith("#  ")]
    assert [line.partition(":")[0].strip("# ") for line in declared] == [
        "ICD10CM", "NORTH", "OMOP", "bioregistry", "source",
    ]  # fmt: skip
    assert '#  NORTH: "https://north.example.org/codes/"\n' in block


def test_what_all_rows_share_is_said_once_in_the_metadata(review: DecidedReview) -> None:
    block, rows = read(export(review, license="https://creativecommons.org/publicdomain/zero/1.0/")[0])
    stated = "".join(block)
    assert '#license: "https://creativecommons.org/publicdomain/zero/1.0/"\n' in stated
    assert '#mapping_set_title: "all states"\n#license' in stated
    assert re.search(r'#mapping_set_id: "https://w3id.org/sssom/mappings/[0-9a-f-]{36}"\n', stated)
    assert '#object_source: "bioregistry:omop"\n#object_source_version: "release 1"\n' in stated
    assert '#mapping_tool: "omop-emb"\n#mapping_tool_version: ' in stated
    assert "#mapping_date: " in stated
    assert {"mapping_tool", "mapping_date", "object_source"}.isdisjoint(rows[0])
    assert stated == "".join(
        read(export(review, license="https://creativecommons.org/publicdomain/zero/1.0/")[0])[0]
    )


def test_suggestions_are_predictions_with_their_probability(review: DecidedReview) -> None:
    _, rows = read(export(review, suggestions="yes")[0])
    predicted = {row["subject_label"]: row for row in rows if row["confidence"]}
    # Neither for what people refused, nor for what they mapped to something else.
    assert set(predicted) == {
        "high blood pressure", 'stage 2 "HTN"\tor more', "blood pressure of heart", "not looked at",
        "ask somebody", "essential hypertension",
    }  # fmt: skip
    row = predicted["not looked at"]
    assert (row["confidence"], row["mapping_justification"]) == (
        "0.750", "semapv:LexicalSimilarityThresholdMatching",
    )  # fmt: skip
    assert (row["predicate_id"], row["author_label"]) == ("skos:mappingRelation", "")
    assert all(row["mapping_date"] for row in rows if not row["confidence"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefix": "OMOP"}, "has a meaning already"),
        ({"prefix": "a b"}, "1 to 40 letters"),
        ({"source": "codes"}, "source takes a URI"),
        ({"license": "CC0"}, "license takes a URI"),
        ({"mapping_set_id": "/x"}, "mapping_set_id takes a URI"),
    ],
)
def test_options_that_would_make_an_invalid_file_are_refused(
    review: DecidedReview, options: Mapping[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export(review, **options)


# sssom-py's own command for it says nothing of what it read.
_VALIDATE = """
import json, sys
from sssom.parsers import parse_sssom_table
from sssom.validators import validate

table = parse_sssom_table(sys.argv[1])
validate(table, fail_on_error=True)
names = ["subject_label", "object_id", "predicate_id"]
print(json.dumps(table.df[names].to_numpy().tolist()))
"""


@needs_sssom_py
@pytest.mark.parametrize(
    "options", [{}, {"suggestions": "yes", "source": "https://north.example.org/codes#"}]
)
def test_sssom_py_finds_nothing_wrong(
    review: DecidedReview, tmp_path: Path, options: Mapping[str, str]
) -> None:
    text, _ = export(review, **options)
    (tmp_path / "review.sssom.tsv").write_bytes(text.encode())
    done = subprocess.run(
        [str(SSSOM_PY.with_name("python")), "-c", _VALIDATE, "review.sssom.tsv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read_there = {(label, concept, relation) for label, concept, relation in json.loads(done.stdout)}
    assert read_there == {
        (row["subject_label"], row["object_id"], row["predicate_id"]) for row in read(text)[1]
    }
