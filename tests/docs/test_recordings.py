"""Recordings of the terminal in the docs: made from the program's output, and compared with it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sysconfig
from html import escape, unescape
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from tests.pictures import REMEDY, is_still_shown

pyte = pytest.importorskip("pyte")

IMAGES = Path(__file__).parents[2] / "docs/images"
MOST_LINES = 200
TERMS = "code,name,frequency\nL1,? GALLSTONES,40\nL2,Metformin 500mg tab,12\nL3,pnuemonia,7\n"
MAP = ("map", "terms.csv", "-o", "mapped.usagi.csv", "--review-queue", "review.csv")
RECORDED = {  # name: columns of the terminal, arguments
    "terminal-search": (100, ("search", "T2DM", "--domain", "Condition", "-k", "3")),
    "terminal-map": (80, MAP),
}


def record(columns: int, arguments: tuple[str, ...], folder: Path) -> list[Text]:
    """The lines that a terminal shows after `omop-emb ARGUMENTS`, with their colours."""
    leader, follower = pty.openpty()
    environment = {"COLUMNS": str(columns), "LINES": "50", "TERM": "xterm-256color"}
    environment["PATH"] = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["omop-emb", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    printed = b""
    try:
        while piece := os.read(leader, 65536):
            printed += piece
    except OSError:  # Linux: the program has closed its side
        pass
    finally:
        os.close(leader)
    text = printed.decode()
    assert process.wait(timeout=60) == 0, text
    screen = pyte.Screen(columns, MOST_LINES)
    # Where the demo's data is usually, in place of this test's folder.
    pyte.Stream(screen).feed(text.replace(os.environ.get("OMOP_EMB_DATA_DIR", "\0"), "/var/lib/omop-emb"))
    lines = [_line(screen.buffer[row], columns) for row in range(screen.cursor.y)]
    return [line for line in lines if "waiting for PostgreSQL" not in line.plain]  # on a busy machine only


def _line(row: Any, columns: int) -> Text:
    line = Text()
    for cell in (row[column] for column in range(columns)):
        colour = "" if cell.fg == "default" else re.sub(r"^(?=[0-9a-f]{6}$)", "#", cell.fg)
        line.append(cell.data, f"{'bold ' if cell.bold else ''}{colour}".strip())
    line.rstrip()
    return line


def picture(name: str, columns: int, command: str, lines: list[Text]) -> str:
    """An SVG of the lines, which names no font of another server and can be read aloud."""
    console = Console(record=True, width=columns, file=StringIO())
    for line in (Text.assemble(("$ ", "dim"), (command, "bold")), *lines):
        console.print(line, soft_wrap=True)
    svg = console.export_svg(title="omop-emb", unique_id=name)
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code, ", "")
    plain = "\n".join(line.plain for line in lines)
    return svg.replace(">", f"><title>{escape(command)}</title><desc>{escape(plain)}</desc>", 1)


def compare(name: str, columns: int, command: str, lines: list[Text], config: pytest.Config) -> None:
    """Fail if the stored picture shows something else; make it, if pictures are asked for."""
    path = IMAGES / f"{name}.svg"
    if config.getoption("--pictures"):
        path.write_text(picture(name, columns, command, lines), encoding="utf-8")
    stored = path.read_text(encoding="utf-8")
    [text] = re.findall(r"<desc>(.*?)</desc>", stored, re.DOTALL)
    fresh = "\n".join(line.plain for line in lines)
    assert is_still_shown(unescape(text), fresh), f"{path.name} {REMEDY}\n{text}\nis now\n{fresh}"
    assert escape(command) in stored
    assert not re.search(r"url\([^#]", stored), "it would fetch from another server"


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_shows_what_the_program_prints(
    name: str,
    sample_database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    (tmp_path / "terms.csv").write_text(TERMS)
    columns, arguments = RECORDED[name]
    lines = record(columns, arguments, tmp_path)
    compare(name, columns, " ".join(("omop-emb", *arguments)), lines, pytestconfig)


def test_the_recording_of_the_demo_shows_what_it_prints(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATA_DIR", str(folder / "data"))
    lines = record(80, ("demo",), tmp_path)
    # The table has 66 rows: the picture shows the first and the last ones.
    [first] = [n for n, line in enumerate(lines) if line.plain.startswith("heart attack")]
    shortened = [*lines[: first + 10], Text("…", "dim"), *lines[-12:]]
    compare("terminal-demo", 80, "omop-emb demo", shortened, pytestconfig)
