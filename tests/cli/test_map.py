"""omop-emb map on real files, end to end on the embedded sample vocabulary."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from click.testing import CliRunner
from psycopg.sql import SQL

from omop_emb import OmopEmbError
from omop_emb.errors import InputError
from omop_emb.mapping.files.journal import journal_path
from omop_emb.mapping.files.usagi_dialect import join_line, split_line
from omop_emb.mapping.judge.judge import Judge
from omop_emb.vocabulary import reader
from tests.unit.mapping.chat_server import Reply, Turn, answers, chat_server, first_candidates, status


@dataclass
class Done:
    """What a command did: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Map = Callable[..., Done]


@pytest.fixture(scope="module")
def database(server_conninfo: str, sample_template: str, new_database: Any) -> Iterator[str]:
    """One embedded sample for the tests that leave nothing in it."""
    from tests.conftest import as_url

    with new_database(sample_template) as name:
        yield as_url(server_conninfo, dbname=name)


@pytest.fixture
def run_map(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Map:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", database)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: bytes | None = None) -> Done:
        command = import_module("omop_emb.cli.map").command
        result = CliRunner().invoke(command, list(arguments), input=stdin, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return Done(result.return_value or 0, result.stdout, result.stderr)

    return run


def write(path: str, text: str) -> str:
    Path(path).write_text(text, encoding="utf-8")
    return path


def table(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def usagi(path: str) -> list[dict[str, str]]:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    header = split_line(lines[0])
    return [dict(zip(header, split_line(line), strict=True)) for line in lines[1:]]


@pytest.mark.parametrize(
    "options",
    [
        ("-o", "out.txt"),
        ("-o", "out"),
        ("-o", "out.usagi"),
        ("-o", "out.csv", "--review-queue", "queue.xls"),
        ("-o", "out.csv", "--candidates-output", "all.json"),
        ("-o", "out.csv", "--map-file", "map.sql", "--source-vocabulary-id", "X"),
        ("-o", "out.csv", "--previous", "terms.csv", "--outdated", "lost.html"),
    ],
)
def test_an_output_of_an_unknown_ending_is_refused_before_the_file_is_read(
    run_map: Map, options: tuple[str, ...]
) -> None:
    write("terms.csv", "not a list of terms")
    with pytest.raises(InputError, match=r"must end in \.csv, \.tsv, \.xlsx or \.parquet"):
        run_map("terms.csv", *options)
    assert [path.name for path in Path().iterdir()] == ["terms.csv"]


def test_outputs_that_end_in_xlsx_are_workbooks(run_map: Map) -> None:
    write("terms.csv", "code,name\n007,Osteoarthritis\n8,Cough\n")
    run_map("terms.csv", "-o", "out.xlsx", "--candidates-output", "all.xlsx", "--review-queue", "queue.xlsx")
    for name in ("out", "all", "queue"):
        frame = pd.read_excel(f"{name}.xlsx", dtype=str)
        assert set(frame["source_code"]) == {"007", "8"}


TERMS = """\
code,name,frequency,domain,ward
A1,SINUSITIS,10,,"ear, nose"
A2,Osteoarthritis,500,Condition,"ortho ""B"" 2"
A3,Aspirin 81 MG Oral Tablet,3,drug,
A4,,7,,
A5,Cough,many,,
A6,Rash,1,Nonsense,
A7,zzzz qqqq,20,,Äänekoski
"""


def test_a_csv_becomes_a_usagi_file_ready_for_review(run_map: Map) -> None:
    done = run_map(
        write("terms.csv", TERMS), "-o", "out.usagi.csv",
        "--review-queue", "queue.csv", "--candidates-output", "all.csv", "--explain", "2", "-k", "5",
    )  # fmt: skip
    rows = usagi("out.usagi.csv")
    assert [row["sourceCode"] for row in rows] == ["A1", "A2", "A3", "A5", "A7"]
    assert {row["mappingStatus"] for row in rows} == {"UNCHECKED"}
    assert rows[1]["conceptName"] == "Osteoarthritis"
    assert rows[1]["ADD_INFO:ward"] == 'ortho "B" 2'
    assert rows[4]["ADD_INFO:ward"] == "Äänekoski"
    assert {row["domainId"] for row in rows[2:3]} == {"Drug"}
    assert done.code == 3
    understood = (
        "terms.csv: CSV or TSV, encoding utf-8, separator comma, header in line 1",
        "columns: term: name; code: code; frequency: frequency; domain: domain; others: ward",
    )
    for line in (
        *understood,
        "line 5: no term",
        "line 6: its frequency",
        "line 7: its domain has no concepts",
    ):
        assert line in done.err
    assert "2 rows were skipped" in done.err
    queue = table("queue.csv")
    assert [float(row["priority"]) for row in queue] == sorted(
        (float(row["priority"]) for row in queue), reverse=True
    )
    candidates = table("all.csv")
    assert [row["rank"] for row in candidates[:5]] == ["1", "2", "3", "4", "5"]
    explained = [row for row in candidates if row["speaks_for"]]
    assert {row["rank"] for row in explained} == {"1", "2"}
    assert "(+" in explained[0]["speaks_for"]
    assert not list(Path().glob(".*journal"))


def test_a_row_that_says_nothing_costs_neither_the_run_nor_its_neighbours(run_map: Map) -> None:
    odd = ["-", ":", "- 12345", "\u200b", "\u00ad", "\ufeff", "()", "?", "%", "+", "...", "\u200bCough\u200b"]
    done = run_map(write("terms.csv", "name\n" + "\n".join(["Cough", *odd, "Fever"]) + "\n"), "-o", "out.csv")
    names = [row["source_name"] for row in table("out.csv")]
    assert names == ["Cough", "- 12345", "%", "+", "\u200bCough\u200b", "Fever"]
    assert done.code == 3
    assert "line 3: no term" in done.err
    assert "3 more such rows" in done.err


def test_a_file_without_terms_is_an_error_and_writes_nothing(run_map: Map) -> None:
    with pytest.raises(OmopEmbError, match="has no terms"):
        run_map(write("terms.csv", "code,name\n1,\n2,-\n"), "-o", "out.csv")
    assert not Path("out.csv").exists()


def test_terms_come_from_stdin_and_go_to_stdout(run_map: Map) -> None:
    done = run_map("-", "-o", "-", stdin=b"name\nOsteoarthritis\n")
    (row,) = csv.DictReader(io.StringIO(done.out))
    assert row["concept_name"] == "Osteoarthritis"
    assert "1 term mapped" in done.err


def test_excel_goes_in_and_parquet_comes_out(run_map: Map) -> None:
    import openpyxl
    import pyarrow.parquet

    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    for cells in (["code", "name", "count"], [7, "Osteoarthritis", 12.0]):
        page.append(cells)
    book.save("terms.xlsx")
    book.close()
    run_map("terms.xlsx", "-o", "out.parquet")
    (row,) = pyarrow.parquet.read_table("out.parquet").to_pylist()
    assert (row["source_code"], row["source_frequency"], row["concept_name"]) == ("7", 12, "Osteoarthritis")


def test_every_name_column_is_a_query_and_untranslated_languages_are_warned_about(
    run_map: Map,
) -> None:
    write("terms.csv", "id,fi,en\n1,nivelrikko,Osteoarthritis\n2,välilevytyrä,Sinusitis\n")
    done = run_map("terms.csv", "-o", "out.csv", "--name-column", "fi", "--name-column", "en")
    rows = table("out.csv")
    assert [row["concept_name"] for row in rows] == ["Osteoarthritis", "Sinusitis"]
    assert [(row["source_name"], row["en"]) for row in rows] == [
        ("nivelrikko", "Osteoarthritis"),
        ("välilevytyrä", "Sinusitis"),
    ]
    assert rows[0]["query_rule"] == "further name"
    assert "knows only English" not in done.err
    assert "knows only English" in run_map("terms.csv", "-o", "out.csv", "--name-column", "fi").err


def _code(database: str) -> tuple[str, str, int, str]:
    """A code that leads to a standard concept through Maps to: vocabulary, code, target, its name."""
    with psycopg.connect(database.replace("+psycopg", "")) as connection:
        tables = reader.vocabulary_tables(connection)
        assert tables is not None
        assert tables.concept_relationship is not None
        query = SQL(
            "select c.vocabulary_id, c.concept_code, t.concept_id, t.concept_name from {concept} c "
            "join {relationship} r on r.concept_id_1 = c.concept_id "
            "join {concept} t on t.concept_id = r.concept_id_2 where r.relationship_id = 'Maps to' "
            "and c.standard_concept is distinct from 'S' and t.standard_concept = 'S' "
            "order by c.concept_id limit 1"
        )
        names = {"concept": tables.concept, "relationship": tables.concept_relationship}
        row = connection.execute(query.format(**names)).fetchone()
    assert row is not None
    return row


def test_codes_decide_before_names_and_a_name_that_disagrees_is_shown(run_map: Map, database: str) -> None:
    vocabulary, code, target, name = _code(database)
    write("terms.csv", f'code,name\n{code},"{name}"\n{code},Sinusitis\n{code},\nnone,Sinusitis\n')
    done = run_map("terms.csv", "-o", "out.csv", "--source-vocabulary", vocabulary, "--accept-codes")
    agreeing, other, bare, unknown = table("out.csv")
    assert (agreeing["decision"], agreeing["targets"], agreeing["disagrees"]) == (
        "accept",
        str(target),
        "false",
    )
    assert "(Maps to)" in agreeing["path"]
    assert (other["decision"], other["by_code"], other["disagrees"]) == ("review", str(target), "true")
    assert "the name says" in other["reason"]
    assert "Sinusitis" in other["others"]
    assert (bare["decision"], bare["targets"]) == ("accept", str(target))
    assert (unknown["concept_name"], unknown["decision"]) == ("Sinusitis", "review")
    assert "its code does not exist in" in unknown["reason"]
    assert "1 code disagrees" in done.err
    assert "1 code does not exist in its vocabulary" in done.err
    run_map("terms.csv", "-o", "out.csv", "--source-vocabulary", vocabulary)
    assert {row["decision"] for row in table("out.csv")} == {"review"}
    run_map("terms.csv", "-o", "out.csv")
    assert {row["by_code"] for row in table("out.csv") if row["source_name"]} == {""}


def test_an_unknown_code_vocabulary_is_an_error_that_suggests_the_nearest(run_map: Map) -> None:
    write("terms.csv", "code,name\nI10,Cough\n")
    with pytest.raises(OmopEmbError, match="did you mean 'SNOMED'"):
        run_map("terms.csv", "-o", "out.csv", "--source-vocabulary", "SNOMAD")
    assert not Path("out.csv").exists()


@pytest.mark.parametrize(
    ("written", "read_as", "decision", "by_code"),
    [
        ("SNOMED", None, "accept", "4329847"),
        ("snomed", None, "accept", "4329847"),
        ("Snomed CT", "vocabulary 'Snomed CT' was read as 'SNOMED' (2 rows)", "accept", "4329847"),
        ("SNOMED-CT", "vocabulary 'SNOMED-CT' was read as 'SNOMED' (2 rows)", "accept", "4329847"),
        ("SNOWMED", "vocabulary 'SNOWMED' was read as 'SNOMED' (2 rows)", "accept", "4329847"),
        ("LOINC,SNOMED", None, "accept", "4329847"),
        ("loinc; Snomed CT", "vocabulary 'Snomed CT' was read as 'SNOMED' (2 rows)", "accept", "4329847"),
        ("SNOMAD", "there is no vocabulary 'SNOMAD' (2 rows: mapped by name alone); did you mean 'SNOMED'?",
         "review", ""),
        ("MY_LAB", "there is no vocabulary 'MY_LAB' (2 rows: mapped by name alone)", "review", ""),
    ],
)  # fmt: skip
def test_the_vocabularies_of_rows_are_read_as_they_are_meant_and_said_once(
    run_map: Map, written: str, read_as: str | None, decision: str, by_code: str
) -> None:
    rows = f'22298006,Myocardial infarction,"{written}"\n22298006,Heart attack,"{written}"\n'
    write("terms.csv", f"code,name,source_vocabulary_id\n{rows}")
    done = run_map("terms.csv", "-o", "out.csv", "--accept-codes")
    first, _ = table("out.csv")
    assert (done.code, first["decision"], first["by_code"]) == (0, decision, by_code)
    assert first["concept_id"] == "4329847"
    lines = [line for line in done.err.splitlines() if line.startswith(("vocabulary '", "there is no"))]
    assert lines == ([] if read_as is None else [read_as])


def test_several_vocabularies_of_codes_can_be_asked_for(run_map: Map) -> None:
    write("terms.csv", "code,name\n22298006,Heart attack\n22298006,\n")
    done = run_map("terms.csv", "-o", "out.csv", "--source-vocabulary", "LOINC,Snomed CT")
    assert [row["by_code"] for row in table("out.csv")] == ["4329847", "4329847"]
    assert "vocabulary 'Snomed CT' was read as 'SNOMED'" in done.err


@pytest.mark.parametrize(
    "domain", ["Condition", "condition", "Conditions", "Drug,Condition", "drug; conditions"]
)
def test_the_domains_of_rows_are_read_as_they_are_meant(run_map: Map, domain: str) -> None:
    write("terms.csv", f'name,domain\nHeart attack,"{domain}"\n')
    done = run_map("terms.csv", "-o", "out.csv")
    assert (done.code, table("out.csv")[0]["domain_id"]) == (0, "Condition")


@pytest.mark.parametrize(
    ("options", "column", "values"),
    [
        (("--vocabulary", "LOINC"), "vocabulary_id", {"LOINC"}),
        (("--vocabulary", "RxNorm,RxNorm Extension"), "vocabulary_id", {"RxNorm", "RxNorm Extension"}),
        (("--vocabulary", "LOINC", "--vocabulary", "RxNorm"), "vocabulary_id", {"LOINC", "RxNorm"}),
        (("--domain", "Drug"), "domain_id", {"Drug"}),
        (("--domain", "Drug, Procedure"), "domain_id", {"Drug", "Procedure"}),
        (("--concept-class", "Ingredient"), "concept_class_id", {"Ingredient"}),
        (("--domain", "Drug", "--concept-class", "Ingredient,Clinical Drug"), "concept_class_id",
         {"Ingredient", "Clinical Drug"}),
    ],
)  # fmt: skip
def test_a_filter_holds_for_every_candidate_and_gives_as_many_as_without(
    run_map: Map, options: tuple[str, ...], column: str, values: set[str]
) -> None:
    write("terms.csv", "name\nSodium\nHeart attack\nAspirin 81 MG Oral Tablet\n")
    done = run_map("terms.csv", "-o", "out.csv", "--candidates-output", "all.csv", "-k", "7", *options)
    rows = table("all.csv")
    assert done.code == 0
    assert len(rows) == 21
    assert {row[column] for row in rows} <= values
    provenance = {row["provenance"] for row in table("out.csv")}
    assert all(f"only {options[0][2:].replace('-', ' ')}" in text for text in provenance)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--vocabulary", "Snomed CT"), "there is no vocabulary 'Snomed CT'; did you mean 'SNOMED'"),
        (("--domain", "Conditions"), "there is no domain 'Conditions'; did you mean 'Condition'"),
        (("--concept-class", "ingredients"), "there is no concept class 'ingredients'; did you mean"),
        (("--domain", "Condition,"), "there is no domain ''"),
        (("--vocabulary", "ICD10CM"), "can be a candidate: only vocabulary ICD10CM; --any includes"),
        (("--vocabulary", "RxNorm", "--domain", "Condition"), "no concept can be a candidate: only domain"),
        (("--vocabulary", "SNOMED", "--accept-precision", "0.9", "--accept-untrained"),
         "cannot be used with --vocabulary"),
        (("--any", "--accept-precision", "0.9", "--accept-untrained"), "cannot be used with --vocabulary"),
    ],
)  # fmt: skip
def test_a_filter_that_cannot_hold_is_refused_before_anything_is_mapped(
    run_map: Map, options: tuple[str, ...], message: str
) -> None:
    write("terms.csv", "name\nCough\n")
    with pytest.raises(OmopEmbError, match=re.escape(message)):
        run_map("terms.csv", "-o", "out.csv", *options)
    assert not Path("out.csv").exists()


def test_a_domain_of_a_row_narrows_the_filter_and_a_contradiction_is_said(run_map: Map) -> None:
    write("terms.csv", "name,domain\nAspirin,Drug|Condition\nAspirin,Procedure\nAspirin,\n")
    done = run_map("terms.csv", "-o", "out.csv", "--domain", "Drug,Measurement")
    narrowed, contradiction, free = table("out.csv")
    assert (done.code, narrowed["domain_id"], free["domain_id"]) == (0, "Drug", "Drug")
    assert (contradiction["concept_id"], contradiction["decision"]) == ("", "review")
    assert contradiction["reason"] == "its domain Procedure is not Drug or Measurement"


def test_non_standard_concepts_are_candidates_on_request_marked_and_never_accepted(run_map: Map) -> None:
    arguments = ("--source-vocabulary-id", "MINE", "--map-file", "map.csv", "--accept-codes")
    rows = "1,Gastrointestinal hemorrhage,\nK92.2,Gastrointestinal hemorrhage,ICD10CM\n"
    write("terms.csv", f"code,name,source_vocabulary_id\n{rows}")
    done = run_map("terms.csv", "-o", "out.csv", "--any", "--vocabulary", "ICD10CM", *arguments)
    named, coded = table("out.csv")
    assert named["concept_id"] == coded["by_code"] == "35208414"
    for row in (named, coded):
        assert (row["standard_concept"], row["decision"]) == ("", "review")
        assert "not a standard concept" in row["flags"]
        assert "non-standard and invalid concepts too" in row["provenance"]
    assert named["probability"] == ""
    assert table("map.csv") == []
    assert "non-standard concepts are candidates" in done.err
    run_map("terms.csv", "-o", "out.csv", "--any", "-k", "50", "--candidates-output", "all.csv")
    _, coded = table("out.csv")
    assert coded["standard_concept"] == "S"  # what the code maps to comes first
    assert "35208414" in {row["concept_id"] for row in table("all.csv")}


def test_without_a_request_no_candidate_is_non_standard(run_map: Map) -> None:
    write("terms.csv", "name\nSinusitis\nHypertension\n")
    run_map("terms.csv", "-o", "out.csv", "--candidates-output", "all.csv")
    assert {row["standard_concept"] for row in table("all.csv")} == {"S"}


def test_a_filter_excludes_what_a_code_maps_to(run_map: Map) -> None:
    write("terms.csv", "code,name,source_vocabulary_id\n22298006,Heart attack,SNOMED\n")
    run_map("terms.csv", "-o", "out.csv", "--domain", "Drug", "--accept-codes")
    [row] = table("out.csv")
    assert (row["by_code"], row["decision"], row["domain_id"]) == ("", "review", "Drug")
    assert "the filter excludes what its code maps to" in row["reason"]


def test_a_term_can_be_made_of_several_columns_which_stay_in_the_output(run_map: Map) -> None:
    write("labs.csv", "ITEMID,LABEL,FLUID,name_fi\n1,Sodium,Blood,natrium\n2,Sodium,,\n3,,Urine,\n4,,,\n")
    options = ("--name-template", "{LABEL} in {fluid}", "--name-column", "name_fi")
    done = run_map("labs.csv", "-o", "out.csv", *options)
    rows = table("out.csv")
    assert [row["source_name"] for row in rows] == ["Sodium in Blood", "Sodium", "Urine"]
    assert [(row["LABEL"], row["FLUID"], row["name_fi"]) for row in rows] == [
        ("Sodium", "Blood", "natrium"), ("Sodium", "", ""), ("", "Urine", ""),
    ]  # fmt: skip
    assert done.code == 3
    assert "line 5: no term in 'LABEL' or 'FLUID'" in done.err
    with pytest.raises(OmopEmbError, match=r"there is no column 'LABLE'.*did you mean 'LABEL'"):
        run_map("labs.csv", "-o", "out.csv", "--name-template", "{LABLE}")


def test_what_a_file_suggests_is_a_candidate_and_decides_nothing(run_map: Map) -> None:
    rows = "Heart attack,4329847\nCough,4329847|35208414\nCough,999999999; 317009.0x\nCough,\n"
    write("terms.csv", f"name,ours\n{rows}")
    arguments = ("--candidates-output", "all.csv", "--accept-precision", "0.5", "--accept-untrained")
    done = run_map("terms.csv", "-o", "out.csv", "-k", "200", "--candidate-column", "ours", *arguments)
    suggested = [
        (row["line"], row["concept_id"]) for row in table("all.csv") if row["suggested_score"] == "1.0"
    ]
    assert ("2", "4329847") in suggested
    assert ("3", "4329847") in suggested
    assert len(suggested) == 3  # the non-standard one is followed to its standard concept
    assert "2 suggested concept ids not in the loaded vocabulary" in done.err
    assert len({row["concept_id"] for row in table("out.csv")[1:]}) == 1  # suggested or not


USAGI_HEADER = (
    "sourceCode,sourceName,sourceFrequency,sourceAutoAssignedConceptIds,ADD_INFO:note,matchScore,"
    "mappingStatus,equivalence,statusSetBy,statusSetOn,conceptId,conceptName,domainId,mappingType,comment,"
    "createdBy,createdOn,assignedReviewer"
)
EQUIVALENCES = (
    "EQUAL", "EQUIVALENT", "WIDER", "NARROWER", "INEXACT", "UNMATCHED", "UNREVIEWED"
)  # fmt: skip


def usagi_line(code: str, name: str, status: str, **changed: str) -> str:
    values = {
        "code": code, "name": name, "frequency": "12", "auto": "", "note": 'a "note", with\nbreaks \\ too',
        "score": "0.91", "status": status, "equivalence": "EQUAL", "by": "MvZ", "on": "1700000000000",
        "id": "80180", "concept": "Osteoarthritis", "domain": "Condition", "type": "MAPS_TO",
        "comment": "ok, fine", "author": "<auto>", "created": "1700000000000", "reviewer": "Jörg",
    }  # fmt: skip
    return join_line({**values, **changed}.values()) + "\n"


def test_only_mapped_terms_of_a_usagi_file_change(run_map: Map) -> None:
    states = ("APPROVED", "AUTO_MAPPED", "AUTO_MAPPED_TO_1", "IGNORED", "FLAGGED")
    decided = [usagi_line(f"s{n}", f'Kôd "{state}"', state) for n, state in enumerate(states)]
    decided += [
        usagi_line(f"e{n}", "äö,å", "APPROVED", equivalence=each) for n, each in enumerate(EQUIVALENCES)
    ]
    decided += [
        usagi_line("two", "two targets", "APPROVED"),
        usagi_line("two", "two targets", "APPROVED", id="4112343", type="MAPS_TO_VALUE"),
        usagi_line("two", "two targets", "APPROVED", id="192671", type="MAPS_TO_UNIT"),
    ]
    open_ones = [
        usagi_line("u1", "Sinusitis", "UNCHECKED", id="0", concept="Unmapped", comment=""),
        usagi_line("u2", "Osteoarthritis", "INVALID_TARGET", id="99", comment="kept, said I"),
    ]
    lines = [*decided[:4], open_ones[0], *decided[4:9], open_ones[1], *decided[9:]]
    Path("in.csv").write_bytes((USAGI_HEADER + "\n" + "".join(lines)).encode())
    done = run_map("in.csv", "-o", "out.csv")
    assert done.code == 0
    written = Path("out.csv").read_bytes().decode().splitlines(keepends=True)
    assert [line for line in written[1:] if line not in decided] == [written[5], written[11]]
    assert [line for line in written[1:] if line in decided] == decided
    rows = usagi("out.csv")
    first, second = rows[4], rows[10]
    assert (first["sourceCode"], first["mappingStatus"], first["conceptName"]) == (
        "u1", "UNCHECKED", "Sinusitis",
    )  # fmt: skip
    assert (second["conceptName"], second["comment"]) == ("Osteoarthritis", "kept, said I")
    assert first["ADD_INFO:note"] == 'a "note", with\nbreaks \\ too'
    # and once more, onto itself
    run_map("out.csv", "-o", "out.csv")
    again = Path("out.csv").read_bytes().decode().splitlines(keepends=True)
    assert [line for line in again[1:] if line in decided] == decided


def test_a_source_to_concept_map_is_written_as_a_file_and_into_the_database(
    sample_database_url: str, run_map: Map, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    write("terms.csv", "code,name\n1,Osteoarthritis\n2,Sinusitis\n")
    arguments = (
        "terms.csv", "-o", "out.csv", "--source-vocabulary-id", "LAB",
        "--map-file", "map.csv", "--map-schema",
    )  # fmt: skip
    done = run_map(*arguments)
    assert table("map.csv") == []
    assert "2 terms need review" in done.err
    done = run_map(*arguments, "omop_emb", "--unreviewed", "--keep-run", "-k", "3")
    rows = table("map.csv")
    assert [(row["source_code"], row["source_vocabulary_id"]) for row in rows] == [("1", "LAB"), ("2", "LAB")]
    with psycopg.connect(sample_database_url.replace("+psycopg", "")) as connection:
        stored = connection.execute(
            "select source_code, target_concept_id from omop_emb.source_to_concept_map order by 1"
        ).fetchall()
        stored_run = connection.execute(
            "select count(*), count(distinct place), min(result->>'source_name') from omop_emb.mapping_result"
        ).fetchone()
        (provenance,) = connection.execute("select provenance from omop_emb.mapping_run").fetchone() or ((),)
    assert stored == [(row["source_code"], int(row["target_concept_id"])) for row in rows]
    assert stored_run == (6, 2, "Osteoarthritis")
    assert provenance["ranker"] == "shipped-3"


def test_an_approved_usagi_file_becomes_a_source_to_concept_map(run_map: Map) -> None:
    lines = usagi_line("a", "mine", "APPROVED") + usagi_line("b", "new", "IGNORED")
    write("in.usagi.csv", USAGI_HEADER + "\n" + lines)
    run_map("in.usagi.csv", "-o", "out.usagi.csv", "--source-vocabulary-id", "X", "--map-file", "map.csv")
    assert [(row["source_code"], row["target_concept_id"]) for row in table("map.csv")] == [("a", "80180")]
    assert Path("out.usagi.csv").read_text() == Path("in.usagi.csv").read_text()


def test_approved_mappings_are_reused_and_outdated_targets_listed(run_map: Map) -> None:
    previous = usagi_line("1", "joints", "APPROVED") + usagi_line("2", "gone", "APPROVED", id="999999999")
    write("old.usagi.csv", USAGI_HEADER + "\n" + previous)
    write("terms.csv", "code,name\n1,joints\n2,gone\n1,Osteoarthritis\n")
    done = run_map(
        "terms.csv", "-o", "out.csv", "--previous", "old.usagi.csv", "--outdated", "lost.csv",
        "--review-queue", "queue.csv",
    )  # fmt: skip
    reused, lost, renamed = table("out.csv")
    assert (reused["decision"], reused["targets"], reused["concept_name"]) == (
        "accept", "80180", "Osteoarthritis",
    )  # fmt: skip
    assert lost["decision"] == "review"
    assert "no longer in the vocabulary" in lost["reason"]
    assert "approved under another name" in renamed["reason"]
    assert [row["concept_id"] for row in table("lost.csv")] == ["999999999"]
    assert len(table("queue.csv")) == 2
    assert "1 of them keeps an earlier approved mapping" in done.err


# --- a second opinion


@pytest.mark.parametrize("judge", ["ollama:llama3.1", "gemini:gemini-2.5-flash", "openai:gpt-4o-mini"])
def test_a_judge_marks_its_choice_and_decides_nothing(
    run_map: Map, monkeypatch: pytest.MonkeyPatch, judge: str
) -> None:
    def turn(terms: list[dict[str, Any]]) -> Reply:
        if len(terms) > 1:
            chosen = next(c for c in terms[0]["candidates"] if c["name"] != terms[0]["text"])
            # the second term's id is invented; the third's answer is lost
            return answers(chosen["concept_id"], "424242")
        return "{broken" if terms[0]["text"] == "Cough" else first_candidates(terms)

    write("terms.csv", "code,name,ward\n1,Osteoarthritis,ortho\n2,Sinusitis,\n3,Cough,\n")
    with chat_server(turn) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "key")
        monkeypatch.setenv("GEMINI_API_KEY", "key")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        arguments = (
            "terms.csv", "-o", "out.csv", "--candidates-output", "all.csv", "--judge", judge,
            "--judge-prices", "1", "10", "--context-column", "ward",
        )  # fmt: skip
        done = run_map(*arguments)
        requests = len(server.requests)
        first = server.questions()[0]
        again = run_map(*arguments)
        more = len(server.requests) - requests
    assert [term["text"] for term in first] == ["Osteoarthritis", "Sinusitis", "Cough"]
    assert first[0]["context"] == {"ward": "ortho"}
    rows, marked = table("out.csv"), [row for row in table("all.csv") if row["judged"] == "true"]
    assert {row["decision"] for row in rows} == {"review"}
    assert [row["source_code"] for row in marked] == ["1", "2"]
    assert rows[0]["judge"].startswith(marked[0]["concept_id"])
    assert {(row["rank"] == row["ranker_rank"]) for row in table("all.csv")} == {True}
    assert {row["ordered_by"] for row in rows} == {"ranker"}
    assert rows[0]["judge"].endswith(f"({judge})")
    assert rows[2]["judge"].startswith("no answer")
    assert "about 1 request" in done.err
    assert "at your prices" in done.err
    assert requests == 3
    assert "(2 answered before)" in again.err
    assert more == 2  # Cough is asked about again, twice, and nothing else


def test_only_the_most_valuable_terms_are_judged(run_map: Map, monkeypatch: pytest.MonkeyPatch) -> None:
    write("terms.csv", "code,name,frequency\n1,joint trouble,5\n2,bad sinus,900\n")
    with chat_server(first_candidates) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        run_map("terms.csv", "-o", "out.csv", "--judge", "ollama:m", "--judge-terms", "1")
        assert [term["text"] for term in server.questions()[0]] == ["bad sinus"]
    assert [bool(row["judge"]) for row in table("out.csv")] == [False, True]


@pytest.mark.parametrize(
    ("turn", "problem"),
    [
        (None, "cannot be reached"),
        (lambda _terms: (200, {}, b"<html>sign in</html>"), "other than"),
        (lambda _terms: "I am a language model", "JSON"),
        (status(401, "who?"), "does not accept the key"),
    ],
    ids=["unreachable", "a web page", "no JSON", "wrong key"],
)
def test_a_judge_that_answers_nothing_is_a_failure_and_the_mapping_stays(
    run_map: Map, monkeypatch: pytest.MonkeyPatch, turn: Turn | None, problem: str
) -> None:
    monkeypatch.setattr("omop_emb.mapping.judge.judge_job.Judge", partial(Judge, max_attempts=1))
    write("terms.csv", "code,name\n1,Osteoarthritis\n2,Sinusitis\n")
    with chat_server(turn or first_candidates) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url if turn else "http://127.0.0.1:9")
        done = run_map("terms.csv", "-o", "out.csv", "--judge", "ollama:m")
    assert done.code == 3
    assert problem in done.err
    assert "a second opinion on 0 of 2 terms" in done.err
    assert all(row["judge"].startswith("no answer") for row in table("out.csv"))


