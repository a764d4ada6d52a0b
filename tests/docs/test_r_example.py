"""The page on serving: its R script finds a concept, where R and its package httr2 are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.test_examples import fences
from tests.serving import serving

PAGE = Path(__file__).parents[2] / "docs/how-to/serve.md"


def test_the_r_script_prints_concepts(sample_database_url: str) -> None:
    rscript = shutil.which("Rscript")
    packages = ["-e", "library(httr2); library(jsonlite)"]
    if rscript is None or subprocess.run([rscript, *packages], capture_output=True).returncode:
        pytest.skip("R with httr2 and jsonlite is not installed")
    [script] = [fence.text for fence in fences(PAGE.read_text()) if "library(httr2)" in fence.text]
    with serving(environment={"OMOP_EMB_DATABASE_URL": sample_database_url}) as server:
        server.wait_until_ready()
        here = script.replace("http://127.0.0.1:8077", server.url)
        assert here != script
        run = subprocess.run(
            [rscript, "-e", here],
            env={**os.environ, "OMOP_EMB_SERVE_TOKEN": server.token, "no_proxy": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert run.returncode == 0, run.stderr
    assert "316866" in run.stdout
    assert "Hypertensive disorder" in run.stdout
