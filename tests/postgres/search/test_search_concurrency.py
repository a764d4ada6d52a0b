"""Concurrent searches: read-only roles, spaces switched or dropped during a search, many threads."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from omop_emb import ConceptFilter, EmbeddingInterface
from omop_emb.database.engine import database_engine, driver_connection, session_scope
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import DatabaseError, SpaceError, SpaceNotFoundError
from omop_emb.indexing.report import Progress
from omop_emb.records import Concept, Fingerprint, IndexType, TextKind
from omop_emb.search import match_rows, matrix, row_search
from omop_emb.search.planner import SearchMethod
from omop_emb.service import demo
from omop_emb.spaces import lifecycle, registry, row_counts, upsert
from omop_emb.spaces.registry import Space
from omop_emb.spaces.text_rows import TextRows
from omop_emb.vocabulary import loader
from omop_emb.vocabulary.lookup import look_up
from tests.builds import build_with

pytestmark = pytest.mark.usefixtures("own_cache")

OMOP_EMB = Path(sysconfig.get_path("scripts")) / "omop-emb"
UNIT_VECTORS = np.eye(3, dtype=np.float32)


def fill(connection: psycopg.Connection, space: Space, name: str) -> None:
    """Give a space three concepts whose names say which write they come from."""
    upsert.upsert_rows(
        connection,
        space,
        TextRows.from_concepts(
            [Concept(number, f"{name} {number}", domain_id="Condition") for number in (1, 2, 3)],
            [TextKind.NAME] * 3,
            [f"{name} {number}" for number in (1, 2, 3)],
            upsert.text_hashes(f"{name} {number}" for number in (1, 2, 3)),
            UNIT_VECTORS,
        ),
        replace_concepts=True,
    )


@pytest.fixture
def two_spaces(database_url: str) -> tuple[Space, Space]:
    """An old space, which is active, and a new one."""
    with psycopg.connect(database_url) as connection:
        made = []
        for name in ("old", "new"):
            fingerprint = Fingerprint(provider="test", model=name, revision="1", dimensions=3)
            space, _ = lifecycle.ensure_space(connection, fingerprint, IndexType.FLAT)
            fill(connection, space, name)
            made.append(space)
        lifecycle.activate_space(connection, made[0])
    return made[0], made[1]


def names(session: Session, **options: Any) -> list[str]:
    """Whose texts come first for each of three vectors, in the active space."""
    interface = options.pop("interface", None) or EmbeddingInterface()
    found = interface.get_nearest_concepts(session=session, query_embeddings=UNIT_VECTORS, k=1, **options)
    return [matches[0].matched_text for matches in found]


@pytest.fixture
def in_the_middle(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Any, str, Callable[[psycopg.Connection], None]], None]:
    """Lets another connection do and commit something before a step of the next search, once."""

    def before(module: Any, step: str, act: Callable[[psycopg.Connection], None]) -> None:
        original = getattr(module, step)

        def interrupted(*arguments: Any, **options: Any) -> Any:
            monkeypatch.setattr(module, step, original)
            with psycopg.connect(database_url) as other:
                act(other)
            return original(*arguments, **options)

        monkeypatch.setattr(module, step, interrupted)

    return before


def test_a_search_that_started_before_an_activation_ends_in_its_space(
    two_spaces: tuple[Space, Space], session: Session, in_the_middle: Any
) -> None:
    in_the_middle(row_search, "search_rows", lambda other: lifecycle.activate_space(other, two_spaces[1]))
    interface = EmbeddingInterface()
    assert names(session, interface=interface) == ["old 1", "old 2", "old 3"]
    assert names(session, interface=interface) == ["new 1", "new 2", "new 3"]


def test_a_space_that_is_dropped_before_a_search_reads_a_row_is_a_clear_error(
    two_spaces: tuple[Space, Space], session: Session, in_the_middle: Any
) -> None:
    def act(other: psycopg.Connection) -> None:
        lifecycle.activate_space(other, two_spaces[1])
        lifecycle.drop_space(other, two_spaces[0])

    in_the_middle(row_search, "search_rows", act)
    interface = EmbeddingInterface()
    with pytest.raises(SpaceNotFoundError, match="space 'old-flat' was dropped while it was searched"):
        names(session, interface=interface)
    # In the same transaction.
    assert names(session, interface=interface) == ["new 1", "new 2", "new 3"]


def test_a_drop_waits_for_a_search_that_has_read_a_row(
    two_spaces: tuple[Space, Space], session: Session, in_the_middle: Any
) -> None:
    def act(other: psycopg.Connection) -> None:
        lifecycle.activate_space(other, two_spaces[1])
        other.execute("set local lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable), other.transaction():
            lifecycle.drop_space(other, two_spaces[0])

    in_the_middle(match_rows, "load_matches", act)
    assert names(session) == ["old 1", "old 2", "old 3"]


def test_rows_that_disappear_between_two_statements_are_searched_again(
    two_spaces: tuple[Space, Space], session: Session, in_the_middle: Any
) -> None:
    in_the_middle(match_rows, "load_matches", lambda other: fill(other, two_spaces[0], "renamed"))
    assert names(session) == ["renamed 1", "renamed 2", "renamed 3"]


def test_rows_that_change_all_the_time_end_in_a_clear_error(
    two_spaces: tuple[Space, Space], session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Any:
        raise match_rows.RowsChangedError

    states = (f"after write {number}" for number in count())
    monkeypatch.setattr(match_rows, "load_matches", never)
    monkeypatch.setattr(matrix, "committed_state", lambda *_: next(states))
    with pytest.raises(DatabaseError, match="was changed each time it was searched: try again"):
        names(session)


def test_a_repeatable_read_transaction_sees_one_state_whatever_others_commit(
    two_spaces: tuple[Space, Space], engine: Engine, database_url: str
) -> None:
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        with Session(connection) as session:
            assert names(session)[0] == "old 1"
            with psycopg.connect(database_url) as other:
                fill(other, two_spaces[0], "renamed")
            assert names(session)[0] == "old 1"


def test_a_release_that_is_loaded_during_a_search_disturbs_neither(
    sample_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = database_engine(sample_database_url)
    original = row_counts.count_passing
    loaded: list[Any] = []

    def interrupted(*arguments: Any) -> Any:
        if not loaded:
            with session_scope(engine) as other:
                other.execute(text("set local lock_timeout = '20s'"))
                loaded.append(loader.load_vocabulary(driver_connection(other), demo.SAMPLE))
        return original(*arguments)

    monkeypatch.setattr(row_counts, "count_passing", interrupted)
    drugs = ConceptFilter(domains=("Drug",))
    try:
        with Session(engine) as session:
            interface = EmbeddingInterface()
            # What a filter names is looked up in the vocabulary; the release stays until this session ends.
            assert look_up(session, ["4329847"]).concepts
            [matches] = interface.get_nearest_concepts_from_query_texts(
                session=session, query_texts=["metformin"], concept_filter=drugs, index_type=IndexType.FLAT
            )
            assert loaded
            vectors = np.repeat(np.ones((1, 384), np.float32), 64, axis=0)
            many = interface.get_nearest_concepts(
                session=session, query_embeddings=vectors, concept_filter=drugs, k=3
            )
        assert {match.domain_id for match in [*matches, *many[0]]} == {"Drug"}
    finally:
        engine.dispose()


def test_a_space_is_not_read_before_its_first_build_is_finished(database_url: str) -> None:
    engine = database_engine(database_url)
    client = EmbeddingClient("local:all-MiniLM-L6-v2")
    interface = EmbeddingInterface(client)
    said: list[str] = []

    def search(progress: Progress) -> None:
        if progress.done and not said:
            with Session(engine) as session, pytest.raises(SpaceError) as caught:
                interface.get_nearest_concepts_from_query_texts(session=session, query_texts=["gout"])
            said.append(str(caught.value))

    try:
        with session_scope(engine) as session:
            loader.load_vocabulary(driver_connection(session), demo.SAMPLE)
        build_with(engine, client, index_type=IndexType.FLAT, limit=60, chunk_texts=20, on_progress=search)
        assert "'all-MiniLM-L6-v2-flat' is incomplete: its first build is running" in said[0]
        with Session(engine) as session:
            assert interface.get_nearest_concepts_from_query_texts(session=session, query_texts=["gout"])
    finally:
        engine.dispose()


@contextmanager
def reading_role(url: str) -> Iterator[str]:
    """A role that may read and nothing else."""
    role = f"reader_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as owner:
        for statement in (
            "create role {}",
            "grant usage on schema omop_emb to {}",
            "grant select on all tables in schema omop_emb to {}",
        ):
            owner.execute(psycopg.sql.SQL(statement).format(psycopg.sql.Identifier(role)))
        try:
            yield role
        finally:
            owner.execute(psycopg.sql.SQL("drop owned by {}").format(psycopg.sql.Identifier(role)))
            owner.execute(psycopg.sql.SQL("drop role {}").format(psycopg.sql.Identifier(role)))


def test_a_read_only_role_can_search_by_every_method(sample_database_url: str) -> None:
    with reading_role(sample_database_url) as role:
        engine = database_engine(sample_database_url)
        try:
            with Session(engine) as session:
                session.execute(text(f"set role {role}"))
                session.execute(text("set transaction read only"))
                interface = EmbeddingInterface()
                assert look_up(session, ["4329847", "SNOMED:22298006"]).concepts.keys() == {
                    "4329847",
                    "SNOMED:22298006",
                }
                [similar] = interface.get_similar_concepts(session=session, concept_ids=[4329847], k=3)
                assert len(similar) == 3
                many = interface.get_nearest_concepts_from_query_texts(
                    session=session,
                    query_texts=[f"term {n}" for n in range(100)],
                    concept_filter=ConceptFilter(domains=("Drug",)),
                    k=2,
                )
                assert [len(matches) for matches in many] == [2] * 100
                registry.active_space(driver_connection(session))
                plan = interface.explain_search(session=session, query_texts=["gout"]).plan
                assert plan.method is SearchMethod.EXACT
        finally:
            engine.dispose()
        done = subprocess.run(
            [OMOP_EMB, "search", "heart attack", "4329847", "-k", "1", "--explain", "--format", "json"],
            env={
                **os.environ,
                "OMOP_EMB_DATABASE_URL": sample_database_url,
                "PGOPTIONS": f"-c role={role} -c default_transaction_read_only=on",
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr


def test_eight_threads_with_one_engine_and_one_interface_find_what_one_finds(
    sample_database_url: str,
) -> None:
    engine = database_engine(sample_database_url)
    interface = EmbeddingInterface()
    queries = [
        f"{what} {number}" for number in range(2) for what in ("gout", "metformin", "fracture", "asthma")
    ]
    together = threading.Barrier(8)

    def find(thread: int) -> list[Any]:
        together.wait()
        found = []
        for number in range(len(queries)):
            query = queries[(number + thread) % len(queries)]
            with Session(engine) as session:
                found.append(
                    interface.get_nearest_concepts_from_query_texts(
                        session=session,
                        query_texts=[query],
                        k=3,
                        concept_filter=ConceptFilter(domains=("Drug",)) if "metformin" in query else None,
                    )[0]
                )
        return found[-thread % len(queries) :] + found[: -thread % len(queries)] if thread else found

    try:
        with ThreadPoolExecutor(8) as pool:
            each = list(pool.map(find, range(8)))
        with Session(engine) as session:
            alone = [
                interface.get_nearest_concepts_from_query_texts(
                    session=session,
                    query_texts=[query],
                    k=3,
                    concept_filter=ConceptFilter(domains=("Drug",)) if "metformin" in query else None,
                )[0]
                for query in queries
            ]
        assert all(found == alone for found in each)
    finally:
        engine.dispose()
