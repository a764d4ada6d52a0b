"""Databases that others have set up: pgvector in another schema, odd settings, a caller's own engine."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
import sqlalchemy
from psycopg.sql import SQL, Identifier
from psycopg.types import TypeInfo
from sqlalchemy.orm import Session

from omop_emb import EmbeddingInterface, IndexType, MetricType, database_engine
from omop_emb.database import binary_format
from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.database.migrations import migrate, migration_script
from omop_emb.indexing.export_space import export_index
from omop_emb.indexing.import_space import import_index
from omop_emb.indexing.verify import verify_index
from omop_emb.mapping.approvals.site_memory import query_vectors, store_vectors
from omop_emb.search import row_search
from omop_emb.search.options import SearchOptions
from omop_emb.search.planner import SearchMethod, SearchPlan
from omop_emb.spaces import lifecycle, registry
from omop_emb.spaces.filters import ALL_ROWS
from omop_emb.vocabulary.releases import vocabulary_releases
from tests.builds import build_with
from tests.small_vocabulary import counting_client, five_concepts, text_vector

# Statements in the empty database, with {database} for its name; each set-up is one line.
SET_UPS = {
    "as PostgreSQL is": [],
    "extensions": ["create schema extensions", "create extension vector schema extensions"],
    "a quoted schema": ['create schema "My ""Ext"', 'create extension vector schema "My ""Ext"'],
    "the schema of its role": ["create schema omop_emb", "create extension vector schema omop_emb"],
    "an empty path": ["alter database {database} set search_path = ''"],
    "a path of missing schemas": ["alter database {database} set search_path = nowhere, else_where"],
    "an empty path and extensions": [
        "create schema extensions",
        "create extension vector schema extensions",
        "alter database {database} set search_path = ''",
    ],
    "German dates": ["alter database {database} set DateStyle = 'German, DMY'"],
    "SQL dates": ["alter database {database} set DateStyle = 'SQL, DMY'"],
    "Postgres dates": ["alter database {database} set DateStyle = 'Postgres, MDY'"],
    "ISO dates, days first": ["alter database {database} set DateStyle = 'ISO, DMY'"],
    "intervals in words": ["alter database {database} set IntervalStyle = 'postgres_verbose'"],
    "Latin-1": ["alter database {database} set client_encoding = 'latin1'"],
    "no encoding": ["alter database {database} set client_encoding = 'sql_ascii'"],
    "backslashes escape": [
        "alter database {database} set standard_conforming_strings = off",
        "alter database {database} set escape_string_warning = off",
    ],
    "bytes as escapes": ["alter database {database} set bytea_output = 'escape'"],
    "another zone": ["alter database {database} set TimeZone = 'Asia/Kathmandu'"],
    "few digits": ["alter database {database} set extra_float_digits = -15"],
    "serializable": ["alter database {database} set default_transaction_isolation = 'serializable'"],
    "no sequential scans": ["alter database {database} set enable_seqscan = off"],
    "null equals null": ["alter database {database} set transform_null_equals = on"],
    "all quoted": ["alter database {database} set quote_all_identifiers = on"],
}

ENGINES = ("ours", "a caller's", "a caller's with register_vector")
# The set-ups in which a caller's engine is tried in the short form, too.
_OFTEN = ("an empty path and extensions", "German dates", "backslashes escape")


def matrix() -> Iterator[Any]:
    for set_up, made_by in product(SET_UPS, ENGINES):
        if set_up == "no encoding" and made_by != "ours":
            continue  # SQLAlchemy alone cannot connect
        is_long = made_by != "ours" and set_up not in _OFTEN
        yield pytest.param(set_up, made_by, marks=[pytest.mark.long] if is_long else [])


def register_vector(connection: Any, _: object) -> None:
    """What pgvector's package does to a connection: halfvec values are no longer bytes."""
    info = TypeInfo.fetch(connection, "halfvec")
    if info is None:
        return

    class Loader(psycopg.adapt.Loader):
        def load(self, data: Any) -> Any:
            return {"a vector": bytes(data)}

    info.register(connection)
    for kind in (psycopg.pq.Format.BINARY, psycopg.pq.Format.TEXT):
        connection.adapters.register_loader(info.oid, type("Loader", (Loader,), {"format": kind}))


