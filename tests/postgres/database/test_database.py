"""Engines, sessions and the driver's connection."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from omop_emb.database.engine import database_engine, driver_connection, session_scope
from omop_emb.database.requirements import check_database


def test_the_driver_works_inside_the_session_s_transaction(engine: sqlalchemy.Engine) -> None:
    with Session(engine) as session:
        driver_connection(session).execute("create table kept (x int)")
        session.rollback()
    with Session(engine) as session:
        driver_connection(session).execute("create table kept (x int)")
        session.commit()
    with session_scope(engine) as session:
        assert session.execute(sqlalchemy.text("select count(*) from kept")).scalar_one() == 0


def test_a_complete_database_passes_the_check(connection: psycopg.Connection) -> None:
    info = check_database(connection)
    assert info.installed_pgvector
    assert int(info.server_version.split(".")[0]) >= 14


def test_every_spelling_of_a_postgresql_url_is_accepted(database_url: str) -> None:
    for spelling in ("postgresql://", "postgres://", "postgresql+psycopg://"):
        engine = database_engine(database_url.replace("postgresql://", spelling))
        with engine.connect() as connection:
            assert connection.exec_driver_sql("show application_name").scalar_one() == "omop-emb"
        engine.dispose()


def test_a_session_scope_without_an_engine_closes_its_connection(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", database_url)
    with session_scope() as session:
        theirs = driver_connection(session)
    assert theirs.closed


def test_a_connection_that_comes_back_after_the_end_is_closed(database_url: str) -> None:
    engine = database_engine(database_url)
    late = engine.connect()
    theirs = late.connection.driver_connection
    assert isinstance(theirs, psycopg.Connection)
    engine.dispose()
    was_closed = theirs.closed
    late.close()
    assert (was_closed, theirs.closed) == (False, True)
    with engine.connect() as again:
        kept = again.connection.driver_connection
    assert isinstance(kept, psycopg.Connection)
    assert not kept.closed
    engine.dispose()
