"""Documentation examples: every fenced block of the README and the docs runs, page by page.

    ```python         is executed; the blocks of a page share their names
    ```console        bash runs the lines that begin with "$ "; the lines below a command are its output
    ```output         what the previous block prints

In an output "..." matches anything. "python notest" and "console notest" are shown but not run, because they
need something that a test lacks; MAX_UNTESTED limits their number.
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
# Pages about pictures, which tests/docs/test_picture_pages.py runs beside a server that reads them.
PICTURE_PAGES = ("search-with-a-picture.md", "concepts-with-pictures.md", "map-with-pages.md")
SPARK_PAGE = "spark.md"  # tests/docs/test_spark_page.py runs it, where there is Java
QDRANT_PAGE = "qdrant.md"  # tests/docs/test_qdrant_page.py runs it, beside a server
# Examples that need a key, another machine or half an hour.
MAX_UNTESTED = 30


@dataclass(frozen=True)
class Fence:
    """A fenced block: its info string, its text, and the line on which the text begins."""

    info: str
    text: str
    line: int


def fences(page: str) -> Iterator[Fence]:
    """The fenced blocks of a page, in order."""
    for match in re.finditer(r"^```([^\n`]*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        yield Fence(match[1].strip(), match[2], page[: match.start(2)].count("\n") + 1)


def _matches(expected: str, printed: str) -> bool:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected.strip() + "\n", printed.strip() + "\n", flags)


def _commands(fence: Fence) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output shown below it."""
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


def run_page(page: Path, folder: Path) -> None:
    """Run every block of a page, in a folder that is current."""
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
        location = f"{page.relative_to(ROOT)}, line {fence.line}"
        if fence.info == "python":
            stdout = io.StringIO()
            code = compile("\n" * (fence.line - 1) + fence.text, str(page), "exec")
            with contextlib.redirect_stdout(stdout):
                exec(code, names)  # noqa: S102 - running our own documentation is the purpose of this test
            printed = stdout.getvalue()
        elif fence.info == "output":
            assert _matches(fence.text, printed), f"{location}: it printed\n{printed}"
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
                assert run.returncode == 0, f"{location}: $ {command}{run.stdout}{run.stderr}"
                if expected.strip():
                    assert _matches(expected, printed), f"{location}: $ {command}it printed\n{printed}"


RUNNABLE = [
    page
    for page in PAGES
    if page.name not in (*PICTURE_PAGES, SPARK_PAGE, QDRANT_PAGE)
    and any(fence.info in {"python", "console", "output"} for fence in fences(page.read_text()))
]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run(
    page: Path, sample_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    run_page(page, tmp_path)


def test_few_examples_are_not_run() -> None:
    infos = [fence.info for page in PAGES for fence in fences(page.read_text())]
    allowed = {"python", "console", "output", "python notest", "console notest", *SHOWN}
    assert set(infos) <= allowed
    assert len([info for info in infos if info.endswith("notest")]) <= MAX_UNTESTED


def test_a_wrong_output_is_noticed() -> None:
    assert _matches("a ... c\n", "a b c\n")
    assert not _matches("a ... d\n", "a b c\n")


def test_a_console_block_is_read_as_commands_and_outputs() -> None:
    fence = Fence("console", "$ one \\\n  two\nout\n$ three\n", 1)
    assert list(_commands(fence)) == [("one \\\n  two\n", "out\n"), ("three\n", "")]