@pytest.fixture
def engine_kinds() -> Iterator[Any]:
    made: list[sqlalchemy.Engine] = []

    def engine(url: str, made_by: str) -> sqlalchemy.Engine:
        if made_by == "ours":
            made.append(database_engine(url))
        else:
            made.append(sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://")))
        if made_by.endswith("register_vector"):
            sqlalchemy.event.listen(made[-1], "connect", register_vector)
        return made[-1]

    yield engine
    for one in made:
        one.dispose()


def prepare(url: str, statements: list[str]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(SQL(statement).format(database=Identifier(connection.info.dbname)))


def index_scan(engine: sqlalchemy.Engine) -> tuple[str, list[int]]:
    """How the server reads the active space's HNSW index, and what it finds there."""
    with Session(engine) as session:
        connection = driver_connection(session)
        space = registry.active_space(connection)
        plan = SearchPlan(
            method=SearchMethod.INDEX, reason="", queries=1, candidates=40 if space.first_pass else 0
        )
        options = SearchOptions(k=3)
        with (
            row_search.search_scope(connection, 40),
            binary_format.binary_cursor(connection) as cursor,
        ):
            cursor.execute("set local enable_seqscan = off")
            cursor.execute("set local enable_sort = off")
            query = text_vector("Metformin", 8)
            query /= np.linalg.norm(query)
            _, scan = row_search.explain_scan(cursor, space, query, options, ALL_ROWS, plan)
            ranked, _ = row_search.search_rows(cursor, space, query[None], options, ALL_ROWS, plan)
        return scan, ranked[0].concept_ids.tolist()


def answers(engine: sqlalchemy.Engine, folder: Path) -> dict[str, Any]:
    """What a site does, and what it gets: the same in every set-up."""
    folder.mkdir(exist_ok=True)
    with session_scope(engine) as session:
        migrate(driver_connection(session))
    small = five_concepts(engine, folder)
    small.change(1, name="Bluthochdruck für Ärzte \\ Σ", german=("Hypertonie",))
    client = counting_client(prefix="d: ")
    interface = EmbeddingInterface(client)
    found: dict[str, Any] = {}
    for first_pass in ("none", "binary", "4"):
        build_with(engine, client, index_type=IndexType.HNSW, first_pass=first_pass, partial="Condition")
        found[f"first pass {first_pass}"] = index_scan(engine)
    small.change(2, name="Diabetes mellitus \\ typ 2")
    build_with(engine, client, index_type=IndexType.HNSW)
    queries = [text_vector(text, 8) for text in ("HTN", "Metformin", "anything")]
    with Session(engine) as session:
        for metric in MetricType:
            for exact in (True, False):
                rows = interface.get_nearest_concepts(
                    session=session, query_embeddings=queries, metric_type=metric, exact=exact, k=5
                )
                found[f"{metric.value} {exact}"] = [
                    [(hit.concept_id, hit.concept_name, round(hit.distance, 6)) for hit in hits]
                    for hits in rows
                ]
        found["similar"] = interface.get_similar_concepts(session=session, concept_ids=[1, 3], k=2)
        written = [
            interface.upsert_concept_embeddings(
                session=session,
                index_type=IndexType.FLAT,
                concept_ids=[1, 2],
                concept_texts=["one", text],
                embeddings=[text_vector("one", 8), text_vector(text, 8)],
            )
            for text in ("two", "two", "three")
        ]
        found["written"] = [(result.written, result.deleted) for result in written]
        connection = driver_connection(session)
        space = registry.active_space(connection)
        vector = text_vector("a name", 8)[None]
        for _ in range(2):  # stored, then read
            kept = query_vectors(connection, space, ["a name"], lambda _: vector)
            store_vectors(connection, space, ["a name"], vector)
            found["kept"] = [round(float(value), 2) for value in kept[0]]
        session.rollback()
        releases = vocabulary_releases(driver_connection(session))
        assert all(release.loaded_at.tzinfo is not None for release in releases)
        found["releases"] = [release.version for release in releases]
    found["failed checks"] = [check for check in verify_index(engine, client=client) if not check.ok]
    export_index(engine, folder / "space.parquet")
    with session_scope(engine) as session:
        connection = driver_connection(session)
        connection.execute("update omop_emb.space set is_active = false")
        for space in registry.all_spaces(connection):
            lifecycle.drop_space(connection, space)
    imported = import_index(engine, folder / "space.parquet", ask_model=False)
    found["imported"] = imported.index_type
    found["failed later"] = [check for check in verify_index(engine, client=client) if not check.ok]
    return found


@pytest.fixture(scope="module")
def usual_answers() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(("set_up", "made_by"), list(matrix()))
def test_every_set_up_gives_the_usual_answers(
    set_up: str,
    made_by: str,
    engine_kinds: Any,
    empty_database_url: str,
    tmp_path: Path,
    usual_answers: dict[str, Any],
) -> None:
    prepare(empty_database_url, SET_UPS[set_up])
    found = answers(engine_kinds(empty_database_url, made_by), tmp_path / "files")
    assert found["failed checks"] == found["failed later"] == []
    assert found == usual_answers.setdefault("", found)


def test_the_script_for_an_administrator_finds_pgvector_in_any_schema(empty_database_url: str) -> None:
    prepare(empty_database_url, SET_UPS["an empty path and extensions"])
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(migration_script().encode())
        assert migrate(connection) == []


def test_a_callers_settings_are_as_before_after_its_transaction(database_url: str, engine_kinds: Any) -> None:
    engine = engine_kinds(database_url, "a caller's")
    with Session(engine) as session:
        shown = ("DateStyle", "client_encoding", "standard_conforming_strings", "search_path")
        session.execute(sqlalchemy.text("set DateStyle = 'German'"))
        session.execute(sqlalchemy.text("set search_path = ''"))
        session.commit()
        before = [session.execute(sqlalchemy.text(f"show {name}")).scalar_one() for name in shown]
        EmbeddingInterface(counting_client()).upsert_concept_embeddings(
            session=session,
            index_type=IndexType.FLAT,
            concept_ids=[1],
            concept_texts=["one"],
            embeddings=[text_vector("one", 8)],
        )
        session.commit()
        assert [session.execute(sqlalchemy.text(f"show {name}")).scalar_one() for name in shown] == before
