"""omop-emb review: begins and opens reviews, lists, exports and deletes them."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path

import click
import httpx
import psycopg
import pytest
from click.testing import CliRunner, Result

from omop_emb.errors import InputError, MissingExtraError
from omop_emb.service.review.exports.export_format import ExportReport, LeftOut
from omop_emb.service.review.exports.export_registry import EXPORTS
from tests.conftest import as_url
from tests.postgres.service.review.review_samples import make_review
from tests.serving import OMOP_EMB

USAGI = (
    "sourceCode,sourceName,sourceFrequency,sourceAutoAssignedConceptIds,matchScore,mappingStatus,equivalence,"
    "statusSetBy,statusSetOn,conceptId,conceptName,domainId,mappingType,comment,createdBy,createdOn,"
    "assignedReviewer\n"
    "1,asthma,5,,0.9,APPROVED,EQUAL,Eve,1700000000000,317009,Asthma,Condition,MAPS_TO,,Eve,1700000000000,\n"
    "2,cough,3,,0.9,UNCHECKED,UNREVIEWED,,0,254761,Cough,Condition,MAPS_TO,,<auto>,1700000000000,\n"
)
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def database(
    server_conninfo: str, migrated_template: str, new_database: Callable[[str], AbstractContextManager[str]]
) -> Iterator[str]:
    """A database without a vocabulary: what is tested here maps nothing."""
    with new_database(migrated_template) as name:
        yield as_url(server_conninfo, dbname=name)


@pytest.fixture
def run(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command in a folder that has terms.usagi.csv; errors are raised."""
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", database)
    monkeypatch.chdir(tmp_path)
    Path("terms.usagi.csv").write_text(USAGI, encoding="utf-8")
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("delete from omop_emb.review_project")

    def run(*arguments: str, stdin: str = "") -> Result:
        command = import_module("omop_emb.cli.review").command
        result = CliRunner().invoke(command, list(arguments), input=stdin, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result

    return run


@contextmanager
def reviewing(*arguments: str) -> Iterator[tuple[str, list[str]]]:
    """The link that `omop-emb review` prints, and what it has written to stderr at its end."""
    process = subprocess.Popen(
        [OMOP_EMB, "review", *arguments, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    errors: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        yield process.stdout.readline().strip(), errors
    finally:
        process.send_signal(signal.SIGTERM)
        errors += process.communicate(timeout=30)[1].splitlines()


def ask(link: str, path: str) -> httpx.Response:
    base, _, token = link.partition("?token=")
    origin = re.match(r"http://[^/]+", base)
    assert origin is not None, link
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{origin[0]}{path}", headers=headers, timeout=30, trust_env=False)


def test_a_file_is_opened_in_the_browser_and_the_same_file_again(run: Run) -> None:
    with reviewing("terms.usagi.csv", "--name", "lab", "--reviewer", "Ada") as (link, errors):
        match = re.fullmatch(r"http://127\.0\.0\.1:\d+/review/(\d+)\?token=[\w-]{43}", link)
        assert match is not None, link
        deadline = time.monotonic() + 30
        while (found := ask(link, f"/api/v1/reviews/{match[1]}").json())["terms"] is None:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        assert (found["name"], found["terms"], found["decided"], found["created_by"]) == ("lab", 2, 1, "Ada")
    assert any("terms.usagi.csv: CSV or TSV with Usagi's columns" in line for line in errors)
    assert "review 'lab' has begun: its terms appear as they are read and mapped" in errors
    with reviewing("terms.usagi.csv") as (again, errors):
        assert f"/review/{match[1]}?token=" in again
    assert (
        "review 'lab' was begun with this file and is opened again; --name OTHER begins a new one" in errors
    )
    with reviewing("terms.usagi.csv", "--name", "other") as (other, _):
        assert f"/review/{int(match[1]) + 1}?token=" in other
    with reviewing() as (all_reviews, _):
        assert re.search(r"/review\?token=", all_reviews)

    listed = run("--list").stdout
    assert re.search(r"lab +\d+ +terms\.usagi\.csv +2 +1", listed), listed
    out = run("--export", "lab", "-o", "out.usagi.csv")
    assert Path("out.usagi.csv").read_text(encoding="utf-8") == USAGI, "nobody has decided anything since"
    assert "2 rows written to out.usagi.csv" in out.stderr
    with pytest.raises(InputError, match=r"the ending of x\.doc names no format: give --format"):
        run("--export", "lab", "-o", "x.doc")
    table = run("--export", "lab", "-o", "out.csv")
    assert "written to out.csv" in table.stderr
    chosen = run("--export", "lab", "-o", "-", "--format", "usagi")
    assert chosen.stdout == USAGI

    assert run("--delete", "other", "--yes").stderr.startswith("review 'other' deleted")
    with pytest.raises(click.Abort):
        run("--delete", "lab", stdin="n\n")
    assert "lab" in run("--list").stdout
    assert "and all decisions?" in run("--delete", "lab", stdin="y\n").stderr
    assert "there is no review yet: omop-emb review FILE begins one" in run("--list").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("terms.usagi.csv", "--list"), "give one of FILE, --list, --export, --read-back and"),
        (("--export", "lab"), "--export needs --output FILE"),
        (("--list", "-o", "x.csv"), "--output and --schema are for --export NAME"),
        (("--export", "lab", "-o", "x.csv", "--schema", "cdm"), "--output FILE, or --schema SCHEMA"),
        (("--read-back", "lab"), "--read-back needs FILE, the export that people filled"),
        (("--export", "lab", "-o", "x.csv", "--set", "a"), "--set takes OPTION=VALUE; found 'a'"),
    ],
)
def test_wrong_usage_is_said_in_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(click.UsageError, match=re.escape(message)):
        run(*arguments)


