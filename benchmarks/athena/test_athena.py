"""Made-up downloads: their proportions, what a release changes, and that they load."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.athena import athena_files
from benchmarks.athena.athena_files import Download, write
from benchmarks.athena.athena_terms import write_terms
from benchmarks.databases import database, driver
from benchmarks.ratios import embedded_server
from omop_emb.vocabulary import load_vocabulary

_CONCEPTS = 20_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("athena")
    path.chmod(0o755)
    for release in (0, 1):
        write(path / str(release), Download(_CONCEPTS, release=release))
    return path


def _rows(file: Path) -> list[list[str]]:
    return [line.split("\t") for line in file.read_text().splitlines()[1:]]


def test_shares_are_those_of_a_whole_vocabulary(folder: Path) -> None:
    rows = _rows(folder / "0" / "CONCEPT.csv")
    standard = [row for row in rows if row[5] == "S"]
    assert len(rows) == len({row[0] for row in rows}) == _CONCEPTS
    assert len(standard) == 0.35 * _CONCEPTS
    assert sum(row[2] == "Drug" for row in standard) == 0.5 * len(standard)
    assert sum(row[9] != "" for row in rows) == 0.05 * _CONCEPTS
    assert len(_rows(folder / "0" / "CONCEPT_RELATIONSHIP.csv")) == 4 * _CONCEPTS
    languages = Counter(row[2] for row in _rows(folder / "0" / "CONCEPT_SYNONYM.csv"))
    assert len(languages) == 4
    assert languages["4180186"] == pytest.approx(0.7 * len(standard), rel=0.05)


def test_most_names_are_different(folder: Path) -> None:
    rows = _rows(folder / "0" / "CONCEPT.csv")
    names = {row[1] for row in rows if row[5] == "S"}
    assert 0.9 * 0.35 * _CONCEPTS < len(names) < 0.35 * _CONCEPTS


def test_next_release_changes_2_percent(folder: Path) -> None:
    before, after = ({row[0]: row[1:] for row in _rows(folder / name / "CONCEPT.csv")} for name in "01")
    new = after.keys() - before.keys()
    withdrawn = [one for one, row in before.items() if row[8] == "" != after[one][8]]
    renamed = [one for one, row in before.items() if row[0] != after[one][0] and after[one][4] == "S"]
    assert len(new) == 0.005 * _CONCEPTS
    assert len(withdrawn) == pytest.approx(0.005 * _CONCEPTS, rel=0.4)
    assert len(renamed) == pytest.approx(0.01 * 0.35 * _CONCEPTS, rel=0.4)


def test_seed_decides_and_blocks_do_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(athena_files, "BLOCK", 1_400)
    write(tmp_path / "blocks", Download(_CONCEPTS))
    write(tmp_path / "seed", Download(_CONCEPTS, seed=2))
    for file in ("CONCEPT", "CONCEPT_SYNONYM", "CONCEPT_RELATIONSHIP", "CONCEPT_ANCESTOR"):
        expected = sorted(_rows(folder / "0" / f"{file}.csv"))
        assert sorted(_rows(tmp_path / "blocks" / f"{file}.csv")) == expected
    names = {row[1] for row in _rows(tmp_path / "seed" / "CONCEPT.csv")}
    assert len(names & {row[1] for row in _rows(folder / "0" / "CONCEPT.csv")}) < 0.01 * _CONCEPTS


def test_terms_are_no_names(folder: Path, tmp_path: Path) -> None:
    write_terms(tmp_path / "terms.csv", Download(_CONCEPTS), 100)
    terms = (tmp_path / "terms.csv").read_text().splitlines()
    names = {row[1].upper() for row in _rows(folder / "0" / "CONCEPT.csv")}
    assert terms[0] == "code,name,frequency"
    assert len(terms) == 101
    assert not names & {line.split(",")[1] for line in terms}


def test_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 200"):
        Download(1_001)


def test_both_releases_load(folder: Path) -> None:
    with embedded_server() as conninfo, database(conninfo) as engine:
        for release, version in enumerate(("v5.0 29-AUG-25", "v5.0 27-FEB-26")):
            with driver(engine) as connection:
                loaded = load_vocabulary(connection, folder / str(release))
            assert loaded.version == version
            assert loaded.rows["concept"] == _CONCEPTS + release * _CONCEPTS // 200
            assert loaded.losses == []
            assert not loaded.blank_names
