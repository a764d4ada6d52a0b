"""What other programs write is read as they mean it: one case a line."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.files.columns import Columns
from omop_emb.mapping.files.excel_cells import number_text
from omop_emb.mapping.files.frequency import read_frequency
from omop_emb.mapping.files.reading_report import count_lines, reading_lines
from omop_emb.mapping.files.repair import repair
from omop_emb.mapping.files.term_file import FileKind, ReadOptions, TermFile, open_terms
from omop_emb.mapping.files.usagi_writer import write_usagi
from omop_emb.mapping.records import SourceTerm


def read(path: Path, options: ReadOptions | None = None) -> tuple[list[SourceTerm], TermFile]:
    with open_terms(path, options) as terms:
        return list(terms), terms


def write(folder: Path, content: str | bytes, name: str = "terms.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Content, and (code, name) of its terms.
TEXTS: list[tuple[str, str | bytes, list[tuple[str, str]]]] = [
    (
        "a target's name is not the term",
        "label,concept_id,concept_name\nfever,437663,Fever\n",
        [("", "fever")],
    ),
    ("nor is its code", "label,concept_id,concept_code\nfever,437663,386661006\n", [("", "fever")]),
    ("nor omop_ columns", "omop_name,omop_concept_id,text\nFever,437663,fever\n", [("", "fever")]),
    (
        "a table of concepts without ids",
        "concept_code,concept_name\nI10,Hypertension\n",
        [("I10", "Hypertension")],
    ),
    ("a list without header", "Hypertension\nFever\n", [("", "Hypertension"), ("", "Fever")]),
    ("a list of one term", "Hypertension", [("", "Hypertension")]),
    ("a list with a heading", "Diagnoses\nFever\n", [("", "Fever")]),
    ("a list with a column's name", "lab_item_name\nFever\n", [("", "Fever")]),
    (
        "a list of phrases with commas",
        "Pain, chest\nFever, high\n",
        [("", "Pain, chest"), ("", "Fever, high")],
    ),
    ("a list with quotes", 'say "ah"\n"open\nFever\n', [("", 'say "ah"'), ("", '"open'), ("", "Fever")]),
    ("Excel's sep line", "sep=;\ncode;name\n1;a, b\n", [("1", "a, b")]),
    ("titles above the header", "Export of 2024\n\ncode;name\n1;a\n2;b\n", [("1", "a"), ("2", "b")]),
    ("titles that Excel padded", "My list;;\n;;\ncode;name;n\n1;a;3\n", [("1", "a")]),
    ("comment lines above", "# exported, by X\n# again\ncode\tname\n1\ta\n", [("1", "a")]),
    ("German", "Schl\u00fcssel;Bezeichnung;H\u00e4ufigkeit\n1;Husten;3\n", [("1", "Husten")]),
    ("German, Benennung", "Code;Benennung\n1;Husten\n", [("1", "Husten")]),
    ("Dutch", "Code;Omschrijving;Aantal\n1;Hoest;3\n", [("1", "Hoest")]),
    ("Estonian", "Kood;Nimi\n1;K\u00f6ha\n", [("1", "K\u00f6ha")]),
    ("Spanish", "C\u00f3digo;Descripci\u00f3n\n1;Tos\n", [("1", "Tos")]),
    ("French", "Code;Libell\u00e9\n1;Toux\n", [("1", "Toux")]),
    ("Danish", "Kode;Ben\u00e6vnelse\n1;Hoste\n", [("1", "Hoste")]),
    ("Polish", "Kod;Nazwa\n1;Kaszel\n", [("1", "Kaszel")]),
    ("a header that was encoded twice", "Code;Libell\u00c3\u00a9\n1;Toux\n", [("1", "Toux")]),
    ("old Mac line ends", "code,name\r1,a\r2,b\r", [("1", "a"), ("2", "b")]),
    ("PostgreSQL's \\N", "code\tname\n\\N\tcough\n2\t\\N\n3\tpain\n", [("", "cough"), ("3", "pain")]),
    (
        "PostgreSQL's plain quotes",
        'code\tname\n1\t"Dorsal" pain\n2\t5" tube\n3\t"open\n4\tx\n',
        [("1", '"Dorsal" pain'), ("2", '5" tube'), ("3", '"open'), ("4", "x")],
    ),
    (
        "plain quotes that close in a later row",
        'code\tname\n1\t"Acute\n2\tx\n3\tAlso"\n',
        [("1", '"Acute'), ("2", "x"), ("3", 'Also"')],
    ),
    ("MySQL's backslashes", 'code,name\n1,"say \\"ah\\", now"\n2,b\n', [("1", 'say "ah", now'), ("2", "b")]),
    ("backslashes over lines", 'code,name\n1,"a \\"b\\"\nc"\n2,b\n', [("1", 'a "b"\nc'), ("2", "b")]),
    (
        "SQL Server's NULL and footer",
        "code,name\n1,a\nNULL,b\n2,NULL\n\n(3 rows affected)\n",
        [("1", "a"), ("", "b")],
    ),
    ("psql's table", " code | name  \n------+-------\n 1    | cough \n(1 row)\n", [("1", "cough")]),
    ("pandas' index", ",code,name\n0,A1,a\n1,A2,b\n", [("A1", "a"), ("A2", "b")]),
    ("pandas' floats", "code,name\n317009.0,a\n,b\n12.0,c\n", [("317009", "a"), ("", "b"), ("12", "c")]),
    ("ICD-9 is no float", "code,name\n250.0,a\n401.0,b\n", [("250.0", "a"), ("401.0", "b")]),
    ("R's row names", '"code"\t"name"\n"1"\t"A1"\t"a"\n"2"\t"A2"\t"b"\n', [("A1", "a"), ("A2", "b")]),
    ("R's spaces", '"code" "name"\n"1" "A1" "a b"\n"2" "A2" "c d"\n', [("A1", "a b"), ("A2", "c d")]),
    ("R's exponent", "code,name\n1e+05,a\n", [("100000", "a")]),
    ("Excel's exponent", "code,name\n1.00E+05,a\n", [("", "a")]),
    ("a code kept as text", 'code,name\n"=""00123""",a\n\'00124,b\n', [("00123", "a"), ("00124", "b")]),
    ("Excel's errors", "code,name\n#N/A,a\n2,#REF!\n3,b\n", [("", "a"), ("3", "b")]),
    ("trailing separators in the header", "code,name,,\n1,a\n2,b\n", [("1", "a"), ("2", "b")]),
    ("trailing separators in the rows", "code,name\n1,a,,\n2,b,,\n", [("1", "a"), ("2", "b")]),
    ("the header again", "code,name\n1,a\ncode,name\n2,b\n", [("1", "a"), ("2", "b")]),
    ("padded values", "code ;name \n 1 ; a  \n", [("1", "a")]),
    ("NUL characters", b"code,name\n1,a\0b\0\n", [("1", "ab")]),
    (
        "a stray byte of Windows-1252",
        "code,name\n1,K\u00f6ha\n2,\u00c4rger\n3,\u00d6l\n".encode() + b"4,caf\xe9\n",
        [("1", "K\u00f6ha"), ("2", "\u00c4rger"), ("3", "\u00d6l"), ("4", "caf\u00e9")],
    ),
    (
        "names that were encoded twice",
        "code,name\n1,M\u00c3\u00a9ni\u00c3\u00a8re\n2,M\u00fcller\n",
        [("1", "M\u00e9ni\u00e8re"), ("2", "M\u00fcller")],
    ),
    (
        "rows that say nothing",
        "code,name\n1,-\n2,:\n3,\u200b\n4,\u00ad\n5,\ufeff\n6,...\n7,a\n8,%\n9,()\n",
        [("7", "a"), ("8", "%")],
    ),
]


