"""The commands omop-emb index: what a person is told, and what a program gets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(sample_database_url: str) -> Run:
    """Runs the console script on the sample vocabulary in a FLAT (active) and an HNSW space."""
    environment = {**os.environ, "OMOP_EMB_DATABASE_URL": sample_database_url}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("omop-emb")), *arguments]
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    return run


def test_dropping_the_active_space_is_refused_before_anybody_is_asked(run: Run) -> None:
    refused = run("index", "drop", "all-MiniLM-L6-v2-flat")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "error: space 'all-MiniLM-L6-v2-flat' is the active one: "
        "run omop-emb index activate NAME with another first\n"
    )


def test_a_space_that_is_not_active_is_dropped_only_when_somebody_says_yes(run: Run) -> None:
    asked = run("index", "drop", "all-MiniLM-L6-v2-hnsw")
    assert asked.returncode != 0
    assert "drop space 'all-MiniLM-L6-v2-hnsw'" in asked.stderr
    assert "all-MiniLM-L6-v2-hnsw" in run("index", "list").stdout
    assert run("index", "drop", "all-MiniLM-L6-v2-hnsw", "--yes").returncode == 0
    assert "all-MiniLM-L6-v2-hnsw" not in run("index", "list").stdout
