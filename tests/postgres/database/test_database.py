"""The way to the database: engines, sessions, the driver's connection, and errors a person can use."""

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


def test_a_database_that_has_all_is_described(connection: psycopg.Connection) -> None:
    info = check_database(connection)
    assert info.installed_pgvector
    assert int(info.server_version.split(".")[0]) >= 14


def test_every_spelling_of_a_postgresql_url_is_taken(database_url: str) -> None:
    for spelling in ("postgresql://", "postgres://", "postgresql+psycopg://"):
        engine = database_engine(database_url.replace("postgresql://", spelling))
        with engine.connect() as connection:
            assert connection.exec_driver_sql("show application_name").scalar_one() == "omop-emb"
        engine.dispose()


def test_a_session_of_the_environment_s_database_leaves_no_connection_open(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", database_url)
    with session_scope() as session:
        theirs = driver_connection(session)
    assert theirs.closed