@pytest.mark.parametrize(("content", "expected"), [pytest.param(*case[1:], id=case[0]) for case in TEXTS])
def test_text_is_read_as_its_program_means_it(
    tmp_path: Path, content: str | bytes, expected: list[tuple[str, str]]
) -> None:
    terms, _ = read(write(tmp_path, content))
    assert [(term.code, term.name) for term in terms] == expected


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("12", 12),
        ("1,204", 1204),
        ("1 204", 1204),
        ("1.204.000", 1204000),
        ("12.0", 12),
        ("<5", 5),
        ("", None),
        ("-", None),
        ("NA", None),
        ("0", 0),
        ("1.204,5", 1204),
        ("1,204.5", 1204),
        (">100", 100),
        ("\u226510", 10),
        ("1'204", 1204),
        ("1\u202f204", 1204),
        ("1,20,400", 120400),
        ("1e+05", 100000),
        ("1E5", 100000),
        ("12,5", 12),
        ("n=12", 12),
        ("12x", 12),
        ("ca. 50", 50),
        ("\\N", None),
        ("(null)", None),
        ("-1", None),
        ("<NA>", None),
        (".", None),
        ("n/a", None),
        ("1,20", 1),
        ("1.5", 1),
    ],
)
def test_a_frequency_is_read_as_it_is_meant(text: str, count: int | None) -> None:
    assert read_frequency(text) == count


