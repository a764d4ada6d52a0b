"""Refused loads: one line that says where, and an unchanged database."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from omop_emb.errors import VocabularyError
from omop_emb.vocabulary.layout import LAYOUTS
from omop_emb.vocabulary.loader import load_vocabulary

Download = Callable[..., Path]
ConceptLine = Callable[..., str]


def _state(connection: psycopg.Connection) -> tuple[list[tuple[object, ...]], ...]:
    """All tables of our schema with their storage, and the registry's rows."""
    return (
        connection.execute(
            "select relname, relfilenode from pg_class"
            " where relnamespace = 'omop_emb'::regnamespace order by 1"
        ).fetchall(),
        connection.execute("select * from omop_emb.vocabulary_release order by 1").fetchall(),
        connection.execute("select * from omop_emb.vocabulary_file order by 1, 2").fetchall(),
        connection.execute("select * from omop_emb.vocabulary_value order by 1, 2, 3").fetchall(),
    )


@pytest.fixture(scope="module")
def with_earlier_release(
    shared_conninfo: str, tmp_path_factory: pytest.TempPathFactory, concept_line: ConceptLine
) -> str:
    folder = tmp_path_factory.mktemp("earlier")
    header = "\t".join(LAYOUTS[0].columns)
    (folder / "CONCEPT.csv").write_text(f"{header}\n{concept_line(7, 'Earlier')}\n")
    with psycopg.connect(shared_conninfo) as connection:
        load_vocabulary(connection, folder)
    return shared_conninfo


@pytest.fixture
def refused(with_earlier_release: str) -> Iterator[Callable[[Path], VocabularyError]]:
    """Loads a path over an earlier release, checks that nothing of it is left, and returns the error."""

    def attempt(path: Path) -> VocabularyError:
        with pytest.raises(VocabularyError) as caught:
            load_vocabulary(connection, path)
        assert "\n" not in str(caught.value)
        return caught.value

    with psycopg.connect(with_earlier_release) as connection:
        before = _state(connection)
        yield attempt
        # Even if the caller goes on and commits.
        assert _state(connection) == before


Refused = Callable[[Path], VocabularyError]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"concept_id": "x1"}, "concept_id must be a whole number up to 2147483647; found 'x1'"),
        ({"concept_id": "1.5"}, "concept_id must be a whole number up to 2147483647; found '1.5'"),
        (
            {"concept_id": "2147483648"},
            "concept_id must be a whole number up to 2147483647; found '2147483648'",
        ),
        ({"concept_id": ""}, "concept_id is empty"),
        ({"valid_start_date": "20230230"}, "valid_start_date must be a date as YYYYMMDD; found '20230230'"),
        ({"valid_end_date": "20231345"}, "valid_end_date must be a date as YYYYMMDD; found '20231345'"),
        ({"valid_end_date": "soon"}, "valid_end_date must be a date as YYYYMMDD; found 'soon'"),
        ({"concept_name": "a\tb"}, "expected 10 fields separated by tabs; found 11"),
        (
            {"concept_name": "nul\0"},
            "contains bytes that are not UTF-8 text (or a NUL): save the file as UTF-8",
        ),
        ({"concept_id": "2"}, "duplicate concept_id 2, first in line 3"),
        ({"concept_id": "002"}, "duplicate concept_id 2, first in line 3"),
    ],
)
def test_a_bad_line_is_reported_with_file_and_line(
    refused: Refused,
    download: Download,
    concept_line: ConceptLine,
    columns: dict[str, str],
    message: str,
) -> None:
    bad = concept_line(
        4, **{"concept_name": "Bad", **{k: v for k, v in columns.items() if k != "concept_id"}}
    )
    if "concept_id" in columns:
        bad = columns["concept_id"] + bad[1:]
    lines = [concept_line(1, "a"), concept_line(2, "b"), concept_line(3, "c"), bad, concept_line(5, "e")]
    error = refused(download(CONCEPT=lines))
    assert str(error) == f"CONCEPT.csv, line 5: {message}"
    assert (error.file, error.line) == ("CONCEPT.csv", 5)


def test_a_short_line_is_refused(refused: Refused, download: Download, concept_line: ConceptLine) -> None:
    lines = [concept_line(1, "a"), concept_line(2, "b").rpartition("\t")[0], ""]
    assert str(refused(download(CONCEPT=lines))) == (
        "CONCEPT.csv, line 3: expected 10 fields separated by tabs; found 9"
    )


