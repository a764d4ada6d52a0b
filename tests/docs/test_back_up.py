"""The page on backups: every command of it runs, in order, on a database of its own."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from omop_emb.server import supervisor
from tests.attack.commands import write_inputs
from tests.docs.test_examples import fences

PAGE = Path(__file__).parents[2] / "docs/how-to/back-up.md"
BLOCKS = [fence for fence in fences(PAGE.read_text()) if fence.info == "text"]
SETTING_UP = """
omop-emb vocabulary load first
omop-emb index build --index-type flat --domain Specimen
omop-emb memory remember approved.csv
"""


def bash(script: str, folder: Path, data_dir: Path) -> str:
    """Run the lines, but for those that install something; what they print on both streams."""
    lines = [line for line in script.splitlines() if not line.startswith("pip ")]
    run = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", "\n".join(lines)],
        cwd=folder,
        env=os.environ | {"OMOP_EMB_DATA_DIR": str(data_dir)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout
    return run.stdout


def test_every_command_of_the_page_runs_and_the_restored_databases_answer_alike(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.setenv("PATH", f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}")
    write_inputs(tmp_path)
    first = folder / "data"
    bash(SETTING_UP, tmp_path, first)
    search = "omop-emb search 'blood specimen' --format csv; omop-emb memory list --site default --format csv"
    answers = bash(search, tmp_path, first)
    assert len(answers.splitlines()) > 130
    for number, block in enumerate(BLOCKS):
        new = folder / f"new-{number}"
        bash(block.text.replace("/new/folder", str(new)), tmp_path, first)
        if "/new/folder" in block.text:
            assert bash(search, tmp_path, new) == answers
            supervisor.stop(new)
    approvals = "omop-emb memory list --site default --format csv > approvals.csv"
    remember = "omop-emb memory remember approvals.csv --all-approved --site again"
    assert "130 approved mappings, 130 of them new" in bash(f"{approvals}\n{remember}", tmp_path, first)
