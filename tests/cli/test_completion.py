"""Completion by the Tab key, as docs/how-to/tab-completion.md sets it up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

SCRIPTS = Path(sysconfig.get_path("scripts"))
PAGE = Path(__file__).parents[2] / "docs/how-to/tab-completion.md"
ASK = """
{line}
COMP_WORDS=({words}); COMP_CWORD={position}
_omop_emb_completion omop-emb
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("omop-emb sea", {"search"}),
        ("omop-emb index li", {"list"}),
        ("omop-emb index cache c", {"clear"}),
        ("omop-emb search --for", {"--format"}),
        ("omop-emb search --format t", {"table", "tsv"}),
        ("omop-emb index build --index-type h", {"hnsw"}),
        ("omop-emb rev", {"review"}),
        ("omop-emb review --export lab --format us", {"usagi"}),
        ("omop-emb xyz", {""}),
    ],
)
def test_bash_completes_commands_options_and_values(words: str, found: set[str]) -> None:
    (line,) = (cell for cell in PAGE.read_text().split("`") if "bash_source" in cell)
    script = ASK.format(line=line, words=words, position=len(words.split()) - 1)
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PATH": path},
        check=True,
    )
    assert set(done.stdout.split("\n")[:-1]) == found


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_get_a_script(shell: str) -> None:
    assert f"_OMOP_EMB_COMPLETE={shell}_source omop-emb" in PAGE.read_text()
    done = subprocess.run(
        [SCRIPTS / "omop-emb"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "_OMOP_EMB_COMPLETE": f"{shell}_source"},
        check=True,
    )
    assert f"_OMOP_EMB_COMPLETE={shell}_complete" in done.stdout