def test_a_blank_line_in_the_middle_is_refused(
    refused: Refused, download: Download, concept_line: ConceptLine
) -> None:
    lines = [concept_line(1, "a"), "", concept_line(2, "b")]
    assert str(refused(download(CONCEPT=lines))) == (
        "CONCEPT.csv, line 3: expected 10 fields separated by tabs; found 1"
    )


def test_a_wrong_number_of_fields_is_refused_in_a_file_with_ignored_columns(
    refused: Refused, download: Download, concept_line: ConceptLine
) -> None:
    lines = download("for-its-header", CONCEPT=[concept_line(1, "a"), concept_line(2, "b")])
    wide = [f"{line}\tmore" for line in (lines / "CONCEPT.csv").read_text().splitlines()]
    content = "\n".join([*wide, concept_line(3, "c")]).encode()
    assert str(refused(download(CONCEPT=content))) == (
        "CONCEPT.csv, line 4: expected 11 fields separated by tabs; found 10"
    )


def test_text_that_is_not_utf_8_is_refused(
    refused: Refused, download: Download, concept_line: ConceptLine
) -> None:
    path = download(CONCEPT=[concept_line(1, "a"), concept_line(2, "M\u00e9ni\u00e8re")])
    file = path / "CONCEPT.csv"
    file.write_bytes(file.read_text().encode("latin-1"))
    assert str(refused(path)) == (
        "CONCEPT.csv, line 3: contains bytes that are not UTF-8 text (or a NUL): save the file as UTF-8"
    )


def test_utf_16_is_refused(refused: Refused, download: Download, concept_line: ConceptLine) -> None:
    path = download(CONCEPT=[concept_line(1, "a")])
    file = path / "CONCEPT.csv"
    file.write_bytes(file.read_text().encode("utf-16"))
    assert str(refused(path)) == "CONCEPT.csv: is UTF-16: save it as UTF-8"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "CONCEPT.csv: is empty: its first line must name the columns"),
        (b"\n\n", "CONCEPT.csv: is empty: its first line must name the columns"),
        (b"concept_id\tconcept_name", "CONCEPT.csv, line 1: column domain_id and vocabulary_id and"),
        (b"concept_id,concept_name\n1,a\n", "(fields must be separated by tabs)"),
        (b"\x89PNG\r\n\x1a\n", "CONCEPT.csv, line 1: is not UTF-8 text"),
    ],
)
def test_a_file_without_a_header_is_refused(
    refused: Refused, download: Download, content: bytes, message: str
) -> None:
    assert message in str(refused(download(CONCEPT=content)))


def test_a_missing_column_is_reported_with_the_existing_ones(
    refused: Refused, download: Download, concept_line: ConceptLine
) -> None:
    path = download(CONCEPT=[concept_line(1, "a")])
    file = path / "CONCEPT.csv"
    file.write_text(file.read_text().replace("standard_concept", "is_standard"))
    assert str(refused(path)).startswith(
        "CONCEPT.csv, line 1: column standard_concept is missing; found: concept_id, concept_name, "
    )


def test_a_repeated_column_is_refused(
    refused: Refused, download: Download, concept_line: ConceptLine
) -> None:
    path = download(CONCEPT=[concept_line(1, "a")])
    file = path / "CONCEPT.csv"
    file.write_text(file.read_text().replace("valid_end_date", "valid_start_date"))
    assert str(refused(path)) == "CONCEPT.csv, line 1: column valid_start_date appears twice"


def test_a_file_without_concepts_replaces_nothing(refused: Refused, download: Download) -> None:
    assert str(refused(download(CONCEPT=[]))) == "CONCEPT.csv: holds no concepts"


