"""A server over the sample vocabulary, one for a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import sqlalchemy

pytest.importorskip("fastapi", reason="the extra web is not installed")

from starlette.testclient import TestClient

from omop_emb.database.engine import database_engine
from omop_emb.service import ConceptFinder
from omop_emb.web import ServerSettings, ServerState, create_app
from tests.conftest import as_url


@pytest.fixture(scope="module")
def web_database_url(
    server_conninfo: str, sample_template: str, new_database: Callable[[str], AbstractContextManager[str]]
) -> Iterator[str]:
    """A database with the embedded sample vocabulary, one for a module."""
    with new_database(sample_template) as name:
        yield as_url(server_conninfo, dbname=name)


@pytest.fixture(scope="module")
def web_engine(web_database_url: str) -> Iterator[sqlalchemy.Engine]:
    engine = database_engine(web_database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def finder(web_engine: sqlalchemy.Engine, cache_folder: Path) -> Iterator[ConceptFinder]:
    """A warm finder over the sample; its index files are where other tests keep theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache_folder))
        with ConceptFinder(web_engine) as opened:
            opened.warm()
            yield opened


@pytest.fixture(scope="module")
def client(web_engine: sqlalchemy.Engine, finder: ConceptFinder) -> Iterator[TestClient]:
    """A client of the application over the sample, without a token."""
    state = ServerState(
        engine=web_engine, finder=finder, settings=ServerSettings(token=None, live_memory=False)
    )
    with TestClient(create_app(state), "http://127.0.0.1:8077") as opened:
        yield opened
