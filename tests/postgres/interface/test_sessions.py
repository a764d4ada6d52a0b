"""What a caller gives as a session: each kind works, or is refused in one line that says what to give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from omop_emb import EmbeddingInterface, OmopEmbError
from tests.small_vocabulary import counting_client, text_vector

INTERFACE = EmbeddingInterface(counting_client(prefix="d: "))


def write(session: Any) -> None:
    INTERFACE.upsert_concept_embeddings(
        session=session,
        index_type="flat",
        concept_ids=[1, 2],
        concept_texts=["one", "two"],
        embeddings=[text_vector("one", 8), text_vector("two", 8)],
    )


def first_id(session: Any) -> int:
    ((hit,),) = INTERFACE.get_nearest_concepts(session=session, query_embeddings=[text_vector("two", 8)], k=1)
    return hit.concept_id


def begun(engine: Engine) -> Any:
    connection = engine.connect()
    connection.begin()
    return connection


def begun_session(engine: Engine) -> Session:
    session = Session(engine, autobegin=False)
    session.begin()
    return session


def closed_session(engine: Engine) -> Session:
    session = Session(engine)
    session.close()
    return session


def closed_for_good(engine: Engine) -> Session:
    session = Session(engine, close_resets_only=False)
    session.close()
    return session


def closed_connection(engine: Engine) -> Any:
    connection = engine.connect()
    connection.close()
    return connection


def failed(engine: Engine) -> Session:
    session = Session(engine)
    with pytest.raises(sqlalchemy.exc.ProgrammingError):
        session.execute(text("select nothing_like_that"))
    return session


def rolled_back(engine: Engine) -> Any:
    connection = engine.connect()
    outer = connection.begin()
    connection.begin_nested()
    outer.rollback()
    connection.invalidate()
    connection.close()
    return connection


WORKING: dict[str, Callable[[Engine], Any]] = {
    "Session": Session,
    "Connection": lambda engine: engine.connect(),
    "a begun Connection": begun,
    "sessionmaker()": lambda engine: sessionmaker(engine)(),
    "scoped_session": lambda engine: scoped_session(sessionmaker(engine)),
    "a Session of a Connection": lambda engine: Session(engine.connect()),
    "a closed Session, which begins anew": closed_session,
    "SERIALIZABLE": lambda engine: Session(engine.execution_options(isolation_level="SERIALIZABLE")),
}


@pytest.mark.parametrize("kind", WORKING)
def test_every_kind_of_synchronous_session_works(engine: Engine, kind: str) -> None:
    session = WORKING[kind](engine)
    try:
        write(session)
        assert first_id(session) == 2
        session.commit()
        assert first_id(session) == 2
    finally:
        session.close()


def test_a_session_in_autocommit_reads_and_never_writes_a_half(engine: Engine) -> None:
    with Session(engine) as session:
        write(session)
        session.commit()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert first_id(connection) == 2
        with pytest.raises(OmopEmbError, match="AUTOCOMMIT mode") as caught:
            write(connection)
        assert "\n" not in str(caught.value)


class AsyncSession:
    """As SQLAlchemy names it; its own needs greenlet."""


REFUSED: dict[str, tuple[Callable[[Engine], Any], str]] = {
    "an Engine": (lambda engine: engine, r"such as sqlalchemy\.orm\.Session\(engine\); found Engine"),
    "a sessionmaker": (sessionmaker, "found sessionmaker"),
    "AsyncSession": (lambda _: AsyncSession(), r"asyncio\.to_thread\(\).*; found AsyncSession"),
    "None": (lambda _: None, "found NoneType"),
    "a URL": (lambda _: "postgresql://u:SECRET@h/db", "found str"),
    "the driver's connection": (lambda _: psycopg.Connection, "found type"),
    "a closed Connection": (closed_connection, "this Connection cannot be used: This Connection is closed"),
    "a Session without an engine": (
        lambda _: Session(),
        "Session cannot be used: This session is not bound",
    ),
    "a Session closed for good": (
        closed_for_good,
        "Session cannot be used: This Session has been permanently",
    ),
    "without autobegin": (
        lambda engine: Session(engine, autobegin=False),
        "Session cannot be used: .*[Aa]utobegin",
    ),
    "SQLite": (
        lambda _: Session(sqlalchemy.create_engine("sqlite://")),
        r"psycopg 3, and this session uses sqlite\+",
    ),
    "a transaction that failed": (failed, "an earlier statement of this transaction failed: roll it back"),
    "rolled back by its flush": (rolled_back, "this Connection cannot be used: "),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("call", [write, first_id], ids=["write", "search"])
def test_what_is_no_usable_session_is_refused_in_one_line(
    engine: Engine, kind: str, call: Callable[[Any], Any]
) -> None:
    make, message = REFUSED[kind]
    with pytest.raises(OmopEmbError, match=message) as caught:
        call(make(engine))
    assert "\n" not in str(caught.value)
    assert "SECRET" not in str(caught.value)