def test_an_endless_line_is_refused(
    refused: Refused, download: Download, concept_line: ConceptLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omop_emb.vocabulary.copy_file._MAX_LINE_BYTES", 1000)
    path = download(CONCEPT=[concept_line(1, "a" * (2 << 20))])
    assert "has a line of more than 16 MiB" in str(refused(path))


@pytest.mark.parametrize(
    ("table", "lines", "message"),
    [
        (
            "CONCEPT_RELATIONSHIP",
            ["1\t2\tMaps to\t19700101\t20991231\t", "1\t2\tMaps to\t19700101\t20991231\tD"],
            "line 3: duplicate concept_id_1, relationship_id, concept_id_2 1, Maps to, 2, first in line 2",
        ),
        (
            "CONCEPT_ANCESTOR",
            ["1\t2\t0\t1", "1\t2\t1\tmany"],
            "line 3: max_levels_of_separation must be a whole number up to 2147483647; found 'many'",
        ),
        ("CONCEPT_SYNONYM", ["1\tHeart attack"], "line 2: expected 3 fields separated by tabs; found 2"),
        ("DOMAIN", ["Drug\tDrug\t1", "Drug\tDrug\t2"], "line 3: duplicate domain_id Drug, first in line 2"),
        ("VOCABULARY", ["\tNone\t\t\t1"], "line 2: vocabulary_id is empty"),
    ],
)
def test_the_other_tables_are_checked_as_well(
    refused: Refused,
    download: Download,
    concept_line: ConceptLine,
    table: str,
    lines: list[str],
    message: str,
) -> None:
    path = download(CONCEPT=[concept_line(1, "a"), concept_line(2, "b")], **{table: lines})
    assert str(refused(path)) == f"{table}.csv, {message}"


def test_a_truncated_zip_is_refused(refused: Refused, download: Download, concept_line: ConceptLine) -> None:
    path = download(CONCEPT=[concept_line(1, "a")]).with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("CONCEPT.csv", (path.with_suffix("") / "CONCEPT.csv").read_bytes())
    path.write_bytes(path.read_bytes()[:-40])
    assert "release.zip is not a zip, or is truncated" in str(refused(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_with_damaged_contents_is_refused(
    refused: Refused, download: Download, concept_line: ConceptLine, method: int
) -> None:
    path = download(CONCEPT=[concept_line(i, f"Name {i * 7919 % 1009}") for i in range(500)]).with_suffix(
        ".zip"
    )
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.write(path.with_suffix("") / "CONCEPT.csv", "CONCEPT.csv")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)
    assert "CONCEPT.csv: the zip is damaged" in str(refused(path))


@pytest.mark.parametrize("name", ["../CONCEPT.csv", "/CONCEPT.csv", "a/../../x", "C:\\CONCEPT.csv", "..\\x"])
def test_a_path_that_leaves_the_zip_is_refused(
    refused: Refused, download: Download, concept_line: ConceptLine, name: str
) -> None:
    folder = download(CONCEPT=[concept_line(1, "a")])
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "CONCEPT.csv", "CONCEPT.csv")
        archive.writestr(name, b"")
    assert "contains a path that leads out of it" in str(refused(path))


def test_a_table_in_two_files_is_refused(
    refused: Refused, download: Download, concept_line: ConceptLine
) -> None:
    folder = download(CONCEPT=[concept_line(1, "a")])
    (folder / "concept.txt").write_bytes((folder / "CONCEPT.csv").read_bytes())
    assert str(refused(folder)) == "release holds CONCEPT twice: CONCEPT.csv and concept.txt"


def test_a_folder_without_concepts_is_reported_with_its_files(refused: Refused, download: Download) -> None:
    path = download(DOMAIN=["Drug\tDrug\t1"])
    assert str(refused(path)) == "release holds no CONCEPT.csv; found: DOMAIN.csv"


def test_the_error_for_a_single_file_names_its_folder(
    refused: Refused, download: Download, concept_line: ConceptLine
) -> None:
    path = download(CONCEPT=[concept_line(1, "a")])
    assert str(refused(path / "CONCEPT.csv")) == (
        f"CONCEPT.csv is one file: give the folder that it is in, {str(path)!r}"
    )


def test_a_path_that_does_not_exist_is_refused(refused: Refused, tmp_path: Path) -> None:
    assert str(refused(tmp_path / "no.zip")) == f"there is no folder or zip {str(tmp_path / 'no.zip')!r}"


def test_a_file_that_is_no_zip_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"\x1f\x8b")
    assert "x.tar.gz is not a zip, or is truncated" in str(refused(tmp_path / "x.tar.gz"))


def test_an_encrypted_zip_is_refused(refused: Refused, download: Download, concept_line: ConceptLine) -> None:
    folder = download(CONCEPT=[concept_line(1, "a")])
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "CONCEPT.csv", "CONCEPT.csv")
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1  # the flag that says so
    path.write_bytes(content)
    assert "cannot be unpacked" in str(refused(path))
    assert "unzip it first" in str(refused(path))


def test_a_load_into_the_tables_of_a_cdm_is_refused(
    refused: Refused, download: Download, concept_line: ConceptLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "cdm")
    assert "where nothing is ever written: unset the variable" in str(
        refused(download(CONCEPT=[concept_line(1, "a")]))
    )
