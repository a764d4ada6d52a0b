"""omop-emb vocabulary: messages for people, data for programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import omop_emb

SAMPLE = Path(omop_emb.__file__).parent / "data/sample-vocabulary"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(empty_database_url: str) -> Run:
    """Runs the console script on a database of nothing."""
    environment = {**os.environ, "OMOP_EMB_DATABASE_URL": empty_database_url}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("omop-emb")), "vocabulary", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    return run


def test_a_fresh_database_takes_a_vocabulary_and_shows_it(run: Run) -> None:
    status = run("status")
    assert (status.returncode, status.stdout) == (1, "")
    assert status.stderr == "error: no vocabulary is loaded: run omop-emb vocabulary load PATH\n"

    load = run("load", str(SAMPLE))
    assert (load.returncode, load.stdout) == (0, "")
    lines = load.stderr.splitlines()
    assert lines[0] == "reading concept"
    assert lines[-1].startswith("loaded v5.0 30-AUG-24: 2,417 concept, 1,0")
    assert lines[-1].endswith(" concept_relationship, 602 concept_ancestor, 128 vocabulary, 50 domain")

    status = run("status", "--format", "json")
    assert (status.returncode, status.stderr) == (0, "")
    (row,) = json.loads(status.stdout)
    assert row["version"] == "v5.0 30-AUG-24"
    assert row["source"] == "sample-vocabulary"
    assert (row["concept"], row["concept_class"], row["blank_names"]) == (2417, None, 0)

    assert "v5.0 30-AUG-24" in run("status").stdout


def test_problems_of_a_download_are_printed_as_warnings(run: Run, tmp_path: Path) -> None:
    header, line = (SAMPLE / "CONCEPT.csv").read_text().splitlines()[:2]
    fields = line.split("\t")
    fields[1], fields[3], fields[8] = "", "CPT4", "20993112"
    with zipfile.ZipFile(tmp_path / "download.zip", "w") as archive:
        archive.writestr("CONCEPT.csv", "\n".join([header, "\t".join(fields)]))
    load = run("load", str(tmp_path / "download.zip"))
    assert load.returncode == 0
    assert load.stderr.splitlines()[-4:] == [
        "loaded a vocabulary without a version: 1 concept",
        "warning: 1 concept of CPT4 has no name and is not embedded; "
        "run Athena's CPT4 tool in the download's folder and load that",
        "warning: 1 date in CONCEPT.csv has day and month swapped: read as YYYYDDMM",
        "warning: without CONCEPT_RELATIONSHIP, no source code leads to a standard concept",
    ]


def test_a_bad_download_is_reported_in_one_line_with_exit_code_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "CONCEPT.csv").write_text("concept_id\tconcept_name\n")
    load = run("load", str(tmp_path))
    assert load.returncode == 1
    told = load.stderr.splitlines()
    assert told[0] == "reading concept"
    assert told[1].startswith("error: CONCEPT.csv, line 1: column domain_id and vocabulary_id")
    assert len(told) == 2
    assert run("load").returncode == 2
