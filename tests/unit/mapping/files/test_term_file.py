"""Files of source terms: encodings, separators, columns, and rows that cannot be used."""

from __future__ import annotations

import datetime
import io
import tracemalloc
from pathlib import Path

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.files.columns import Columns
from omop_emb.mapping.files.term_file import FileKind, ReadOptions, TermFile, open_terms
from omop_emb.mapping.records import SourceTerm


def read(path: Path, options: ReadOptions | None = None) -> tuple[list[SourceTerm], TermFile]:
    with open_terms(path, options) as terms:
        return list(terms), terms


def write(folder: Path, content: str | bytes, name: str = "terms.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def names(path: Path, options: ReadOptions | None = None) -> list[str]:
    return [term.name for term in read(path, options)[0]]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_the_encoding_is_detected(tmp_path: Path, encoding: str) -> None:
    text = "code;name\n1;Ischämischer Schlaganfall\n2;Häufiger Kopfschmerz\n"
    if encoding == "cp1252":
        text = text.replace("Häufiger", "„Häufiger“")
    path = write(tmp_path, text, encoding=encoding)
    assert names(path)[0] == "Ischämischer Schlaganfall"


def test_an_accent_in_the_last_line_decides_the_encoding(tmp_path: Path) -> None:
    body = "name\n" + "plain\n" * 200_000
    assert names(write(tmp_path, body + "caf\u00e9\n"))[-1] == "caf\u00e9"
    terms, file = read(write(tmp_path, (body + "caf\u00e9\n").encode("cp1252")))
    assert terms[-1].name == "caf\u00e9"
    assert any("guess" in note for note in file.notes)


def test_a_byte_that_windows_lacks_is_latin_1(tmp_path: Path) -> None:
    assert names(write(tmp_path, b"name\nna\xefve \x81\n")) == ["na\u00efve \x81"]


def test_an_encoding_that_does_not_fit_is_a_user_error(tmp_path: Path) -> None:
    path = write(tmp_path, "name\ncaf\u00e9\n", encoding="cp1252")
    with pytest.raises(InputError, match="is not in utf-8"):
        read(path, ReadOptions(encoding="utf-8"))
    with pytest.raises(InputError, match="no encoding 'klingon'"):
        read(path, ReadOptions(encoding="klingon"))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_detected(tmp_path: Path, separator: str) -> None:
    rows = [
        ["code", "name", "frequency"],
        ["1", "a, b", "3"],
        ["2", "x; y; z", "4"],
        ["3", "Na|serum|lab", "5"],
    ]
    text = "".join(separator.join(f'"{v}"' if separator in v else v for v in row) + "\n" for row in rows)
    terms, file = read(write(tmp_path, text))
    assert file.separator == separator
    assert [(t.code, t.name, t.frequency) for t in terms] == [
        ("1", "a, b", 3),
        ("2", "x; y; z", 4),
        ("3", "Na|serum|lab", 5),
    ]


def test_a_file_of_one_column_has_no_separator(tmp_path: Path) -> None:
    path = write(tmp_path, 'name\nPain, chest\nGALLSTONES; PANCREATITIS\n"quoted, too"\n')
    assert names(path) == ["Pain, chest", "GALLSTONES; PANCREATITIS", "quoted, too"]


def test_values_are_text_and_na_stays_na(tmp_path: Path) -> None:
    terms, _ = read(write(tmp_path, "code,name,note\n007,NA,NULL\n1e5,None,\n"))
    assert [(t.code, t.name, t.extra) for t in terms] == [
        ("007", "NA", {"note": "NULL"}),
        ("1e5", "None", {"note": ""}),
    ]


def test_further_columns_are_copied_unchanged(tmp_path: Path) -> None:
    terms, _ = read(write(tmp_path, 'code,name,ward," odd "\n1,Cough,"  A, ""B""  ",\u00e4\n'))
    assert terms[0].extra == {"ward": '  A, "B"  ', "odd": "\u00e4"}


def test_quotes_and_line_breaks_within_values(tmp_path: Path) -> None:
    terms, file = read(write(tmp_path, 'code,name\r\n1,"a ""b""\r\nc"\r\n\r\n2,d\r\n'))
    assert [(t.line, t.name) for t in terms] == [(2, 'a "b"\r\nc'), (5, "d")]
    assert file.problems == []


def test_a_quote_that_never_closes_costs_one_row(tmp_path: Path) -> None:
    lines = ["code,name", '1,"open', "2,good", "3,also good"]
    terms, file = read(write(tmp_path, "\n".join(lines)))
    assert [t.code for t in terms] == ["2", "3"]
    assert [(p.line, p.reason) for p in file.problems] == [(2, "a quote is opened and never closed")]


def test_a_quote_that_never_closes_in_a_long_file_costs_one_row(tmp_path: Path) -> None:
    body = "".join(f"{n},term number {n}\n" for n in range(20_000))
    terms, file = read(write(tmp_path, 'code,name\nx,"open\n' + body))
    assert len(terms) == 20_000
    assert [p.line for p in file.problems] == [2]


def test_a_row_with_a_huge_value_is_skipped(tmp_path: Path) -> None:
    terms, file = read(write(tmp_path, f"code,name\n1,{'x' * 200_000}\n2,{'y' * 100_000}\n"))
    assert [t.code for t in terms] == ["2"]
    assert "131,072" in file.problems[0].reason


def test_ragged_rows_are_skipped_and_reported_by_line(tmp_path: Path) -> None:
    terms, file = read(write(tmp_path, "code,name,n\n1,a,1\n2,b\n3,c,1,extra\n4,d,1,,\n\n ,, \n5,e,1\n"))
    assert [t.code for t in terms] == ["1", "4", "5"]
    assert [str(p) for p in file.problems] == [
        "line 3: 2 values where the header has 3",
        "line 4: 4 values where the header has 3",
    ]


def test_a_row_without_a_term_is_skipped_and_an_odd_frequency_or_a_nul_costs_nothing(tmp_path: Path) -> None:
    terms, file = read(write(tmp_path, "code,name,frequency\n1,,3\n2,b,often\n3,c\0,1\n4,d,<5\n5,e,NA\n"))
    assert [(t.code, t.name, t.frequency) for t in terms] == [
        ("2", "b", None),
        ("3", "c", 1),
        ("4", "d", 5),
        ("5", "e", None),
    ]
    assert [p.line for p in file.problems] == [2]
    assert [str(p) for p in file.dropped_values] == ["line 3: its frequency is no number and is not used"]


def test_a_code_without_a_name_is_a_term_if_its_vocabulary_is_given(tmp_path: Path) -> None:
    path = write(tmp_path, "code,name\nE11.9,\n")
    terms, _ = read(path, ReadOptions(source_vocabulary="ICD10CM"))
    assert (terms[0].code, terms[0].name, terms[0].source_vocabulary) == ("E11.9", "", "ICD10CM")


def test_a_column_names_the_vocabulary_of_a_code(tmp_path: Path) -> None:
    path = write(tmp_path, "code,name,source_vocabulary_id\nI10,a,ICD10CM\n1,b,\n")
    terms, _ = read(path, ReadOptions(source_vocabulary="ICD9CM"))
    assert [t.source_vocabulary for t in terms] == ["ICD10CM", "ICD9CM"]
    assert read(write(tmp_path, "code,name,vocabulary\n1,b,X\n"))[0][0].source_vocabulary is None


def test_every_name_column_is_a_query(tmp_path: Path) -> None:
    text = "source_code,source_term,source_term_original,frequency\n1,Cough,Yskä,3\n2,,Kuume,1\n3,Flu,Flu,1\n"
    terms, _ = read(write(tmp_path, text))
    assert [(t.name, t.further_names) for t in terms] == [("Cough", ("Yskä",)), ("Kuume", ()), ("Flu", ())]


def test_requested_columns_ignore_case(tmp_path: Path) -> None:
    path = write(tmp_path, "KEY,What It Is,how often,Dom,ward\n1,Cough,3,Condition,A\n")
    columns = Columns(
        names=("what it is",), code="key", frequency="How often", domain="Dom", context=("ward",)
    )
    (term,), _ = read(path, ReadOptions(columns=columns))
    assert term == SourceTerm(
        name="Cough",
        code="1",
        frequency=3,
        domain="Condition",
        context={"ward": "A"},
        extra={"Dom": "Condition", "ward": "A"},
        line=2,
    )


def test_an_unused_column_has_no_role_whatever_its_header_says(tmp_path: Path) -> None:
    path = write(tmp_path, "id,count,name\n7,3,HTN\n")
    assert read(path)[0][0].code == "7"
    (term,), file = read(path, ReadOptions(columns=Columns(unused=("ID", "count"))))
    assert (term.code, term.frequency, term.name) == ("", None, "HTN")
    assert term.extra == {"id": "7", "count": "3"}
    assert file.columns.unused == ("id", "count")


def test_a_missing_column_is_an_error_that_suggests_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, "code,termm\n1,a\n")
    with pytest.raises(InputError, match="did you mean 'termm'"):
        read(path, ReadOptions(columns=Columns(names=("term",))))
    with pytest.raises(InputError, match="--name-column"):
        read(path)


