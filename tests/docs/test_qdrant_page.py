"""The page on Qdrant: its examples run beside a server with Qdrant's own engine."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

from tests.docs.test_examples import QDRANT_PAGE, ROOT, run_page
from tests.qdrant_server import qdrant_server


def test_the_examples_with_qdrant_run(
    sample_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    monkeypatch.setenv("PATH", f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    with qdrant_server() as server:
        monkeypatch.setenv("OMOP_EMB_SEARCH_URL", server.address)
        run_page(ROOT / "docs/how-to" / QDRANT_PAGE, tmp_path)
