"""omop-emb index and estimate: messages for people, data for programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

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
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    return run


def test_dropping_the_active_space_is_refused_without_a_question(run: Run) -> None:
    refused = run("index", "drop", "all-MiniLM-L6-v2-flat")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "error: space 'all-MiniLM-L6-v2-flat' is active: "
        "run omop-emb index activate NAME with another space first\n"
    )


def test_an_inactive_space_is_dropped_only_after_confirmation(run: Run) -> None:
    asked = run("index", "drop", "all-MiniLM-L6-v2-hnsw")
    assert asked.returncode != 0
    assert "drop space 'all-MiniLM-L6-v2-hnsw'" in asked.stderr
    assert "all-MiniLM-L6-v2-hnsw" in run("index", "list").stdout
    assert run("index", "drop", "all-MiniLM-L6-v2-hnsw", "--yes").returncode == 0
    assert "all-MiniLM-L6-v2-hnsw" not in run("index", "list").stdout


@pytest.fixture
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packaged model costs a dollar a token."""
    path = tmp_path / "prices.toml"
    path.write_text('[[model]]\nname = "local:all-MiniLM-L6-v2"\nprice = 1e6\nprice_date = "2026-11-21"\n')
    monkeypatch.setenv("OMOP_EMB_PRICES", str(path))


@pytest.mark.usefixtures("prices")
def test_a_paid_build_asks_and_without_a_terminal_says_which_option_to_add(run: Run) -> None:
    build = ("index", "build", "--index-type", "flat", "--texts", "name+synonyms+codes", "--limit", "9")
    refused = run(*build)
    assert (refused.returncode, refused.stdout) == (1, "")
    told, error = [line for line in refused.stderr.splitlines() if not line.startswith("WARNING")]
    assert told.startswith("to embed: 9 texts (9 distinct), about ")
    assert error.startswith("error: embedding would cost about ")
    assert error.endswith("there is no terminal to ask on: add --yes to agree, or a higher --ask-above")
    (row,) = json.loads(run("estimate", *build[2:], "--format", "json").stdout)
    assert row["texts"] == 9
    assert run(*build, "--ask-above", str(row["cost_usd"] - 1)).returncode == 1
    assert run(*build, "--ask-above", str(row["cost_usd"])).returncode == 0
    (row,) = json.loads(run("estimate", *build[2:], "--format", "json").stdout)
    assert (row["texts"], row["tokens"], row["cost_usd"]) == (0, 0, 0)


@pytest.mark.usefixtures("prices")
def test_yes_accepts_any_price(run: Run) -> None:
    build = ("index", "build", "--index-type", "flat", "--texts", "name+synonyms+codes", "--limit", "9")
    assert run(*build, "--yes").returncode == 0


@pytest.mark.usefixtures("prices")
@pytest.mark.parametrize(("answer", "code", "embedded"), [("n", 130, 0), ("y", 0, 9)])
def test_a_terminal_asks_about_the_price_and_no_does_nothing(
    sample_database_url: str, answer: str, code: int, embedded: int
) -> None:
    terminal, stdin = os.openpty()
    try:
        os.write(terminal, f"{answer}\n".encode())
        asked = subprocess.run(
            [
                str(Path(sys.executable).with_name("omop-emb")),
                *("index", "build", "--index-type", "flat", "--texts", "name+synonyms+codes", "--limit", "9"),
            ],
            env={**os.environ, "OMOP_EMB_DATABASE_URL": sample_database_url},
            capture_output=True,
            text=True,
            timeout=60,
            stdin=stdin,
        )
    finally:
        os.close(terminal)
        os.close(stdin)
    assert asked.returncode == code
    assert "embed with local:all-MiniLM-L6-v2 for about" in asked.stderr
    with psycopg.connect(sample_database_url) as connection:
        found = connection.execute("select count(*) from omop_emb.space_1 where text_kind = 'c'").fetchone()
    assert found == (embedded,)


def test_an_estimate_is_data_on_stdout_and_compares_models_of_known_price(run: Run) -> None:
    (row,) = json.loads(run("estimate", "--no-measure", "--format", "json").stdout)
    assert row["model"] == "local:all-MiniLM-L6-v2"
    assert (row["price"], row["cost_usd"], row["tokens_measured"]) == (None, None, False)
    compared = json.loads(run("estimate", "--compare", "--format", "json").stdout)
    assert [entry["model"] for entry in compared if entry["price"] == 0.02] == [
        "openai:text-embedding-3-small"
    ]
    table = run("estimate", "--index-type", "hnsw").stdout
    assert "memory to build the index" in table


def test_verify_prints_each_check_and_exits_with_0_if_all_pass(run: Run) -> None:
    passed = run("index", "verify", "--sample", "5", "--format", "json")
    checks = json.loads(passed.stdout)
    assert (passed.returncode, passed.stderr) == (0, "")
    names = ["build", "rows", "hashes", "vectors", "index", "vocabulary", "model", "recall"]
    assert [check["check"] for check in checks] == names
    assert all(check["ok"] and not check["next_step"] for check in checks)
    run("index", "build", "--domain", "Drug", "--allow-shrink")
    assert run("index", "verify", "--sample", "0").returncode == 0
    missing = run("index", "verify", "nobody")
    assert (missing.returncode, missing.stdout) == (1, "")


def test_verify_exits_with_1_if_a_check_fails(run: Run, sample_database_url: str) -> None:
    with psycopg.connect(sample_database_url, autocommit=True) as connection:
        connection.execute("drop index omop_emb.space_2_hnsw")
    failed = run("index", "verify", "all-MiniLM-L6-v2-hnsw", "--sample", "0")
    assert failed.returncode == 1
    assert failed.stderr == "2 of 8 checks failed\n"
    assert "the HNSW index is missing" in failed.stdout


def test_batch_jobs_of_a_model_without_a_batch_api_are_refused_in_one_line(run: Run) -> None:
    for option in ("--batch-api", "--cancel-batch"):
        refused = run("index", "build", option)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.splitlines()[-1] == (
            "error: local:all-MiniLM-L6-v2 has no batch API: leave --batch-api out"
        )


def test_a_space_travels_in_one_file(run: Run, tmp_path: Path) -> None:
    file = str(tmp_path / "space.parquet")
    written = run("index", "export", file)
    assert (written.returncode, written.stdout) == (0, "")
    assert written.stderr.splitlines()[-1].endswith("texts of v5.0 30-AUG-24")
    refused = run("index", "import", file)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "omop-emb index drop all-MiniLM-L6-v2-flat" in refused.stderr
    run("index", "drop", "all-MiniLM-L6-v2-hnsw", "--yes")
    read = run("index", "import", file, "--index-type", "hnsw", "--name", "theirs")
    assert (read.returncode, read.stdout) == (0, "")
    assert "space 'theirs' is ready, and not active: omop-emb index activate theirs" in read.stderr


def test_a_build_with_a_free_model_guesses_no_tokens(run: Run) -> None:
    done = run("index", "build", "--index-type", "flat", "--texts", "name+synonyms+codes", "--limit", "9")
    (told,) = (line for line in done.stderr.splitlines() if line.startswith("to embed: "))
    assert "token" not in told
    assert "9 texts (9 distinct); the space then takes about" in told
