"""A server without a database: a fake finder, and clients that ask it without a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import pytest
import sqlalchemy

pytest.importorskip("fastapi", reason="the extra web is not installed")

from fastapi import FastAPI
from starlette.testclient import TestClient

from omop_emb.service import ConceptFinder
from omop_emb.web import ServerSettings, ServerState, create_app

TOKEN = "test-token-of-43-characters-0123456789abcdef"  # noqa: S105 - of no server but these tests'


class FakeFinder:
    """Answers every question with what its functions give; no function answers nothing."""

    times_read = 0

    def __init__(self, **functions: Callable[..., Any]) -> None:
        self.functions = functions
        self.calls: list[tuple[str, Any]] = []

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((name, args))
        return self.functions[name](*args, **kwargs) if name in self.functions else ()

    def find(self, text: str, **options: Any) -> Any:
        return self._call("find", text, **options)

    def complete(self, prefix: str, **options: Any) -> Sequence[Any]:
        return list(self._call("complete", prefix, **options))

    def map(self, terms: Sequence[Any], **options: Any) -> list[Any]:
        return list(self._call("map", terms, **options))

    def warm(self) -> None:
        self._call("warm")

    def contents(self) -> Any:
        return self._call("contents")

    def close(self) -> None:
        self.calls.append(("close", ()))


NewClient = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture
def new_client() -> Iterator[NewClient]:
    """A context manager: a client of a new server, whose finder and settings are given.

    It sends the server's token, unless `headers` says otherwise; `add` may add routes to the application.
    """
    # Nothing listens there: what needs the database answers 503.
    engine = sqlalchemy.create_engine("postgresql+psycopg://nobody@127.0.0.1:9/none?connect_timeout=2")

    @contextmanager
    def new(
        *,
        finder: FakeFinder | None = None,
        headers: dict[str, str] | None = None,
        add: Callable[[FastAPI], None] | None = None,
        client: tuple[str, int] = ("127.0.0.1", 50000),
        **settings: Any,
    ) -> Iterator[TestClient]:
        state = ServerState(
            engine=engine,
            finder=cast(ConceptFinder, finder or FakeFinder()),
            settings=ServerSettings(**{"token": TOKEN, **settings}),
        )
        app = create_app(state)
        if add is not None:
            add(app)
        sent = {"Authorization": f"Bearer {TOKEN}"} if headers is None else headers
        with TestClient(app, "http://127.0.0.1:8077", headers=sent, client=client) as opened:
            yield opened

    yield new
    engine.dispose()
