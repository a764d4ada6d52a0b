"""A server over the sample vocabulary, one for a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy

pytest.importorskip("fastapi", reason="the extra web is not installed")

from starlette.testclient import TestClient

from omop_emb.database.engine import database_engine
from omop_emb.mapping.records import MappedTerm
from omop_emb.service import ConceptFinder
from omop_emb.web import ServerSettings, ServerState, create_app
from tests.conftest import as_url
from tests.review_projects import map_for_review

ReviewApi = Callable[..., dict[str, Any]]


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


@pytest.fixture(scope="module")
def mapped(finder: ConceptFinder) -> list[MappedTerm]:
    """The terms of tests/review_projects.py, mapped."""
    return map_for_review(finder)


@pytest.fixture
def database(web_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the server's database; each statement commits."""
    with psycopg.connect(web_database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def api(client: TestClient, project_id: int) -> ReviewApi:
    """Asks about the review of the fixture `project_id`: GET, or POST where there is a body."""

    def ask(
        path: str, body: Any = None, *, status: int = 200, by: str = "Ada", **query: Any
    ) -> dict[str, Any]:
        address, headers = f"/api/v1/reviews/{project_id}/{path}", {"X-Reviewer": by}
        if body is None:
            answer = client.get(address, params=query, headers=headers)
        else:
            answer = client.post(address, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    return ask