def test_repeated_headers_are_numbered(tmp_path: Path) -> None:
    terms, file = read(write(tmp_path, "name,x,x,\na,1,2,3\n"))
    assert terms[0].extra == {"x": "1", "x (2)": "2", "column 4": "3"}
    assert "x (2)" in file.notes[0]


def test_an_empty_file_is_an_error_and_a_header_alone_has_no_terms(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is empty"):
        read(write(tmp_path, ""))
    with pytest.raises(InputError, match="no header"):
        read(write(tmp_path, "\n\n"))
    assert names(write(tmp_path, "code,name\n")) == []
    assert names(write(tmp_path, "code,name")) == []


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"\xd0\xcf\x11\xe0....", "a.xls", "old format"),
        (b"\x1f\x8b....", "a.csv.gz", "compressed"),
        (b"name\nx\n", "a.xlsx", "not what its name says"),
        (b"PK\x03\x04....", "a.xlsx", "not an Excel workbook"),
        (b"PAR1....", "a.parquet", "not a Parquet file"),
    ],
)
def test_an_unreadable_file_is_an_error_that_says_what_it_is(
    tmp_path: Path, content: bytes, name: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, content, name))


def test_a_missing_file_and_a_folder_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        open_terms(tmp_path / "none.csv")
    with pytest.raises(InputError, match="folder"):
        open_terms(tmp_path)