# --- targets on their way out


def test_approved_targets_that_are_not_valid_now_are_replaced_or_left_out_and_said(run_map: Map) -> None:
    lines = [
        usagi_line("ok", "good", "APPROVED"),
        usagi_line("moved", "no longer standard", "APPROVED", id="35208414", comment=""),
        usagi_line("lost", "deprecated", "APPROVED", id="442116"),
        usagi_line("gone", "not in this vocabulary", "APPROVED", id="999999"),
        usagi_line("half", "one of two is gone", "APPROVED"),
        usagi_line("half", "one of two is gone", "APPROVED", id="442116"),
        usagi_line("family", "with a value", "APPROVED"),
        usagi_line("family", "with a value", "APPROVED", id="192671", type="MAPS_TO_VALUE"),
    ]
    Path("in.usagi.csv").write_text(USAGI_HEADER + "\n" + "".join(lines))
    done = run_map(
        "in.usagi.csv", "-o", "out.usagi.csv", "--source-vocabulary-id", "X", "--map-file", "map.csv",
        "--outdated", "outdated.csv",
    )  # fmt: skip
    assert [(row["source_code"], row["target_concept_id"]) for row in table("map.csv")] == [
        ("ok", "80180"), ("moved", "192671"), ("family", "80180"),
    ]  # fmt: skip
    assert [(r["source_code"], r["concept_id"], r["replacement_id"]) for r in table("outdated.csv")] == [
        ("moved", "35208414", "192671"), ("lost", "442116", ""), ("gone", "999999", ""),
        ("half", "442116", ""),
    ]  # fmt: skip
    written = usagi("out.usagi.csv")
    assert [(row["sourceCode"], row["mappingStatus"], row["conceptId"]) for row in written] == [
        ("ok", "APPROVED", "80180"), ("moved", "FLAGGED", "35208414"), ("lost", "FLAGGED", "442116"),
        ("gone", "FLAGGED", "999999"), ("half", "FLAGGED", "80180"), ("half", "FLAGGED", "442116"),
        ("family", "APPROVED", "80180"), ("family", "APPROVED", "192671"),
    ]  # fmt: skip
    comments = [row["comment"] for row in written]
    assert comments[1].startswith("approved before, but 35208414")
    assert "192671" in comments[1]
    assert comments[2].startswith("ok, fine; approved before, but 442116 Allergy to edible egg is deprecated")
    for said in (
        "4 terms have a target", "1 term is in source_to_concept_map with what replaces", "values, units,",
        "nothing replaces it",
    ):  # fmt: skip
        assert said in done.err
    assert done.code == 3


