"""The site of the docs, built as `make docs` builds it, for tests that read it and for those that open it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def build_site(folder: Path) -> Path:
    """The folder of the built site; a warning fails the test, and no other server can be asked."""
    pytest.importorskip("sphinx")
    arguments = ["--fail-on-warning", "--keep-going", "-q", "-c", "docs", "-d", str(folder / "read")]
    # No proxy answers: whatever asks another server fails, and is a warning.
    closed = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    run = subprocess.run(
        [sys.executable, "-m", "sphinx", *arguments, ".", str(folder / "html")],
        cwd=ROOT,
        env={**os.environ, **closed},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (run.returncode, run.stderr) == (0, "")
    return folder / "html"
