"""A file whose rows are all bad costs no more memory than its first problems; all are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.approvals.approved_file import read_approved
from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns
from omop_emb.mapping.evaluation.gold import read_gold
from omop_emb.mapping.files import problem_list
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.problem_list import ProblemList, merged_problems
from omop_emb.mapping.files.reading_report import count_lines, first_problems
from omop_emb.mapping.files.source_to_concept_map import MapRowBuilder, MapSettings
from omop_emb.mapping.files.term_file import open_terms


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problem_list, "MOST_PROBLEMS", 7)


def problems(*lines: int) -> ProblemList:
    return ProblemList(Problem(line, "bad") for line in lines)


def test_the_first_are_kept_and_all_are_counted() -> None:
    found = problems(*range(1, 21))
    assert [problem.line for problem in found] == [*range(1, 8)]
    assert found.total == 20
    found += problems(*range(21, 41))
    assert (len(found), found.total) == (7, 40)
    assert list(first_problems(found))[-1] == "35 more such rows"
    found.clear()
    assert (found, found.total) == ([], 0)


def test_lists_are_merged_by_line_and_what_is_in_two_counts_once() -> None:
    merged = merged_problems(problems(3, 1), problems(*range(3, 20)), [Problem(2, "bad")])
    assert [problem.line for problem in merged] == [1, 2, 3, 4, 5, 6, 7]
    assert merged.total == 19


def test_a_file_of_bad_rows_is_reported_with_their_number(tmp_path: Path) -> None:
    path = tmp_path / "terms.csv"
    path.write_text("code,name\n" + "1,\n" * 500 + "2,fever\n")
    with open_terms(path) as terms:
        for _ in range(2):  # as a job reads it, first to count
            assert [term.name for term in terms] == ["fever"]
            assert len(terms.problems) == 7
            assert [*count_lines(terms)] == ["terms.csv: 1 term, 500 rows left out"]


def test_approvals_of_which_most_are_bad_are_reported_with_their_number(tmp_path: Path) -> None:
    path = tmp_path / "approved.csv"
    rows = "".join(f"bad {number},x\n" for number in range(500))
    path.write_text(f"name,concept_id\n{rows}")
    columns = ApprovedColumns(all_approved=True)
    with pytest.raises(InputError, match="none of 500 rows"):
        read_approved(path, columns)
    path.write_text(f"name,concept_id\n{rows}fever,437663\n")
    approved = read_approved(path, columns).problems
    assert (len(approved), approved.total) == (7, 500)
    assert read_gold([path], columns).problems[-1] == "approved.csv: 493 more such rows"


def test_a_table_that_takes_hardly_any_row_is_reported_with_their_number() -> None:
    with MapRowBuilder(MapSettings(source_vocabulary_id="LOCAL"), lambda _: {}) as builder:
        told = [builder.add_approved(line, "c" * 51, "fever", [437663]) for line in range(500)]
        told += [builder.add_approved(line, str(line), "x" * 256, [0]) for line in range(500, 600)]
        assert len(list(builder.rows())) == 100
    assert told == ["the code is longer than 50 characters"] * 500 + [""] * 100
    assert (len(builder.problems), builder.problems.total, builder.cut) == (7, 600, 100)
