"""omop-emb doctor: its findings, and the next step for each."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from pathlib import Path

import psycopg

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


def test_a_complete_installation_is_ok_in_every_check(sample_database_url: str) -> None:
    code, checks, _ = _doctor(OMOP_EMB_DATABASE_URL=sample_database_url)
    assert code == 0
    assert {row["state"] for row in checks.values()} == {"ok"}
    assert {"server", "pgvector", "schema", "vocabulary", "model", "prefixes"} <= set(checks)
    assert "2,417 concepts" in checks["vocabulary"]["details"]


def test_a_model_that_differs_from_the_space_is_wrong_and_both_are_named(sample_database_url: str) -> None:
    code, checks, _ = _doctor(OMOP_EMB_DATABASE_URL=sample_database_url, OMOP_EMB_MODEL="ollama:other")
    assert code == 1
    assert checks["model"]["state"] == "wrong"
    assert "ollama:other" in checks["model"]["details"]
    assert "local:all-MiniLM-L6-v2" in checks["model"]["details"]


def test_an_empty_database_is_a_note_with_the_next_command(empty_database_url: str) -> None:
    code, checks, _ = _doctor(OMOP_EMB_DATABASE_URL=empty_database_url)
    assert code == 0
    assert "omop-emb vocabulary load" in checks["vocabulary"]["next_step"]


def test_an_unreachable_server_is_wrong_and_no_password_is_shown() -> None:
    code, checks, output = _doctor(OMOP_EMB_DATABASE_URL="postgresql://me:topsecret@127.0.0.1:1/none")
    assert code == 1
    assert checks["database"]["state"] == "wrong"
    assert "topsecret" not in output


def test_prefixes_unsuitable_for_the_model_are_noted(empty_database_url: str) -> None:
    code, checks, _ = _doctor(
        OMOP_EMB_DATABASE_URL=empty_database_url, OMOP_EMB_QUERY_EMBEDDING_PREFIX="query:"
    )
    assert code == 0
    assert checks["prefixes"]["state"] == "note"
    assert "was trained without one for a query: unset it" in checks["prefixes"]["next_step"]


def test_a_missing_embedded_server_is_a_note_and_is_not_created(tmp_path: Path) -> None:
    code, checks, _ = _doctor(OMOP_EMB_DATA_DIR=str(tmp_path / "data"), OMOP_EMB_DATABASE_URL="")
    assert code == 0
    assert checks["server"]["state"] == "note"
    assert "omop-emb demo" in checks["server"]["next_step"]
    assert not (tmp_path / "data").exists()


def test_the_table_is_80_characters_wide(sample_database_url: str) -> None:
    run = subprocess.run(
        [OMOP_EMB, "doctor"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMOP_EMB_DATABASE_URL": sample_database_url},
        timeout=120,
    )
    lines = run.stdout.splitlines()
    assert lines[0].startswith("ok     versions")
    assert all(len(line) <= 80 for line in lines if "omop_emb_test_" not in line)  # one long word


def test_damage_is_wrong_in_doctor_and_ends_db_check_with_1(sample_database_url: str) -> None:
    environment = {**os.environ, "OMOP_EMB_DATABASE_URL": sample_database_url}
    command = [str(OMOP_EMB), "db", "check", "--format", "json"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert (run.returncode, json.loads(run.stdout)) == (0, [])
    with psycopg.connect(sample_database_url) as connection:
        connection.execute("delete from omop_emb.concept_1 where concept_id % 2 = 0")
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert run.returncode == 1
    (damage,) = json.loads(run.stdout)
    assert damage["name"] == "omop_emb.concept_1"
    assert "omop-emb vocabulary load" in damage["next_step"]
    code, checks, _ = _doctor(OMOP_EMB_DATABASE_URL=sample_database_url)
    assert code == 1
    assert checks["table omop_emb.concept_1"]["state"] == "wrong"