def test_non_standard_candidates_on_request_are_no_targets_of_source_to_concept_map(run_map: Map) -> None:
    names = {442116: "Allergy to edible egg", 433644: "Allergy to shellfish"}
    write("terms.csv", "code,name\n" + "".join(f"{key},{name}\n" for key, name in names.items()))
    done = run_map(
        "terms.csv", "-o", "out.csv", "--any", "--source-vocabulary-id", "X", "--map-file", "map.csv",
        "--unreviewed",
    )  # fmt: skip
    rows = table("out.csv")
    assert [(row["concept_id"], row["decision"]) for row in rows] == [
        ("442116", "review"),
        ("433644", "review"),
    ]
    assert [row["outdated"].split(" is ")[1] for row in rows] == [
        "deprecated and nothing replaces it", "not standard and nothing replaces it",
    ]  # fmt: skip
    assert table("map.csv") == []
    assert done.err.count("not in source_to_concept_map: ") == 2
    assert done.code == 3


def test_a_code_with_several_names_is_left_out_by_code_and_written_by_code_and_name(run_map: Map) -> None:
    lines = [
        usagi_line("K1", "secret one", "APPROVED"), usagi_line("K1", "secret two", "APPROVED", id="192671"),
        usagi_line("K2", "other", "APPROVED"), usagi_line("", "uncoded", "APPROVED"),
        usagi_line("", "uncoded too", "APPROVED"), usagi_line("K3", "left", "APPROVED"),
        usagi_line("K3", "right", "FLAGGED"),
    ]  # fmt: skip
    Path("in.usagi.csv").write_text(USAGI_HEADER + "\n" + "".join(lines))
    arguments = (
        "in.usagi.csv",
        "-o",
        "out.usagi.csv",
        "--source-vocabulary-id",
        "X",
        "--map-file",
        "map.csv",
    )
    done = run_map(*arguments)
    assert [row["source_code"] for row in table("map.csv")] == ["K2", "uncoded", "uncoded too"]
    assert "2 codes are not in source_to_concept_map" in done.err
    assert "K1, K3" in done.err
    assert "secret" not in done.err
    assert done.code == 3
    done = run_map(*arguments, "--map-key", "code+name")
    assert [row["source_code"] for row in table("map.csv")] == [
        "K1|secret one", "K1|secret two", "K2|other", "uncoded", "uncoded too", "K3|left",
    ]  # fmt: skip
    assert done.code == 0


