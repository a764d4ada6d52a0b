"""omop-emb index and estimate: messages for people, data for programs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.fake_providers import FakeProviders

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
    prices = {entry["model"]: entry["price"] for entry in compared}
    assert prices["openai:text-embedding-3-small"] == 0.02
    named, formerly = (
        run("estimate", "--no-measure", option, language, "--format", "json").stdout
        for option, language in (("--languages", "en"), ("--synonym-language", "4180186"))
    )
    assert json.loads(named) == json.loads(formerly) == [row]
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


def test_a_space_is_finished_and_repeating_it_does_nothing(run: Run, sample_database_url: str) -> None:
    with psycopg.connect(sample_database_url) as connection:
        connection.execute("drop index omop_emb.space_2_hnsw")
    assert "without its index: run omop-emb index finish all-MiniLM-L6-v2-hnsw" in run("index", "list").stdout
    finished = run("index", "finish", "all-MiniLM-L6-v2-hnsw")
    assert (finished.returncode, finished.stdout) == (0, "")
    assert finished.stderr == (
        "space 'all-MiniLM-L6-v2-hnsw' is counted, and its index was created and its recall measured\n"
    )
    assert "its indexes are as they should be" in run("index", "finish", "all-MiniLM-L6-v2-hnsw").stderr
    assert "without its index" not in run("index", "list").stdout
    missing = run("index", "finish", "nothing")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)


def test_an_unknown_price_of_a_paid_service_is_said_before_a_build_and_in_an_estimate(
    run: Run, fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.dimensions = 1024
    monkeypatch.setenv("OMOP_EMB_MODEL", "jina:jina-embeddings-v3")
    narrowed = ("--index-type", "flat", "--texts", "name", "--limit", "9")
    estimate = run("estimate", *narrowed)
    unknown = "not known: set it in the file that OMOP_EMB_PRICES names"
    assert re.search(f"^price +{unknown}$", estimate.stdout, re.MULTILINE), estimate.stdout + estimate.stderr
    assert fake.calls == []
    built = run("index", "build", *narrowed)
    assert built.returncode == 0, built.stderr
    assert f"at a price that is {unknown};" in built.stderr
    assert {call.body["task"] for call in fake.calls} == {"retrieval.passage"}