def test_stdin_is_read_and_can_be_read_again() -> None:
    with open_terms("-", stdin=io.BytesIO(b"code,name\n1,Cough\n2,Fever\n")) as terms:
        together = [(a.name, b.name) for a, b in zip(terms, terms, strict=True)]
        assert together == [("Cough", "Cough"), ("Fever", "Fever")]
        assert terms.source.name == "stdin"


def test_excel_is_read_as_a_person_sees_it(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    page = book.active
    page.append(["code", "name", "frequency", "seen", "ok"])
    page.append([1234, "Cough", 12.0, datetime.datetime(2024, 5, 1), True])
    page.append(["007", "NA", None, None, None])
    page.append([])
    page.append([1.5, "Pain", 3])
    book.create_sheet("other").append(["name"])
    book.save(tmp_path / "terms.xlsx")
    terms, file = read(tmp_path / "terms.xlsx")
    assert file.kind is FileKind.EXCEL
    assert [(t.line, t.code, t.name, t.frequency) for t in terms] == [
        (2, "1234", "Cough", 12),
        (3, "007", "NA", None),
        (5, "1.5", "Pain", 3),
    ]
    assert terms[0].extra == {"seen": "2024-05-01", "ok": "TRUE"}
    assert names(tmp_path / "terms.xlsx", ReadOptions(sheet="other")) == []
    with pytest.raises(InputError, match="no sheet 'third'; it has Sheet, other"):
        read(tmp_path / "terms.xlsx", ReadOptions(sheet="third"))


def test_parquet_is_read_with_row_numbers(tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "code": pyarrow.array([7, 8, 9]),
            "name": ["Cough", "NA", None],
            "frequency": pyarrow.array([1.0, None, 3.0]),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "terms.parquet")
    terms, file = read(tmp_path / "terms.parquet")
    assert [(t.line, t.code, t.name, t.frequency) for t in terms] == [
        (1, "7", "Cough", 1),
        (2, "8", "NA", None),
    ]
    assert [p.line for p in file.problems] == [3]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        path = write(tmp_path, "code,name,ward\n" + "".join(f"{n},term {n},A\n" for n in range(rows)))
        tracemalloc.start()
        with open_terms(path) as terms:
            assert sum(1 for _ in terms) == rows
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    # The larger of the two may need one more buffer, not ten times the memory.
    assert peak(50_000) < 1.5 * peak(5_000) + 2_000_000
