"""Every fenced example of the README and the docs runs, page by page, from top to bottom.

    ```python         run; the blocks of a page share their names
    ```console        lines that begin with "$ " are run by bash; what stands below one is its output
    ```output         what the block before prints

In an output "..." stands for anything. A fence with another word beside the language, as "python notest",
is shown and not run: it needs what a test has not got, and EXCEPTIONS counts how many there are of these.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SHOWN = ("text", "toml", "sql", "csv", "json", "make")
# Examples that need a key, another machine or half an hour.
EXCEPTIONS = 30


@dataclass(frozen=True)
class Fence:
    """A fenced block: its info string, its text, and the line on which the text begins."""

    info: str
    text: str
    line: int


def fences(page: str) -> Iterator[Fence]:
    """The fenced blocks of a page, in order."""
    for found in re.finditer(r"^```([^\n`]*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        yield Fence(found[1].strip(), found[2], page[: found.start(2)].count("\n") + 1)


def _same(expected: str, printed: str) -> bool:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected.strip() + "\n", printed.strip() + "\n", flags)


def _commands(fence: Fence) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that is shown below it."""
    command, output = "", ""
    for line in fence.text.splitlines(keepends=True):
        if line.startswith("$ "):
            if command:
                yield command, output
            command, output = line[2:], ""
        elif command.endswith("\\\n") and not output:
            command += line
        else:
            assert command, f"line {fence.line}: a console block begins with '$ '"
            output += line
    yield command, output


def _run(page: Path, folder: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        _run_fences(page, folder, names)
    finally:
        for value in names.values():
            if isinstance(value, sqlalchemy.Engine):
                value.dispose()


def _run_fences(page: Path, folder: Path, names: dict[str, Any]) -> None:
    printed = ""
    for fence in fences(page.read_text()):
        place = f"{page.relative_to(ROOT)}, line {fence.line}"
        if fence.info == "python":
            stdout = io.StringIO()
            code = compile("\n" * (fence.line - 1) + fence.text, str(page), "exec")
            with contextlib.redirect_stdout(stdout):
                exec(code, names)  # noqa: S102 - running our own documentation is what is tested
            printed = stdout.getvalue()
        elif fence.info == "output":
            assert _same(fence.text, printed), f"{place}: it printed\n{printed}"
        elif fence.info == "console":
            for command, expected in _commands(fence):
                run = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", command],
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    stdin=subprocess.DEVNULL,
                    timeout=300,
                )
                printed = run.stdout
                assert run.returncode == 0, f"{place}: $ {command}{run.stdout}{run.stderr}"
                if expected.strip():
                    assert _same(expected, printed), f"{place}: $ {command}it printed\n{printed}"


RUNNABLE = [
    page
    for page in PAGES
    if any(fence.info in {"python", "console", "output"} for fence in fences(page.read_text()))
]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run(
    page: Path, sample_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    _run(page, tmp_path)


def test_what_is_not_run_is_the_exception() -> None:
    infos = [fence.info for page in PAGES for fence in fences(page.read_text())]
    known = {"python", "console", "output", "python notest", "console notest", *SHOWN}
    assert set(infos) <= known
    assert len([info for info in infos if info.endswith("notest")]) <= EXCEPTIONS


def test_a_wrong_output_is_noticed() -> None:
    assert _same("a ... c\n", "a b c\n")
    assert not _same("a ... d\n", "a b c\n")


def test_a_console_block_is_read_as_commands_and_outputs() -> None:
    fence = Fence("console", "$ one \\\n  two\nout\n$ three\n", 1)
    assert list(_commands(fence)) == [("one \\\n  two\n", "out\n"), ("three\n", "")]