@pytest.mark.parametrize(
    "text", ["often", "-3", "5-10", "12%", "0.5", "TRUE", "9" * 30, "1.2.3", "1,204,", "1e999"]
)
def test_what_is_no_count_is_not_used(text: str) -> None:
    with pytest.raises(InputError, match="is not used"):
        read_frequency(text)


@pytest.mark.parametrize(
    "text",
    [
        "M\u00e9ni\u00e8re\u2019s disease",
        "H\u00e4ufig",
        "38 \u00b0C",
        "10\u00b3/\u00b5L",
        "\u2265 5 \u20ac",
        "\u03b2-blocker",
        "\u041f\u0440\u0438\u0432\u0435\u0442",
        "\u017c\u00f3\u0142\u0107",
        "\u65e5\u672c",
        "M\u00c9NI\u00c8RE",
        "cora\u00e7\u00e3o",
        "\u201cquoted\u201d",
    ],
)
@pytest.mark.parametrize("mistaken", ["cp1252", "latin-1", "cp1250", "mac_roman", "cp850", "cp437"])
def test_text_that_was_encoded_twice_is_repaired(text: str, mistaken: str) -> None:
    try:
        damaged = text.encode().decode(mistaken)
    except UnicodeDecodeError:
        pytest.skip("this code page lacks one of the bytes")
    assert repair(damaged) == text


@pytest.mark.parametrize(
    "text",
    [
        "M\u00c9NI\u00c8RE",
        "CAF\u00c9\u00ae",
        "PROT\u00c9G\u00c9\u2122",
        "CAF\u00c8\u2122",
        "CORA\u00c7\u00c3O",
        "\u00abIRM\u00c3\u00bb",
        "na\u00efve",
        "\u00b15 \u00b5g",
        "\u201equoted\u201c",
        "\u00c5ngstr\u00f6m",
        "\u00c5\u00c4\u00d6",
        "20 \u00b0C",
        "\u041f\u0440\u0438\u0432\u0435\u0442",
        "\u03b2-\u03b1",
        "\u65e5\u672c\u8a9e",
        "l\u2019\u0153il",
        "Bo\u017e\u00ed",
        "\u017c\u00f3\u0142\u0107",
        "Ren\u00e9\u2019s",
    ],
)
def test_right_text_is_never_repaired(text: str) -> None:
    assert repair(text) == text


@pytest.mark.parametrize(
    ("value", "number_format", "text"),
    [
        (123, "00000", "00123"),
        (123.0, "00000", "00123"),
        (250, "0.00", "250.00"),
        (1.1, "0.00", "1.10"),
        (1.1, "General", "1.1"),
        (0.1 + 0.2, "General", "0.3"),
        (1204, "#,##0", "1204"),
        (0.12, "0%", "12%"),
        (123456789, "000-00-0000", "123-45-6789"),
        (123, '"ICD"000', "ICD123"),
        (5, '0" mg"', "5 mg"),
        (12, "[Red]000", "012"),
        (12, "$#,##0.00", "12.00"),
        (12, "@", "12"),
        (1.5, "0", "1.5"),
        (7, "0", "7"),
        (12345, "00\\-000", "12-345"),
        (250.123, "0.00", "250.123"),
        (-5, "0;(0)", "-5"),
        (12, "[$-409]0000", "0012"),
        (123456789012, "General", "123456789012"),
    ],
)
def test_a_number_of_excel_is_read_as_its_format_shows_it(
    value: float, number_format: str, text: str
) -> None:
    assert number_text(value, number_format) == (text, "")


def workbook(path: Path, *sheets: tuple[str, Sequence[Sequence[Any]]], hidden: Sequence[str] = ()) -> Path:
    book = openpyxl.Workbook()
    del book["Sheet"]
    for title, rows in sheets:
        page = book.create_sheet(title)
        for cells in rows:
            page.append(list(cells))
        page.sheet_state = "hidden" if title in hidden else "visible"
    book.save(path)
    book.close()
    return path


TERMS = [["code", "name"], ["1", "Cough"]]


