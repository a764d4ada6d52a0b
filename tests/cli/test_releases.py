"""Commands around a new release: which space answers, what is refused, and the way back."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

import omop_emb

SAMPLE = Path(omop_emb.__file__).parent / "data/sample-vocabulary"
NEW = "Tertiary zebra stripe disease"
FLAT, HNSW = "all-MiniLM-L6-v2-flat", "all-MiniLM-L6-v2-hnsw"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(sample_database_url: str) -> Run:
    """Runs the console script on the sample vocabulary in a FLAT (active) and an HNSW space."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("omop-emb")), *arguments]
        return subprocess.run(
            command,
            env={**os.environ, "OMOP_EMB_DATABASE_URL": sample_database_url},
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The sample as a later release, with a new concept."""
    folder = tmp_path / "release"
    folder.mkdir()
    for file in SAMPLE.glob("*.csv"):
        text = file.read_text(encoding="utf-8")
        if file.name == "CONCEPT.csv":
            text = (
                text.rstrip("\n")
                + f"\n2000000001\t{NEW}\tCondition\tSNOMED\tDisorder\tS\tZ1\t19700101\t20991231\t\n"
            )
        (folder / file.name).write_text(text.replace("v5.0 30-AUG-24", "v5.0 27-FEB-26"), encoding="utf-8")
    return folder


def _best(search: subprocess.CompletedProcess[str]) -> str:
    assert search.returncode == 0, search.stderr
    return str(json.loads(search.stdout)[0]["concept_name"])


def test_after_a_new_release_one_line_says_what_to_run_and_that_works_as_it_is_printed(
    run: Run, release: Path
) -> None:
    load = run("vocabulary", "load", str(release))
    advice = (
        f"space {FLAT!r} holds v5.0 30-AUG-24, but v5.0 27-FEB-26 is loaded: "
        f"run omop-emb index build --name {FLAT}"
    )
    assert load.returncode == 0
    assert load.stderr.splitlines()[-1] == advice
    assert re.search(r"^v5.0 30-AUG-24 is kept \(\d+ MB\): omop-emb vocabulary rollback", load.stderr, re.M)

    # By vectors alone: the one search finds what is new by its name at once.
    search = ("search", "--dense", NEW, "-k", "1", "--format", "json")
    before = run(*search)
    assert _best(before) != NEW
    assert before.stderr == f"WARNING: {advice}\n"

    program, *arguments = shlex.split(advice.partition(": run ")[2])
    assert program == "omop-emb"
    assert run(*arguments).returncode == 0
    after = run(*search)
    assert _best(after) == NEW
    assert after.stderr == ""


def test_index_build_alone_builds_the_space_that_answers(run: Run, release: Path) -> None:
    run("vocabulary", "load", str(release))
    build = run("index", "build")
    assert build.returncode == 0
    assert f"space {FLAT!r} is ready" in build.stderr
    assert _best(run("search", NEW, "-k", "1", "--format", "json")) == NEW


def test_a_build_of_the_other_space_makes_it_answer_and_says_so(run: Run, release: Path) -> None:
    run("vocabulary", "load", str(release))
    build = run("index", "build", "--index-type", "hnsw")
    assert build.stderr.endswith(f"and active instead of {FLAT!r}, which has another release\n")
    search = run("search", NEW, "-k", "1", "--format", "json")
    assert (_best(search), search.stderr) == (NEW, "")


def test_a_tiny_vocabulary_and_a_narrow_filter_are_refused_and_change_nothing(
    run: Run, sample_database_url: str, tmp_path: Path
) -> None:
    lines = (SAMPLE / "CONCEPT.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "CONCEPT.csv").write_text("".join(lines[:2]), encoding="utf-8")
    load = run("vocabulary", "load", str(tmp_path))
    assert load.returncode == 1
    assert load.stderr.splitlines()[-1].startswith(
        "error: this vocabulary is smaller than the loaded one, v5.0 30-AUG-24: concepts 2,417 -> 1, "
    )
    build = run("index", "build", "--domain", "Drug")
    assert build.returncode == 1
    assert re.search(r"^error: space '\S+' has \S+ texts and would lose \S+, ", build.stderr, re.M)
    assert "Traceback" not in build.stderr
    with psycopg.connect(sample_database_url) as connection:
        (domains,) = connection.execute("select count(distinct domain) from omop_emb.space_1").fetchone() or (
            0,
        )
    assert domains > 1

    assert run("vocabulary", "load", str(tmp_path), "--allow-shrink").returncode == 0
    assert run("index", "build").returncode == 1
    assert run("vocabulary", "rollback").returncode == 0
    search = run("search", "hypertension", "-k", "1", "--format", "json")
    assert search.stderr == ""


@pytest.mark.parametrize("suffix", ["csv", "tsv", "xlsx", "parquet"])
def test_changes_are_written_as_a_file_of_the_kind_that_its_name_says(
    run: Run, release: Path, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"changes.{suffix}"
    load = run("vocabulary", "load", str(release), "--changes", str(file))
    assert load.returncode == 0, load.stderr
    assert f"{file}: 1 new\n" in load.stderr
    if suffix == "xlsx":
        from openpyxl import load_workbook

        header, row = load_workbook(file).active.iter_rows(values_only=True)
        values = dict(zip(header, row, strict=True))
    elif suffix == "parquet":
        import pyarrow.parquet

        (values,) = pyarrow.parquet.read_table(file).to_pylist()
    else:
        with file.open(encoding="utf-8", newline="") as lines:
            (values,) = csv.DictReader(lines, delimiter="\t" if suffix == "tsv" else ",")
    assert (int(values["concept_id"]), values["change"], values["new_name"]) == (2000000001, "new", NEW)


def test_releases_are_listed_compared_and_rolled_back(run: Run, release: Path, tmp_path: Path) -> None:
    bad = run("vocabulary", "changes", str(tmp_path / "changes.doc"))
    assert (bad.returncode, "must end in .csv" in bad.stderr) == (1, True)
    none = run("vocabulary", "changes", str(tmp_path / "changes.csv"))
    assert (none.returncode, none.stderr.count("\n")) == (1, 1)
    assert not (tmp_path / "changes.csv").exists()
    run("vocabulary", "load", str(release))
    rows = json.loads(run("vocabulary", "list", "--format", "json").stdout)
    assert [(row["version"], row["active"], row["concepts"]) for row in rows] == [
        ("v5.0 27-FEB-26", True, 2418),
        ("v5.0 30-AUG-24", False, 2417),
    ]
    assert all(row["bytes"] > 100_000 for row in rows)
    assert run("vocabulary", "changes", str(tmp_path / "changes.csv")).stderr.endswith("1 new\n")
    back = run("vocabulary", "rollback")
    assert back.returncode == 0
    assert back.stderr.startswith(
        "v5.0 30-AUG-24 is active again, with 2,417 concepts; v5.0 27-FEB-26 is kept"
    )
    older = run("vocabulary", "load", str(release))
    assert "is older" not in older.stderr
    downgrade = run("vocabulary", "load", str(SAMPLE))
    assert "warning: it is older than v5.0 27-FEB-26, which was active before" in downgrade.stderr
