"""Diagrams in the docs: drawn by Graphviz from the text beside them, and never older than it."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.pictures import REMEDY, ROOT

SOURCES = sorted((ROOT / "docs/images").glob("*.dot"))
PACKAGES = {path.parent.name for path in ROOT.glob("omop_emb/*/__init__.py")} - {"data"}


def _digest(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()[:16]


def draw(source: Path, folder: Path) -> None:
    """Write the diagram as SVG, with the digest of its text."""
    dot = shutil.which("dot")
    if dot is None:
        pytest.skip("Graphviz is not installed: apt install graphviz")
    done = subprocess.run([dot, "-Tsvg", source], capture_output=True, text=True, check=True)
    drawn = re.sub(r"<!--.*?-->\n?", "", done.stdout, flags=re.DOTALL)
    (folder / f"{source.stem}.svg").write_text(f"{drawn.rstrip()}\n<!-- {_digest(source)} -->\n", "utf-8")


@pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
def test_a_diagram_is_not_older_than_its_text(source: Path, pytestconfig: pytest.Config) -> None:
    if folder := pytestconfig.getoption("--pictures"):
        draw(source, Path(folder))
    drawn = source.with_suffix(".svg").read_text("utf-8")
    assert drawn.endswith(f"<!-- {_digest(source)} -->\n"), f"{source.stem}.svg {REMEDY}"


def test_the_architecture_shows_packages_that_exist() -> None:
    text = (ROOT / "docs/images/architecture.dot").read_text("utf-8")
    labels = re.findall(r'label="([a-z, ]+)\\n', text)
    shown = {name for label in labels for name in label.split(", ")}
    assert shown - {"cli", "spark"} <= PACKAGES
    assert PACKAGES - shown <= {"safe_files"}
