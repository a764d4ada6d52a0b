"""Types of an editable install: a checker finds every package as CONTRIBUTING.md says to install it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONS = "--config-settings editable_mode=strict"
USE = """
import omop_emb
from omop_emb.cli.main import main
from omop_emb.sql import read
reveal_type(omop_emb.__version__)
reveal_type(omop_emb.map_terms)
reveal_type(main)
reveal_type(read("vocabulary_concepts"))
"""


def test_contributors_are_told_the_option() -> None:
    assert OPTIONS in (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.long
def test_a_checker_finds_the_types_of_every_package(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("omop_emb", "cli", "sql"):
        (checkout / name).symlink_to(ROOT / name)
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, checkout)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv/bin/python")
    install = [python, "-m", "pip", "install", "--no-deps", *shlex.split(OPTIONS), "-e", str(checkout)]
    if subprocess.run(install, capture_output=True).returncode != 0:
        pytest.skip("pip cannot install here: it needs setuptools from a package index")
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    (tmp_path / "use.py").write_text(USE)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "use.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout
    revealed = re.findall(r'Revealed type is "(.*)"', checked.stdout)
    assert len(revealed) == 4
    assert not [kind for kind in revealed if kind == "Any"]