@pytest.mark.parametrize(
    ("sheets", "hidden", "chosen"),
    [
        ([("Cover", [["Laboratory 2024"], ["name of the author", "X"]]), ("Terms", TERMS)], [], "Terms"),
        ([("Lists", TERMS), ("Terms", TERMS)], ["Lists"], "Terms"),
        ([("Empty", []), ("Terms", TERMS)], [], "Terms"),
        ([("Header only", TERMS[:1]), ("Terms", TERMS)], [], "Terms"),
        ([("A", TERMS), ("B", TERMS)], [], "A"),
    ],
)
def test_the_first_visible_sheet_with_terms_is_read(
    tmp_path: Path, sheets: list[Any], hidden: list[str], chosen: str
) -> None:
    terms, file = read(workbook(tmp_path / "a.xlsx", *sheets, hidden=hidden))
    assert file.table.sheet == chosen
    assert [term.name for term in terms] == ["Cough"]
    assert f"sheet {chosen}" in next(reading_lines(file))


def test_what_excel_made_of_a_code_is_undone_or_said(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page.append(["Titles", None, None])
    page.append([None, None, None])
    page.append(["code", "name", "n"])
    cases: list[tuple[Any, str]] = [
        (123, "00000"),
        (250, "0.00"),
        (100000, "0.00E+00"),
        (datetime.datetime(2024, 1, 2), "d-mmm"),
        (900000000000207008, "0"),
        (True, "General"),
        ("=1+1", "General"),
        ("#N/A", "General"),
        (" 7 ", "@"),
    ]
    for number, (value, number_format) in enumerate(cases):
        page.append([value, f"term {number}", 1])
        page.cell(page.max_row, 1).number_format = number_format
    page.append(["x", datetime.datetime(2024, 3, 1), 1])
    book.save(tmp_path / "a.xlsx")
    book.close()
    terms, file = read(tmp_path / "a.xlsx")
    assert file.table.header_line == 3
    assert [term.code for term in terms] == ["00123", "250.00", "", "", "", "TRUE", "", "", "7"]
    assert [problem.line for problem in file.dropped_values] == [6, 7, 8, 11]
    assert [str(problem) for problem in file.problems] == [
        "line 13: its term cannot be trusted: Excel has turned it into a date"
    ]


HEADER = [
    "sourceCode",
    "sourceName",
    "sourceFrequency",
    "matchScore",
    "mappingStatus",
    "conceptId",
    "comment",
]
DECISIONS = [
    ["1", "Cough", 3, 0.5, "APPROVED", 254761.0, "NA"],
    ["2", "Fever", None, None, "UNCHECKED", None, None],
    ["3", "Pain", 5, 0.1, "Approved", 7, None],
]


def _frame() -> pd.DataFrame:
    return pd.DataFrame(DECISIONS, columns=HEADER)


USAGI_WRITERS: dict[str, Callable[[Path], object]] = {
    "semicolon.csv": lambda path: _frame().to_csv(path, sep=";", index=False),
    "tab.tsv": lambda path: _frame().to_csv(path, sep="\t", index=False),
    "pandas.csv": lambda path: _frame().to_csv(path, index=False),
    "index.csv": lambda path: _frame().to_csv(path),
    "r.csv": lambda path: _frame().to_csv(path, na_rep="NA", quoting=2),
    "book.xlsx": lambda path: _frame().to_excel(path, index=False),
    "index.xlsx": lambda path: _frame().to_excel(path),
    "table.parquet": lambda path: _frame().to_parquet(path, index=False),
}


@pytest.mark.parametrize("name", USAGI_WRITERS)
def test_usagis_columns_keep_their_decisions_in_any_container(tmp_path: Path, name: str) -> None:
    USAGI_WRITERS[name](tmp_path / name)
    out = tmp_path / "out.usagi.csv"
    with open_terms(tmp_path / name) as file, write_usagi(out, original=file.usagi):
        assert file.kind is FileKind.USAGI
        assert [(term.code, term.frequency) for term in file] == [("2", None)]
        assert file.usagi is not None
        targets = {
            m.key[0]: (m.status, [t.concept_id for t in m.targets])
            for m in file.usagi.mappings()
            if not m.problem
        }
        assert targets == {"1": ("APPROVED", [254761]), "2": ("UNCHECKED", []), "3": ("APPROVED", [7])}
    with open_terms(out) as again:
        assert again.usagi is not None
        assert [m.status for m in again.usagi.mappings()] == ["APPROVED", "UNCHECKED", "APPROVED"]
        assert [m.rows[0]["conceptId"] for m in again.usagi.mappings()] == ["254761", "0", "7"]


def _text(path: Path) -> object:
    return path.write_text("code;name\n1;Cough\n")


CONTAINERS: dict[str, Callable[[Path], object]] = {
    "a.csv": _text,
    "a.xlsx": lambda path: workbook(path, ("Terms", TERMS)),
    "a.parquet": lambda path: pd.DataFrame(TERMS[1:], columns=TERMS[0]).to_parquet(path),
    "usagi.csv": lambda path: path.write_text(
        "sourceCode,sourceName,sourceFrequency,matchScore,mappingStatus,conceptId\n1,Cough,1,0,UNCHECKED,0\n"
    ),
}
OPTIONS = {
    "--encoding": ReadOptions(encoding="utf-8"),
    "--separator": ReadOptions(separator=";"),
    "--sheet": ReadOptions(sheet="Terms"),
    "--header-row": ReadOptions(header_row=1),
    "--code-column": ReadOptions(columns=Columns(code="name", names=("code",))),
    "source vocabulary": ReadOptions(source_vocabulary="ICD10CM"),
}
USED = {
    "a.csv": {"--encoding", "--separator", "--header-row", "--code-column", "source vocabulary"},
    "a.xlsx": {"--sheet", "--header-row", "--code-column", "source vocabulary"},
    "a.parquet": {"--code-column", "source vocabulary"},
    "usagi.csv": {"--encoding", "--header-row", "source vocabulary"},
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", CONTAINERS)
def test_an_option_does_something_or_is_refused(tmp_path: Path, name: str, option: str) -> None:
    CONTAINERS[name](tmp_path / name)
    if option in USED[name]:
        assert len(read(tmp_path / name, OPTIONS[option])[0]) == 1
    else:
        with pytest.raises(InputError) as refused:
            read(tmp_path / name, OPTIONS[option])
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ReadOptions(source_vocabulary="ICD10CM"), "--code-column"),
        (ReadOptions(separator="|"), "leave out --separator"),
        (ReadOptions(separator="||"), "one character"),
        (ReadOptions(header_row=9), "--header-row"),
        (ReadOptions(encoding="base64"), "no encoding"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(tmp_path: Path, options: ReadOptions, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, "name,ward\nCough,A\n"), options)


def test_a_file_without_a_header_is_read_by_column_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "1;Cough\n2;Fever\n")
    columns = Columns(names=("column 2",), code="column 1")
    terms, _ = read(path, ReadOptions(header_row=0, columns=columns))
    assert [(term.code, term.name) for term in terms] == [("1", "Cough"), ("2", "Fever")]