def test_errors_name_what_there_is(run: Run) -> None:
    with pytest.raises(InputError, match="there is no review 'lab': omop-emb review --list shows all"):
        run("--export", "lab", "-o", "x.csv")
    with pytest.raises(InputError, match="there is no export format 'stone'; the formats are usagi, "):
        run("--export", "lab", "-o", "x.csv", "--format", "stone")
    with pytest.raises(InputError, match=r"there is no file lost\.csv"):
        run("lost.csv")


def test_list_export_and_delete_need_no_web_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.startswith(("fastapi", "omop_emb.web"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert run("--list").exit_code == 0
    with pytest.raises(InputError, match="there is no review 'lab'"):
        run("--delete", "lab", "--yes")
    with pytest.raises(MissingExtraError, match=r"omop-emb review FILE"):
        run("terms.usagi.csv")
    assert "there is no review yet" in run("--list").stderr, "nothing was begun that could not be opened"


def test_a_filled_export_is_read_back_and_the_result_fills_a_schema(run: Run, database: str) -> None:
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        make_review(connection, b"code,name\n1,asthma\n2,cough\n3,fever\n", name="ward")
    run("--export", "ward", "-o", "out.csv")
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    for row, word in zip(rows, ["no match", "ignore", "perhaps"], strict=True):
        row["decision"] = word
    with Path("filled.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    read = run("--read-back", "ward", "filled.csv", "--reviewer", "Ada").stderr.splitlines()
    assert read == [
        "2 rows of 3 decided, 0 unchanged",
        "line 4: 'decision' says neither approve, no match, flag nor ignore",
    ]
    assert (
        "2 rows were read back before" in run("--read-back", "ward", "filled.csv", "--reviewer", "Ada").stderr
    )
    vocabulary = ("--set", "source_vocabulary_id=Ward")
    written = run("--export", "ward", "--schema", "omop_emb", *vocabulary).stderr
    assert written.startswith("1 row written to omop_emb.source_to_concept_map")
    assert "1 term is not in it: ignored, such as 2" in written
    with psycopg.connect(database.replace("+psycopg", "")) as connection:
        found = connection.execute("select source_code from omop_emb.source_to_concept_map").fetchall()
    assert found == [("1",)]


def test_help_lists_every_format(run: Run) -> None:
    shown = re.sub(r"-\s+", "-", run("--help").stdout)
    for export in EXPORTS:
        if export.name.startswith("source-to-concept-map-"):
            assert export.suffix.replace(".", "-") in shown
            continue
        assert re.search(rf"\b{re.escape(export.name)}\b", shown), export.name


def test_the_report_says_what_is_not_in_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    left_out = [
        LeftOut(reason="not reviewed", count=2, examples=("A1", "A2")),
        LeftOut(reason="flagged", count=1),
    ]
    report = ExportReport(rows=1, left_out=left_out, notes=["dates are those of today"])
    import_module("omop_emb.cli.review_files")._echo_report(report, Path("out.csv"))
    assert capsys.readouterr().err.splitlines() == [
        "1 row written to out.csv",
        "2 terms are not in it: not reviewed, such as A1, A2",
        "1 term is not in it: flagged",
        "dates are those of today",
    ]


def test_the_command_line_starts_quickly(run: Run) -> None:
    """Neither the server nor numpy is imported to show help."""
    code = "import sys, omop_emb.cli.review; print([m for m in ('numpy', 'fastapi') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"
