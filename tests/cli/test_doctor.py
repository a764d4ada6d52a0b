"""omop-emb doctor: what is there, what is wrong, what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from pathlib import Path

OMOP_EMB = Path(sysconfig.get_path("scripts")) / "omop-emb"


def _doctor(**variables: str) -> tuple[int, dict[str, dict[str, str]], str]:
    run = subprocess.run(
        [OMOP_EMB, "doctor", "--format", "json"],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        timeout=120,
    )
    return run.returncode, {row["check"]: row for row in json.loads(run.stdout)}, run.stdout + run.stderr


def test_a_whole_installation_is_ok_in_every_line(sample_database_url: str) -> None:
    code, found, _ = _doctor(OMOP_EMB_DATABASE_URL=sample_database_url)
    assert code == 0
    assert {row["state"] for row in found.values()} == {"ok"}
    assert {"server", "pgvector", "schema", "vocabulary", "model", "prefixes"} <= set(found)
    assert "2,417 concepts" in found["vocabulary"]["details"]


def test_a_model_that_is_not_the_space_s_is_wrong_and_both_are_named(sample_database_url: str) -> None:
    code, found, _ = _doctor(OMOP_EMB_DATABASE_URL=sample_database_url, OMOP_EMB_MODEL="ollama:other")
    assert code == 1
    assert found["model"]["state"] == "wrong"
    assert "ollama:other" in found["model"]["details"]
    assert "local:all-MiniLM-L6-v2" in found["model"]["details"]


def test_an_empty_database_is_no_error_and_says_what_to_run(empty_database_url: str) -> None:
    code, found, _ = _doctor(OMOP_EMB_DATABASE_URL=empty_database_url)
    assert code == 0
    assert "omop-emb vocabulary load" in found["vocabulary"]["next_step"]


def test_a_server_that_is_not_there_is_wrong_and_no_password_is_shown() -> None:
    code, found, said = _doctor(OMOP_EMB_DATABASE_URL="postgresql://me:topsecret@127.0.0.1:1/none")
    assert code == 1
    assert found["database"]["state"] == "wrong"
    assert "topsecret" not in said


def test_prefixes_that_the_model_does_not_want_are_noted(empty_database_url: str) -> None:
    code, found, _ = _doctor(
        OMOP_EMB_DATABASE_URL=empty_database_url, OMOP_EMB_QUERY_EMBEDDING_PREFIX="query:"
    )
    assert code == 0
    assert found["prefixes"]["state"] == "note"
    assert "was trained without one for a query: unset it" in found["prefixes"]["next_step"]