# --- interruptions


# Where the run is killed: after how many rows, files and commits; then the files that are new, and whether
# the database is.
KILLS = [
    ("in the transaction", "omop_emb.mapping.file_job.map_table", "write_map_rows", 0, [], False),
    ("before the first rename", "omop_emb.safe_files.atomic_file", "AtomicFiles.publish", 0, [], True),
    ("between the renames", "pathlib", "Path.replace", 1, ["map.csv"], True),
    (
        "before the journal goes", "omop_emb.mapping.files.journal", "Journal.remove",
        0, ["map.csv", "out.csv"], True,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("_case", "module", "name", "calls", "new", "is_stored"), KILLS, ids=[kill[0] for kill in KILLS]
)
def test_a_kill_between_database_and_files_is_said_and_mended_by_the_next_run(
    sample_database_url: str,
    run_map: Map,
    monkeypatch: pytest.MonkeyPatch,
    _case: str,
    module: str,
    name: str,
    calls: int,
    new: list[str],
    is_stored: bool,
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    write("terms.csv", "code,name\n1,Osteoarthritis\n2,Sinusitis\n")
    for path in ("out.csv", "map.csv"):
        write(path, "old\n")
    arguments = (
        "terms.csv", "-o", "out.csv", "--source-vocabulary-id", "LAB", "--map-file", "map.csv",
        "--map-schema", "omop_emb", "--unreviewed",
    )  # fmt: skip
    script = (
        "import functools, importlib, os, signal, sys\n"
        "module, name, calls = sys.argv[1], sys.argv[2].split('.'), int(sys.argv[3])\n"
        "owner = functools.reduce(getattr, name[:-1], importlib.import_module(module))\n"
        "called, left = getattr(owner, name[-1]), [calls]\n"
        "def killed(*arguments, **options):\n"
        "    if not left[0]:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    left[0] -= str(arguments[0]).endswith('.part')\n"
        "    return called(*arguments, **options)\n"
        "setattr(owner, name[-1], killed)\n"
        "from omop_emb.cli.main import main\n"
        "sys.argv[1:] = ['map', *sys.argv[4:]]\n"
        "main()\n"
    )
    command = [sys.executable, "-c", script, module, name, str(calls), *arguments]
    killed = subprocess.run(command, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path for path in ("map.csv", "out.csv") if Path(path).read_text() != "old\n"] == new
    assert bool(_stored_codes(sample_database_url)) == is_stored
    done = run_map(*arguments)
    assert "an earlier run with this output did not finish" in done.err
    assert (
        [row["source_code"] for row in table("map.csv")] == ["1", "2"] == _stored_codes(sample_database_url)
    )
    assert len(table("out.csv")) == 2
    assert not journal_path("out.csv").exists()
    assert "did not finish" not in run_map(*arguments).err


def _stored_codes(url: str) -> list[str]:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        name = connection.execute("select to_regclass('omop_emb.source_to_concept_map')").fetchone()
        if name == (None,):
            return []
        rows = connection.execute("select source_code from omop_emb.source_to_concept_map order by 1")
        return [code for (code,) in rows.fetchall()]


@pytest.mark.parametrize("options", [(), ("--resume",)])
def test_a_link_in_the_place_of_the_journal_is_not_followed(run_map: Map, options: tuple[str, ...]) -> None:
    write("terms.csv", "name\nOsteoarthritis\n")
    write("precious", "root:x:0:0\n")
    journal_path("out.csv").symlink_to("precious")
    with pytest.raises(InputError, match=r"\.out\.csv\.journal .* is a link; .* remove it"):
        run_map("terms.csv", "-o", "out.csv", *options)
    assert Path("precious").read_text() == "root:x:0:0\n"
    assert not Path("out.csv").exists()


def test_a_killed_run_leaves_the_old_output_and_can_be_resumed(
    database: str, run_map: Map, tmp_path: Path
) -> None:
    names = [f"broken arm number {n}" for n in range(200)]
    write("terms.csv", "code,name\n" + "".join(f"{n},{name}\n" for n, name in enumerate(names)))
    write("out.csv", "the old one\n")
    command = [
        sys.executable, "-c", "from omop_emb.cli.main import main; main()",
        "map", "terms.csv", "-o", "out.csv", "--batch-size", "5",
    ]  # fmt: skip
    environment = {**os.environ, "OMOP_EMB_DATABASE_URL": database}
    journal = journal_path("out.csv")
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300  # a busy machine
        while time.monotonic() < deadline and process.poll() is None:
            if journal.exists() and journal.stat().st_size > 20_000:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert Path("out.csv").read_text() == "the old one\n"
    mapped_before = journal.read_bytes().count(b"\n") - 1
    assert 0 < mapped_before < 200
    other = ("-k 3", "--vocabulary SNOMED", "--domain Condition", "--name-template {name}")
    for options in (option.split() for option in other):
        with pytest.raises(OmopEmbError, match="other settings"):
            run_map("terms.csv", "-o", "out.csv", *options, "--resume")
    done = run_map("terms.csv", "-o", "out.csv", "--batch-size", "50", "--resume")
    assert f"{mapped_before:,} terms are mapped already" in done.err
    assert [row["source_name"] for row in table("out.csv")] == names
    columns = ("source_name", "concept_id", "decision", "others", "provenance")
    resumed = [[row[column] for column in columns] for row in table("out.csv")]
    run_map("terms.csv", "-o", "out.csv")
    assert [[row[column] for column in columns] for row in table("out.csv")] == resumed
    assert not journal.exists()


def test_a_database_error_leaves_no_file(run_map: Map) -> None:
    write("terms.csv", "code,name\n1,Cough\n")
    with pytest.raises(OmopEmbError, match=r"no table nowhere\.source_to_concept_map"):
        run_map(
            "terms.csv", "-o", "out.csv", "--review-queue", "q.csv", "--source-vocabulary-id", "X",
            "--map-schema", "nowhere",
        )  # fmt: skip
    assert not Path("out.csv").exists()
    assert not Path("q.csv").exists()
    assert not list(Path().glob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--map-file", "m.csv"), "--source-vocabulary-id"),
        (("--source-vocabulary-id", "X"), "--map-file or --map-schema"),
        (("--accept-untrained",), "--accept-precision"),
        (("--accept-precision", "0.98"), "omop-emb calibrate"),
        (("--judge", "llama3"), "provider:model"),
        (("--outdated", "x.csv"), "--previous"),
        (("--map-key", "code"), "--map-file or --map-schema"),
        (("--review-queue", "out.csv"), "two outputs have the same name"),
        (("--review-queue", "terms.csv"), "is the input"),
        (("--encoding", "klingon"), "klingon"),
        (("--context-column", "name"), "--judge"),
        (("--sheet", "Terms"), "--sheet does nothing"),
        (("--separator", ";"), "leave out --separator"),
        (("--header-row", "9"), "--header-row"),
        (("--code-column", "name", "--name-column", "nmae"), "did you mean 'name'"),
        (("--name-column", "nmae"), "did you mean 'name'"),
    ],
)
def test_contradicting_options_are_refused_before_anything_is_written(
    run_map: Map, arguments: tuple[str, ...], message: str
) -> None:
    write("terms.csv", "code,name\n1,Cough\n")
    with pytest.raises(Exception, match=message) as caught:
        run_map("terms.csv", "-o", "out.csv", *arguments)
    assert type(caught.value).__module__ in ("omop_emb.errors", "click.exceptions")
    assert not Path("out.csv").exists()


def test_forced_acceptance_is_written_into_the_output(run_map: Map) -> None:
    write("terms.csv", "code,name\n1,Osteoarthritis\n")
    run_map("terms.csv", "-o", "out.csv", "--accept-precision", "0.9", "--accept-untrained")
    (row,) = table("out.csv")
    assert "accepted without approvals of this site (--accept-untrained)" in row["provenance"]
