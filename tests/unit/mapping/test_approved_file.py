"""Approved files: what counts as approved in files of every kind, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.approvals.approved_file import ApprovedFile, read_approved
from omop_emb.mapping.approvals.review_words import Verdict, read_verdict
from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns, read_concept_ids
from omop_emb.mapping.evaluation.gold import read_gold
from omop_emb.mapping.files.result_rows import candidate_columns, candidate_rows, term_columns, term_row
from omop_emb.mapping.files.review_queue import write_review_queue
from omop_emb.mapping.files.table_writer import write_table
from omop_emb.mapping.files.usagi_writer import write_usagi
from omop_emb.mapping.records import Decision, MappedTerm, SourceTerm
from tests.unit.mapping.files.sample_results import candidate, mapped

ALL = ApprovedColumns(all_approved=True)
USAGI = "sourceCode,sourceName,sourceFrequency,matchScore,mappingStatus,statusSetBy,conceptId\n"
MAP = "source_code,source_code_description,source_vocabulary_id,target_concept_id,invalid_reason\n"


def approved_in(file: ApprovedFile) -> dict[str, list[int]]:
    return {one.term.name: [target.concept_id for target in one.targets] for one in file.approved}


def written(folder: Path, text: str) -> Path:
    path = folder / "file.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("verdict", "texts"),
    [
        (Verdict.APPROVED, ["approve", "Approve", " APPROVED ", "x", "X", "yes", "Ja", "1", "1.0", "TRUE"]),
        (
            Verdict.APPROVED,
            ["ok.", "✓", "✔\ufe0f", "Sí", "oui", "hyväksytty", "Approuvé", "accept"],
        ),
        (Verdict.NO_MATCH, ["no match", "No_Match", "NO-MATCH", "nomatch", "unmapped", "kein Treffer"]),
        (Verdict.REJECTED, ["no", "Nein", "0", "0.0", "FALSE", "wrong", "reject", "✗", "incorrect"]),
        (Verdict.UNDECIDED, ["", "  ", "-", "?", "yes?", "todo", "n/a", "NaN", "UNCHECKED", "FLAGGED"]),
        (Verdict.UNDECIDED, ["IGNORED", "AUTO_MAPPED", "AUTO_MAPPED_TO_1", "INVALID_TARGET", "review"]),
        (None, ["None", "AB", "2024-03-01", "approved by Anna", "see comment", "316866", "2"]),
    ],
)
def test_what_reviewers_write_is_understood_or_said(verdict: Verdict | None, texts: list[str]) -> None:
    assert {text: read_verdict(text) for text in texts} == dict.fromkeys(texts, verdict)


def test_named_values_are_the_only_ones_that_approve() -> None:
    values = ("Green", "2")
    assert [read_verdict(text, values) for text in ("green", "2", "yes", "red", "", "no match")] == [
        *(Verdict.APPROVED, Verdict.APPROVED),
        *(Verdict.UNDECIDED, Verdict.UNDECIDED, Verdict.UNDECIDED, Verdict.NO_MATCH),
    ]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", ()), ("1", (1,)), ("317009.0", (317009,)), ("1|2", (1, 2)), ("1; 2", (1, 2)), ("0", (0,)),
        ("NA", ()), ("nan", ()), ("317,009", None), ("4,329,847", None), ("-1", None), ("x", None),
        ("1.5", None), ("9999999999", None), ("4.3E+07", None), ("٣", None),
        ("12345678,87654321", (12345678, 87654321)),
        ("2147483647", (2147483647,)), ("2147483648", None), ("3000000000.0", None), ("1|3000000000", None),
    ],
)  # fmt: skip
def test_concept_ids_are_read_as_programs_write_them(text: str, ids: tuple[int, ...] | None) -> None:
    assert read_concept_ids(text) == ids


@pytest.mark.parametrize(
    ("text", "columns", "approved", "problems"),
    [
        # Usagi's file: APPROVED, but not by omop-emb itself
        (USAGI + "1,a,1,1,APPROVED,Anna,7\n2,b,1,1,UNCHECKED,,8\n3,c,1,1,APPROVED,omop-emb,9\n", None,
         {"a": [7]}, 0),
        (USAGI + "1,a,1,1,APPROVED,,0\n2,b,1,1,FLAGGED,,8\n3,c,1,1,IGNORED,,0\n4,d,1,1,INVALID_TARGET,,9\n",
         None, {"a": []}, 0),
        # tables that say so
        ("name,concept_id,reviewed\na,7,x\nb,8,\nc,9,no\nd,1,no match\ne,5,huh\n", None,
         {"a": [7], "d": []}, 1),
        ("name;concept_id;Approved\na;7|8;TRUE\nb;8;FALSE\n", None, {"a": [7, 8]}, 0),
        ("name,concept_id,reviewed\na,7,approve\na,8,approve\na,9,\n", None, {"a": [7, 8]}, 0),
        ("name,concept_id,reviewed\na,7,approve\na,,no match\nb,1,x\n", None, {"b": [1]}, 1),
        ("name,concept_id,reviewed\na,2147483648,x\nb,2147483647,x\nc,7,x\n", None,
         {"b": [2147483647], "c": [7]}, 1),
        ("name,concept_id,reviewed\na,,approve\nb,0,approve\nc,q,approve\nd,q,\n", None, {"b": []}, 2),
        ("name,concept_id,colour\na,7,green\nb,8,red\n",
         ApprovedColumns(approved="colour", approved_values=("green",)), {"a": [7]}, 0),
        ("name,concept_id,checked by hand\na,7,ja\nb,8,nein\n",
         ApprovedColumns(approved="checked by hand"), {"a": [7]}, 0),
        ("sourceName,conceptId,mappingStatus,statusSetBy\na,7,APPROVED,Anna\nb,8,APPROVED,omop-emb\n", None,
         {"a": [7]}, 0),
        # tables that do not, with a person who vouches for them
        ("name,concept_id\na,7\nb,\nc,0\n", ALL, {"a": [7], "b": [], "c": []}, 0),
        (MAP + "1,a,V,7,\n2,b,V,8,D\n3,c,V,0,\n4,d,V,x,\n", ALL, {"a": [7], "c": []}, 1),
        # what a file says of itself is not overruled
        ("name,concept_id,reviewed\na,7,x\nb,8,\n", ALL, {"a": [7]}, 0),
    ],
)  # fmt: skip
def test_a_file_says_by_its_own_columns_what_was_approved(
    tmp_path: Path,
    text: str,
    columns: ApprovedColumns | None,
    approved: dict[str, list[int]],
    problems: int,
) -> None:
    file = read_approved(written(tmp_path, text), columns)
    assert approved_in(file) == approved
    assert len(file.problems) == problems


@pytest.mark.parametrize(
    ("text", "columns", "error"),
    [
        ("name,concept_id\na,7\n", None, "--all-approved"),
        (MAP + "1,a,V,7,\n", None, "--all-approved"),
        ("name,chosen\na,7\n", None, "--target-column"),
        ("name,concept_id\na,7\n", ApprovedColumns(approved="status"), "no column 'status'"),
        ("name,concept_id\na,7\n", ApprovedColumns(approved_values=("x",)), "--approved-column"),
        ("name,concept_id,reviewed\na,7,\nb,8,no\n", None, "no approved mapping"),
        ("name,concept_id,approved\na,7,AB\nb,8,CD\n", None, "--approved-value"),
        (USAGI + "1,a,1,1,UNCHECKED,,7\n", None, "no approved mapping"),
        (USAGI + "1,a,1,1,APPROVED,omop-emb,7\n", None, "no approved mapping"),
        (USAGI + "1,a,1,1,APPROVED,,7\n", ApprovedColumns(approved="x"), "mappingStatus"),
    ],
)  # fmt: skip
def test_a_file_without_approvals_is_refused_in_one_line(
    tmp_path: Path, text: str, columns: ApprovedColumns | None, error: str
) -> None:
    with pytest.raises(InputError, match=error) as raised:
        read_approved(written(tmp_path, text), columns)
    assert "\n" not in str(raised.value)


# --- what `map` writes

COUGH = SourceTerm(name="cough", code="1", extra={"ward": "north"}, line=2)
RESULTS = (
    mapped(COUGH, candidate(7), candidate(8, rank=2)),
    mapped(SourceTerm(name="cold", code="2", line=3), candidate(9), decision=Decision.ACCEPT),
    mapped(SourceTerm(name="nothing", code="3", line=4), decision=Decision.NO_MATCH),
    mapped(SourceTerm(name="both", code="4", line=5), candidate(11), by_code=(11, 12)),
)


def write_terms(path: Path, results: tuple[MappedTerm, ...]) -> None:
    with write_table(path, term_columns(["ward"])) as write_row:
        for one in results:
            write_row(term_row(one))


def write_candidates(path: Path, results: tuple[MappedTerm, ...]) -> None:
    with write_table(path, candidate_columns(["ward"])) as write_row:
        for one in results:
            for row in candidate_rows(one):
                write_row(row)


def write_queue(path: Path, results: tuple[MappedTerm, ...]) -> None:
    with write_review_queue(path, extra_headers=["ward"]) as add:
        for one in results:
            add(one)


def write_workbook(path: Path, results: tuple[MappedTerm, ...]) -> None:
    write_terms(path.with_suffix(".csv"), results)
    pd.read_csv(path.with_suffix(".csv")).to_excel(path, index=False)


OUTPUTS = [
    ("mapped.csv", write_terms),
    ("mapped.tsv", write_terms),
    ("mapped.parquet", write_terms),
    ("mapped.xlsx", write_workbook),
    ("candidates.csv", write_candidates),
    ("candidates.parquet", write_candidates),
    ("queue.csv", write_queue),
]


@pytest.mark.parametrize(("name", "write"), OUTPUTS, ids=[name for name, _ in OUTPUTS])
@pytest.mark.parametrize("columns", [None, ALL], ids=["", "all-approved"])
def test_what_map_wrote_approves_nothing_in_any_container(
    tmp_path: Path, name: str, write: Any, columns: ApprovedColumns | None
) -> None:
    write(tmp_path / name, RESULTS)
    with pytest.raises(InputError, match="reviewed"):
        read_approved(tmp_path / name, columns)
    with pytest.raises(InputError, match="reviewed"):  # not even to measure with
        read_gold([tmp_path / name], columns, whole_tables=True)


def test_what_map_accepted_for_usagi_approves_nothing(tmp_path: Path) -> None:
    with write_usagi(tmp_path / "out.usagi.csv") as out:
        for one in RESULTS:
            out.write(one)
    with pytest.raises(InputError, match="no approved mapping"):
        read_approved(tmp_path / "out.usagi.csv")


def review(path: Path, verdicts: dict[str, str], changed: dict[str, str] | None = None) -> None:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame["reviewed"] = [verdicts.get(name, "") for name in frame["source_name"]]
    for name, concept_id in (changed or {}).items():
        frame.loc[frame["source_name"] == name, "concept_id"] = concept_id
    frame.to_csv(path, index=False)


def test_a_reviewed_output_is_read_back_with_what_the_reviewer_changed(tmp_path: Path) -> None:
    path = tmp_path / "mapped.csv"
    write_terms(path, RESULTS)
    review(path, {"cough": "x", "cold": "x", "nothing": "x", "both": "x"}, {"cold": "10"})
    file = read_approved(path)
    assert approved_in(file) == {"cough": [7], "cold": [10], "nothing": [], "both": [11, 12]}
    assert file.problems == []
    (cough, *_) = file.approved
    assert (cough.term.domain, cough.term.extra["ward"]) == (None, "north")  # the candidate's domain is none
    review(path, {"cough": "no match", "nothing": "x"}, {"nothing": "13", "cold": "14"})
    assert approved_in(read_approved(path)) == {"cough": [], "nothing": [13]}


def test_the_values_beside_a_mapping_are_approved_with_it_unless_the_reviewer_changed_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mapped.csv"
    write_terms(path, RESULTS)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame["value_concept_id"] = "99"
    frame.to_csv(path, index=False)
    review(path, {"cough": "x", "cold": "x"}, {"cold": "10"})
    types = {
        one.term.name: [target.mapping_type for target in one.targets] for one in read_approved(path).approved
    }
    assert types == {"cough": ["MAPS_TO", "MAPS_TO_VALUE"], "cold": ["MAPS_TO"]}


def test_approving_a_candidate_where_map_decided_no_match_is_unclear(tmp_path: Path) -> None:
    path = tmp_path / "mapped.csv"
    write_terms(path, (mapped(COUGH, candidate(7), decision=Decision.NO_MATCH), *RESULTS[1:]))
    review(path, {"cough": "x", "cold": "x"})
    file = read_approved(path)
    assert approved_in(file) == {"cold": [9]}
    assert ["no match" in problem.reason for problem in file.problems] == [True]


def test_a_mark_in_the_candidates_approves_that_candidate(tmp_path: Path) -> None:
    path = tmp_path / "candidates.csv"
    write_candidates(path, RESULTS)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame["reviewed"] = ["x" if concept_id == "8" else "" for concept_id in frame["concept_id"]]
    frame.to_csv(path, index=False)
    assert approved_in(read_approved(path)) == {"cough": [8]}


def test_what_was_approved_before_stays_approved_in_every_output(tmp_path: Path) -> None:
    reused = mapped(COUGH, candidate(7), decision=Decision.ACCEPT, previous=(7,))
    none = mapped(SourceTerm(name="none", code="5", line=9), decision=Decision.NO_MATCH, previous=(0,))
    write_terms(tmp_path / "mapped.csv", (reused, none, *RESULTS[1:]))
    assert approved_in(read_approved(tmp_path / "mapped.csv")) == {"cough": [7], "none": []}
    with write_usagi(tmp_path / "out.usagi.csv") as out:
        for one in (reused, none, *RESULTS[1:]):
            out.write(one)
    assert approved_in(read_approved(tmp_path / "out.usagi.csv")) == {"cough": [7], "none": []}


def test_only_to_measure_a_whole_table_counts_and_is_said_to(tmp_path: Path) -> None:
    path = written(tmp_path, "name,concept_id\na,7\nb,\n")
    with pytest.raises(InputError, match="--all-approved"):
        read_gold([path])
    read = read_gold([path], whole_tables=True)
    assert [(term.term.name, set(term.targets)) for term in read.terms] == [("a", {7}), ("b", set())]
    assert "every row" in read.notes[0]
    usagi = tmp_path / "usagi.csv"
    usagi.write_text(USAGI + "1,a,1,1,APPROVED,,7\n", encoding="utf-8")
    with pytest.raises(InputError, match="has no effect"):
        read_gold([usagi], ALL)
    assert len(read_gold([path, usagi], ALL).terms) == 3


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (ApprovedColumns(all_approved=True, sheet="Terms"), "--sheet does nothing"),
        (ApprovedColumns(all_approved=True, separator="|"), "leave out --separator"),
        (ApprovedColumns(all_approved=True, header_row=9), "--header-row"),
        (ApprovedColumns(all_approved=True, encoding="klingon"), "no encoding"),
    ],
)
def test_an_option_that_can_do_nothing_with_a_file_is_refused(
    tmp_path: Path, columns: ApprovedColumns, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_approved(written(tmp_path, "name;concept_id\ncough;254761\n"), columns)


def test_how_an_approved_file_was_read_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, "name;concept_id\ncough;254761\n")
    file = read_approved(path, ApprovedColumns(all_approved=True, encoding="cp1252", header_row=1))
    assert "read as CSV or TSV, encoding cp1252, separator semicolon, header in line 1" in file.note