def test_a_list_is_one_term_a_line_if_asked_for(tmp_path: Path) -> None:
    terms, _ = read(write(tmp_path, "Pain,chest\nFever,high\n"), ReadOptions(separator="none"))
    assert [term.name for term in terms] == ["Pain,chest", "Fever,high"]


@pytest.mark.parametrize("content", ["code,name\n", "code,name\n1,-\n2,\n"])
def test_a_file_without_terms_is_an_error(tmp_path: Path, content: str) -> None:
    with open_terms(write(tmp_path, content)) as file, pytest.raises(InputError, match="has no terms"):
        file.check_has_terms()


@pytest.mark.parametrize(
    "content",
    [
        b"BZh9...",
        b"%PDF-1.7",
        b"SQLite format 3\0",
        b"<html><table>",
        b"<?xml version='1.0'?>",
        b'[{"name": 1}]',
        b"ARROW1\0\0",
        b"$FL2@(#)",
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"is HTML or XML|is JSON|: (?:unpack|export|write)"):
        read(write(tmp_path, content, "a.xls"))


def test_the_report_says_what_was_understood_and_left_out(tmp_path: Path) -> None:
    rows = "".join(f"{number};;1;\n" for number in range(7))
    path = write(
        tmp_path, "Kode;Bezeichnung;Anzahl;ward\n" + "1;M\u00c3\u00a9ni\u00c3\u00a8re;12%;A\n" + rows
    )
    _, file = read(path)
    assert list(reading_lines(file)) == [
        "terms.csv: CSV or TSV, encoding utf-8, separator semicolon, header in line 1",
        "columns: term: Bezeichnung; code: Kode; frequency: Anzahl; others: ward",
    ]
    assert list(count_lines(file)) == [
        "terms.csv: 1 term, 7 rows left out",
        "line 2: its frequency is a share and is not used",
        "1 name was encoded twice and has been repaired: check the accented letters",
    ]
