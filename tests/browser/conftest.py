"""A real server on the sample vocabulary, and a real browser; without one the tests here are skipped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

pytest.importorskip("fastapi", reason="the extra web is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, sync_playwright

from omop_emb.database.engine import database_engine
from omop_emb.mapping.records import MappedTerm
from omop_emb.service import ConceptFinder
from tests.conftest import NewDatabase, as_url
from tests.review_projects import map_for_review

TOKEN = "token-of-the-browser-tests-0123456789"  # noqa: S105 - of no server but these tests'
WIDTH, HEIGHT = 1200, 780


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium as the system has it."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium is installed: apt install chromium")
    return found


@pytest.fixture(scope="module")  # no longer: its event loop would be in the way of the tests of other files
def browser(chromium: str) -> Iterator[Browser]:
    """A running Chromium."""
    with sync_playwright() as playwright:
        # Chromium's sandbox refuses to run as root, as containers do.
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def server_database_url(
    chromium: str, sample_template: str, new_database: NewDatabase, server_conninfo: str
) -> Iterator[str]:
    """The server's database: the sample vocabulary, embedded."""
    # A copy: what is copied for other tests may have no connections.
    with new_database(sample_template) as name:
        yield as_url(server_conninfo, dbname=name)


@pytest.fixture(scope="session")
def server_url(server_database_url: str, cache_folder: Path) -> Iterator[str]:
    """The address of `omop-emb serve`, as a user starts it."""
    yield from _serve(server_database_url, cache_folder)


def _serve(database_url: str, cache_folder: Path) -> Iterator[str]:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("OMOP_EMB_", "PG"))},
        "OMOP_EMB_DATABASE_URL": database_url,
        "OMOP_EMB_SERVE_TOKEN": TOKEN,
        "XDG_CACHE_HOME": str(cache_folder),
    }
    command = [
        sys.executable,
        "-c",
        "from omop_emb.cli.main import main; main()",
        "serve",
        "--port",
        "0",
        "--no-live-memory",
    ]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        try:
            assert link.startswith("http://127.0.0.1:"), link
            yield link.rstrip("/")
        finally:
            process.send_signal(signal.SIGTERM)


@pytest.fixture
def page(browser: Browser, server_url: str) -> Iterator[Page]:
    """The search page, signed in; a message in the browser's console fails the test."""
    context = browser.new_context(base_url=server_url, viewport={"width": WIDTH, "height": HEIGHT})
    opened = context.new_page()
    messages: list[str] = []
    opened.on("console", lambda message: messages.append(message.text))
    opened.on("pageerror", lambda error: messages.append(str(error)))
    opened.goto(f"{server_url}/?token={TOKEN}")
    yield opened
    context.close()
    assert messages == []


@pytest.fixture(scope="module")
def review_database_url(
    chromium: str, sample_template: str, new_database: NewDatabase, server_conninfo: str
) -> Iterator[str]:
    """A module's own copy of the sample database, in which reviews may be made."""
    with new_database(sample_template) as name:
        yield as_url(server_conninfo, dbname=name)


@pytest.fixture(scope="module")
def mapped(review_database_url: str, cache_folder: Path) -> list[MappedTerm]:
    """The terms of tests/review_projects.py, mapped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache_folder))
        engine = database_engine(review_database_url)
        with ConceptFinder(engine) as finder:
            result = map_for_review(finder)
        engine.dispose()
    return result


@pytest.fixture(scope="module")
def review_server(review_database_url: str, mapped: list[MappedTerm], cache_folder: Path) -> Iterator[str]:
    """The address of a server of the module's own database."""
    assert mapped
    yield from _serve(review_database_url, cache_folder)


@pytest.fixture
def database(review_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the module's own database; each statement commits."""
    with psycopg.connect(review_database_url, autocommit=True) as connection:
        yield connection
