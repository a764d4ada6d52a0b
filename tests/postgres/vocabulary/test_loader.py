"""Loading a vocabulary: the downloads that are accepted, and what becomes of them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL

import omop_emb
from omop_emb.errors import VocabularyError
from omop_emb.vocabulary import reader
from omop_emb.vocabulary.loader import LoadProgress, load_vocabulary

SAMPLE = Path(omop_emb.__file__).parent / "data/sample-vocabulary"
Download = Callable[..., Path]
ConceptLine = Callable[..., str]


@pytest.fixture
def connection(shared_connection: psycopg.Connection) -> psycopg.Connection:
    return shared_connection


def _names(connection: psycopg.Connection) -> dict[int, str]:
    tables = reader.vocabulary_tables(connection)
    assert tables is not None
    rows = connection.execute(
        SQL("select concept_id, concept_name from {}").format(tables.concept)
    ).fetchall()
    return dict(rows)


@pytest.fixture
def header(download: Download) -> str:
    return download("for-its-header", CONCEPT=[]).joinpath("CONCEPT.csv").read_text().rstrip()


def _zip(folder: Path, below: str = "") -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, below + file.name)
    return path


def test_the_sample_is_loaded_completely(connection: psycopg.Connection) -> None:
    loaded = load_vocabulary(connection, SAMPLE)
    assert loaded.version == "v5.0 30-AUG-24"
    assert loaded.rows == {
        file.stem.lower(): file.read_bytes().count(b"\n") - 1 for file in SAMPLE.glob("*.csv")
    }
    assert reader.concepts_by_id(connection, [0])[0].concept_name == "No matching concept"
    row = connection.execute(
        "select sha256 from omop_emb.vocabulary_file where table_name = 'concept'"
    ).fetchone()
    assert row == (hashlib.sha256((SAMPLE / "CONCEPT.csv").read_bytes()).hexdigest(),)


def test_a_zip_loads_the_same_as_its_folder(
    connection: psycopg.Connection, download: Download, concept_line: ConceptLine
) -> None:
    folder = download(CONCEPT=[concept_line(1, "Asthma")])
    load_vocabulary(connection, _zip(folder))
    assert _names(connection) == {1: "Asthma"}


@pytest.mark.parametrize("below", ["vocabulary_v5/", "a\\"])
def test_files_may_be_in_a_folder_of_the_zip(
    connection: psycopg.Connection, download: Download, concept_line: ConceptLine, below: str
) -> None:
    archive = _zip(download(CONCEPT=[concept_line(1, "Asthma")], DOMAIN=["Condition\tCondition\t19"]), below)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("__MACOSX/vocabulary_v5/._CONCEPT.csv", b"resource fork")
    assert load_vocabulary(connection, archive).rows == {"concept": 1, "domain": 1}


def test_files_may_be_in_a_subfolder(
    connection: psycopg.Connection, download: Download, concept_line: ConceptLine
) -> None:
    folder = download(CONCEPT=[concept_line(1, "Asthma")])
    load_vocabulary(connection, folder.parent)
    assert _names(connection) == {1: "Asthma"}


@pytest.mark.parametrize("name", ["concept.csv", "Concept.TXT", "CONCEPT.tsv"])
def test_file_and_column_names_may_be_in_any_case(
    connection: psycopg.Connection, download: Download, concept_line: ConceptLine, header: str, name: str
) -> None:
    folder = download(CONCEPT=f"{header.upper()}\n{concept_line(1, 'Asthma')}\n".encode())
    (folder / "CONCEPT.csv").rename(folder / name)
    load_vocabulary(connection, folder)
    assert _names(connection) == {1: "Asthma"}


def test_the_file_decides_the_order_of_columns(
    connection: psycopg.Connection, download: Download, concept_line: ConceptLine, header: str
) -> None:
    lines = ["\t".join(reversed(line.split("\t"))) for line in (header, concept_line(1, "Asthma"))]
    load_vocabulary(connection, download(CONCEPT="\n".join(lines).encode()))
    concept = reader.concepts_by_id(connection, [1])[1]
    assert (concept.concept_name, concept.concept_code, concept.standard_concept) == ("Asthma", "C1", "S")


def test_columns_that_omop_does_not_have_are_ignored(
    connection: psycopg.Connection, download: Download, concept_line: ConceptLine, header: str
) -> None:
    lines = [header, concept_line(1, "Asthma"), concept_line(2, "a\\b")]
    load_vocabulary(
        connection, download(CONCEPT="".join(f"mine\t{line}\tyours\r\n" for line in lines).encode())
    )
    assert _names(connection) == {1: "Asthma", 2: "a\\b"}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n\r\n"])
def test_line_ends_byte_order_marks_and_trailing_blank_lines_do_not_matter(
    connection: psycopg.Connection,
    download: Download,
    concept_line: ConceptLine,
    header: str,
    ending: str,
    bom: str,
    last: str,
) -> None:
    lines = [header, concept_line(1, "Asthma"), concept_line(2, "Gout", invalid_reason="D")]
    load_vocabulary(connection, download(CONCEPT=(bom + ending.join(lines) + last).encode()))
    found = reader.concepts_by_id(connection, [1, 2])
    assert {i: (c.concept_name, c.invalid_reason) for i, c in found.items()} == {
        1: ("Asthma", None),
        2: ("Gout", "D"),
    }


NAMES = [
    'Patient says "no"',
    '"',
    '""quoted"" and "unclosed',
    "back\\slash \\n \\N \\",
    "\\N",
    "\\.",
    "NULL",
    "comma, semicolon; 'apostrophe'",
    "Ménière 病 🫀",
    " blanks around ",
    "carriage\rreturn",
    "form\x0cfeed",
]


def test_names_are_loaded_unchanged(
    connection: psycopg.Connection, download: Download, concept_line: ConceptLine
) -> None:
    load_vocabulary(connection, download(CONCEPT=[concept_line(i, name) for i, name in enumerate(NAMES)]))
    assert _names(connection) == dict(enumerate(NAMES))


def test_only_concept_is_required_and_other_tables_stay_empty(
    connection: psycopg.Connection, download: Download, concept_line: ConceptLine
) -> None:
    folder = download(CONCEPT=[concept_line(1, "Asthma")], cpt4_readme=b"not a table of ours")
    loaded = load_vocabulary(connection, folder)
    assert (loaded.rows, loaded.version) == ({"concept": 1}, None)
    tables = reader.vocabulary_tables(connection)
    assert tables is not None
    assert tables.concept_ancestor is not None
    assert connection.execute(SQL("select * from {}").format(tables.concept_ancestor)).fetchall() == []


def test_blank_names_are_counted_by_vocabulary(
    connection: psycopg.Connection, download: Download, concept_line: ConceptLine
) -> None:
    lines = [
        concept_line(1, "", vocabulary_id="CPT4"),
        concept_line(2, " ", vocabulary_id="CPT4"),
        concept_line(3, "Asthma"),
    ]
    assert load_vocabulary(connection, download(CONCEPT=lines)).blank_names == {"CPT4": 2}
    status = reader.vocabulary_status(connection)
    assert status is not None
    assert status.blank_names == 2
    assert reader.concepts_by_id(connection, [1])[1].concept_name == ""


def test_dates_as_yyyyddmm_are_corrected_and_counted(
    connection: psycopg.Connection, download: Download, concept_line: ConceptLine
) -> None:
    lines = [
        concept_line(1, "Asthma", valid_start_date="20023101", valid_end_date="20993112"),
        concept_line(2, "Gout", concept_code="20993112"),
        concept_line(3, "Mumps", valid_end_date="20011213"),
    ]
    loaded = load_vocabulary(connection, download(CONCEPT=lines))
    assert loaded.exchanged_dates == {"CONCEPT.csv": 2}
    tables = reader.vocabulary_tables(connection)
    assert tables is not None
    rows = connection.execute(
        SQL(
            "select concept_code, to_char(valid_start_date, 'YYYYMMDD'), to_char(valid_end_date, 'YYYYMMDD')"
            " from {} order by concept_id"
        ).format(tables.concept)
    ).fetchall()
    assert rows == [
        ("C1", "20020131", "20991231"),
        ("20993112", "19700101", "20991231"),
        ("C3", "19700101", "20011213"),
    ]


def test_lines_are_split_and_counted_correctly_across_pieces(
    connection: psycopg.Connection,
    download: Download,
    concept_line: ConceptLine,
    header: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("omop_emb.vocabulary.download._PIECE_BYTES", 7)
    lines = [concept_line(i, f"Näme {i}\\") for i in range(50)]
    folder = download(CONCEPT="\r\n".join([header, *lines]).encode())
    load_vocabulary(connection, folder)
    assert _names(connection) == {i: f"Näme {i}\\" for i in range(50)}
    lines[41] = concept_line("x", "wrong")
    bad = download("bad", CONCEPT="\r\n".join([header, *lines]).encode())
    with pytest.raises(VocabularyError, match=r"line 43: concept_id"):
        load_vocabulary(connection, bad)


def test_progress_ends_at_the_total(
    connection: psycopg.Connection, download: Download, concept_line: ConceptLine
) -> None:
    told: list[LoadProgress] = []
    folder = download(CONCEPT=[concept_line(1, "Asthma")], DOMAIN=["Condition\tCondition\t19"])
    load_vocabulary(connection, folder, progress=told.append)
    total = sum(file.stat().st_size for file in folder.iterdir())
    reading = [at for at in told if at.step == "reading"]
    assert [at.table for at in reading] == ["concept", "domain"]
    assert reading[-1].done_bytes == total
    assert {at.total_bytes for at in told} == {total}
    assert told[-1].step == "indexing"
