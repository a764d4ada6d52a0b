"""finish_loading: a space that upserts have filled becomes as fast as one that index build leaves."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from omop_emb import ConceptFilter, EmbeddingInterface, IndexType, OmopEmbError
from omop_emb.database.engine import driver_connection
from omop_emb.errors import SpaceError, SpaceNotFoundError
from omop_emb.indexing import finish_index, space_status
from omop_emb.search import planner, recall
from omop_emb.search.options import SearchOptions
from omop_emb.search.search import SearchResult, search
from omop_emb.spaces import registry
from omop_emb.spaces.registry import Space
from tests.small_vocabulary import counting_client

ROWS = 1500


@pytest.fixture(autouse=True)
def few_rows_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index is used although so few rows are compared in no time."""
    monkeypatch.setattr(planner, "exact_cost", lambda count, dimensions: 150_000.0)
    monkeypatch.setattr(planner, "_is_exact_as_fast", lambda *_: False)
    monkeypatch.setattr(planner, "matrix_cost", lambda *_: planner.MatrixCost(saved=-1.0, build=1.0))
    monkeypatch.setattr(recall, "_QUERIES", 30)


CLIENT = counting_client()


@pytest.fixture
def interface() -> EmbeddingInterface:
    return EmbeddingInterface(CLIENT)


@pytest.fixture
def loaded(engine: Engine, interface: EmbeddingInterface) -> Iterator[Session]:
    """A session of a database in which two calls have filled a new HNSW space."""
    with Session(engine) as session:
        for start in (0, ROWS // 2):
            upsert(interface, session, range(start, start + ROWS // 2))
            session.commit()
        yield session
        session.rollback()


def upsert(interface: EmbeddingInterface, session: Session, ids: range) -> None:
    random = np.random.default_rng(ids.start)
    interface.upsert_concept_embeddings(
        session=session,
        index_type=IndexType.HNSW,
        concept_ids=list(ids),
        concept_texts=[f"concept {number}" for number in ids],
        embeddings=random.normal(size=(len(ids), CLIENT.fingerprint.dimensions)),
    )


def space_of(session: Session) -> Space:
    [space] = registry.all_spaces(driver_connection(session))
    return space


def indexes(session: Session) -> dict[str, int]:
    statement = "select relname, oid from pg_class where relname ~ 'space_.*hnsw' order by 1"
    return dict(driver_connection(session).execute(statement).fetchall())


def searched(session: Session, **options: Any) -> SearchResult:
    space = space_of(session)
    query = np.zeros((1, space.fingerprint.dimensions), np.float32)
    query[0, 0] = 1
    return search(driver_connection(session), space, query, SearchOptions(**{"recall": 0.5, **options}))


def test_a_load_writes_rows_without_an_index_and_is_searched_exactly(loaded: Session) -> None:
    assert indexes(loaded) == {}
    plan = searched(loaded).plan
    assert plan.method is planner.SearchMethod.EXACT
    assert "not built yet (run omop-emb index finish" in plan.reason


def test_finishing_creates_and_measures_the_index_and_counts_the_rows(
    loaded: Session, interface: EmbeddingInterface
) -> None:
    before = searched(loaded).matches
    interface.finish_loading(session=loaded, index_type="hnsw")
    space = space_of(loaded)
    assert list(indexes(loaded)) == [f"space_{space.space_id}_hnsw"]
    assert {k for k, _, _ in space.recall} == {10, 100}
    assert space.is_active
    (counted,) = loaded.execute(text("select sum(row_count) from omop_emb.space_count")).one()
    assert counted == ROWS
    after = searched(loaded)
    assert after.plan.method is planner.SearchMethod.INDEX
    assert after.matches[0][0] == before[0][0]


def test_counted_rows_are_not_counted_again_at_each_search(
    loaded: Session, interface: EmbeddingInterface, monkeypatch: pytest.MonkeyPatch
) -> None:
    interface.finish_loading(session=loaded, index_type=IndexType.HNSW)
    statements: list[str] = []
    execute = psycopg.Connection.execute

    def recorded(self: Any, query: Any, *rest: Any, **more: Any) -> Any:
        statements.append(query if isinstance(query, str) else query.as_string(self))
        return execute(self, query, *rest, **more)

    monkeypatch.setattr(psycopg.Connection, "execute", recorded)
    for concept_filter in (None, ConceptFilter(standard_only=True)):
        searched(loaded, exact=True, concept_filter=concept_filter)
    assert not [statement for statement in statements if "select count(*)" in statement]


def test_finishing_twice_creates_and_measures_nothing_again(
    loaded: Session, interface: EmbeddingInterface
) -> None:
    interface.finish_loading(session=loaded, index_type=IndexType.HNSW)
    made = indexes(loaded)
    loaded.execute(text("update omop_emb.space set recall = '[[10, 77, 0.5]]'"))
    interface.finish_loading(session=loaded, index_type=IndexType.HNSW)
    assert indexes(loaded) == made
    assert space_of(loaded).recall == ((10, 77, 0.5),)


def test_what_is_rolled_back_leaves_nothing_and_can_be_repeated(
    loaded: Session, interface: EmbeddingInterface
) -> None:
    interface.finish_loading(session=loaded, index_type=IndexType.HNSW)
    loaded.rollback()
    assert (indexes(loaded), space_of(loaded).recall) == ({}, ())
    interface.finish_loading(session=loaded, index_type=IndexType.HNSW)
    loaded.commit()
    assert space_of(loaded).recall


def test_others_search_meanwhile_and_writers_wait(
    engine: Engine, loaded: Session, interface: EmbeddingInterface
) -> None:
    interface.finish_loading(session=loaded, index_type=IndexType.HNSW)
    with Session(engine) as other:
        other.execute(text("set lock_timeout = '100ms'"))
        assert len(searched(other).matches[0]) == 10
        with pytest.raises(OmopEmbError):
            upsert(interface, other, range(ROWS, ROWS + 1))
        other.rollback()
        loaded.commit()
        upsert(interface, other, range(ROWS, ROWS + 1))
        other.commit()
        assert space_status(driver_connection(other), space_of(other)).rows == ROWS + 1


def test_two_that_finish_a_space_at_once_wait_for_each_other(engine: Engine, loaded: Session) -> None:
    name = space_of(loaded).name
    with ThreadPoolExecutor() as threads:
        made = list(threads.map(lambda _: finish_index(engine, name)[1], range(2)))
    assert sorted(made) == [False, True]
    assert len(indexes(loaded)) == 1


def test_a_space_that_is_being_built_is_left_to_its_build(
    loaded: Session, interface: EmbeddingInterface
) -> None:
    loaded.execute(
        text("insert into omop_emb.build (space_id, settings, lease_until) values (:space, '{}', now())"),
        {"space": space_of(loaded).space_id},
    )
    with pytest.raises(SpaceError, match="is being built"):
        interface.finish_loading(session=loaded, index_type=IndexType.HNSW)


def test_a_space_that_does_not_exist_is_not_created(session: Session, interface: EmbeddingInterface) -> None:
    with pytest.raises(SpaceNotFoundError):
        interface.finish_loading(session=session, index_type=IndexType.HNSW)
    assert registry.all_spaces(driver_connection(session)) == []
