"""Reference pages: they match the code."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sysconfig
from pathlib import Path

import pytest

from omop_emb.config import VARIABLES

ROOT = Path(__file__).parents[2]
OMOP_EMB = Path(sysconfig.get_path("scripts")) / "omop-emb"
_reference = runpy.run_path(str(ROOT / "tests/docs/reference.py"))


@pytest.mark.parametrize("page", _reference["PAGES"])
def test_a_generated_page_is_up_to_date(page: str) -> None:
    assert (ROOT / page).read_text() == _reference["PAGES"][page](), "run make docs"


@pytest.mark.parametrize("name", [name for name, _ in _reference["commands"]()])
def test_the_page_shows_what_help_prints(name: str) -> None:
    run = subprocess.run(
        [OMOP_EMB, *name.split()[1:], "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": str(_reference["WIDTH"])},
    )
    page = (ROOT / "docs/reference/cli.md").read_text()
    section = re.search(rf"^## {re.escape(name)}\n\n```text\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert section[1] == run.stdout.rstrip()
    assert run.stderr == ""


@pytest.mark.parametrize("name", [name for name, _ in _reference["commands"]()])
def test_every_command_and_option_has_help(name: str) -> None:
    context = dict(_reference["commands"]())[name]
    assert context.command.help
    for parameter in context.command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{name} {parameter.name}"


def _documented_variables(page: str) -> set[str]:
    """The variables in the first column of a page's tables."""
    rows = re.findall(r"^\|(.*?)\|", (ROOT / page).read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([A-Z][A-Z0-9_]{4,})`", row)}


def test_the_readme_lists_only_variables_that_exist() -> None:
    documented = _documented_variables("README.md")
    assert "OMOP_EMB_MODEL" in documented
    assert documented <= {variable.name for variable in VARIABLES}
