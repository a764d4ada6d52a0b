"""The vocabulary of a CDM: read in place, never written, checked for its tables and columns."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from omop_emb.database import migrations
from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import VocabularyError
from omop_emb.records import Concept
from omop_emb.spaces.recipe import Recipe
from omop_emb.vocabulary import reader
from tests.docs.test_examples import fences
from tests.small_vocabulary import desired_texts

PAGE = Path(__file__).parents[3] / "docs/how-to/cdm-schema.md"
BLOCKS = [fence.text for fence in fences(PAGE.read_text()) if fence.info == "sql"]
CONCEPT = """
    create schema cdm;
    create table cdm.concept (
        concept_id bigint, concept_name varchar(255), domain_id varchar(20), vocabulary_id varchar(20),
        concept_class_id varchar(20), standard_concept varchar(1), concept_code varchar(50),
        valid_start_date date, valid_end_date date, invalid_reason varchar(1)
    );
    insert into cdm.concept values (1, 'Asthma', 'Condition', 'SNOMED', 'Disorder', 'S', 'C1', null, null);
"""


@pytest.fixture
def connection(shared_connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> psycopg.Connection:
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "cdm")
    shared_connection.execute(CONCEPT)
    return shared_connection


def test_concept_alone_is_enough(connection: psycopg.Connection) -> None:
    tables = reader.vocabulary_tables(connection)
    assert tables is not None
    assert (tables.schema, tables.release_id, tables.version) == ("cdm", None, None)
    assert tables.concept_synonym is None
    assert reader.concepts_by_id(connection, [1])[1] == Concept(
        1, "Asthma", "Condition", "SNOMED", "Disorder", "S", "C1", None
    )
    assert reader.existing_values(connection, "domain") == ["Condition"]
    assert desired_texts(connection, Recipe(texts="name+synonyms")) == [(1, "n", "Asthma")]
    status = reader.vocabulary_status(connection)
    assert status is not None
    assert status.rows == {"concept": 1}


@pytest.mark.parametrize(
    "change",
    [
        "insert into cdm.concept (concept_id, concept_name) values (2, 'Gout')",
        "update cdm.concept set concept_name = 'Asthma, severe'",
        "delete from cdm.concept",
        "truncate cdm.concept",
        "create table cdm.concept_synonym (concept_id integer, concept_synonym_name text)",
    ],
)
def test_a_change_of_the_tables_changes_their_state(
    engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", " cdm ")

    def state() -> list[tuple[object, ...]]:
        with session_scope(engine) as session:
            return reader.schema_state(driver_connection(session))

    def run(statement: str) -> None:
        with session_scope(engine) as session:
            driver_connection(session).execute(statement)
        with session_scope(engine) as session:
            # What a server reports by itself within ten seconds.
            driver_connection(session).execute("select pg_stat_force_next_flush()")

    run(CONCEPT)
    before = state()
    assert state() == before != []
    run(change)
    assert state() != before


def test_a_view_is_enough(connection: psycopg.Connection) -> None:
    connection.execute("alter table cdm.concept rename to concept_table")
    connection.execute("create view cdm.concept as select * from cdm.concept_table")
    assert reader.concepts_by_id(connection, [1])[1].concept_name == "Asthma"


@pytest.mark.parametrize(
    ("statement", "largest"),
    [
        ("select 1", None),
        ("insert into cdm.concept (concept_id) values (2147483647)", None),
        ("insert into cdm.concept (concept_id) values (2147483648)", "2147483648"),
        ("insert into cdm.concept (concept_id) values (3000000000), (9223372036854775807)", str(2**63 - 1)),
        (
            "alter table cdm.concept alter concept_id type numeric;"
            "insert into cdm.concept (concept_id) values (3000000000)",
            "3000000000",
        ),
        ("alter table cdm.concept alter concept_id type integer", None),
        ("truncate cdm.concept", None),
        # Ids that no concept has lead nowhere.
        (
            "create table cdm.concept_synonym as select 3000000000 as concept_id,"
            " 'Big' as concept_synonym_name, 4180186 as language_concept_id",
            None,
        ),
    ],
)
def test_ids_of_over_32_bits_are_named_and_a_view_leaves_them_out(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, statement: str, largest: str | None
) -> None:
    connection.execute(statement.encode())
    if largest is None:
        assert reader.vocabulary_tables(connection) is not None
        return
    with pytest.raises(
        VocabularyError, match=rf"cdm\.concept has concept {largest}, but .*renumber"
    ) as caught:
        reader.vocabulary_tables(connection)
    assert "\n" not in str(caught.value)
    for block in BLOCKS:
        connection.execute(block.replace("'CDM'", "'cdm'").encode())
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "omop_vocabulary")
    assert set(reader.concepts_by_id(connection, [1, 3000000000])) == {1}
    assert desired_texts(connection, Recipe(texts="name+synonyms")) == [(1, "n", "Asthma")]


def test_nothing_is_written_to_the_cdm(connection: psycopg.Connection) -> None:
    def state() -> list[tuple[object, ...]]:
        files = (
            "select relname, relfilenode, relhasindex from pg_class where relnamespace = 'cdm'::regnamespace"
        )
        rows = "select c.*, c.xmin, c.ctid from cdm.concept c"
        return [*connection.execute(files).fetchall(), *connection.execute(rows).fetchall()]

    before = state()
    connection.execute("create role reader_of_the_cdm")
    connection.execute("grant usage on schema cdm to reader_of_the_cdm")
    connection.execute("grant select on cdm.concept to reader_of_the_cdm")
    connection.execute("set local role reader_of_the_cdm")  # the server itself would object
    reader.vocabulary_status(connection)
    reader.concepts_by_id(connection, [1])
    reader.concepts_by_code(connection, ["C1"])
    reader.existing_values(connection, "domain")
    desired_texts(connection, Recipe())
    connection.execute("reset role")
    migrations.migrate(connection)
    assert state() == before


def test_a_schema_without_concept_is_refused(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "public")
    with pytest.raises(
        VocabularyError, match=r"schema 'public' \(OMOP_EMB_VOCABULARY_SCHEMA\) has no table concept"
    ):
        reader.vocabulary_tables(connection)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("alter table cdm.concept drop column domain_id", "table cdm.concept has no column domain_id: "),
        (
            "create table cdm.concept_synonym (concept_id int, concept_synonym_name text)",
            "language_concept_id",
        ),
    ],
)
def test_a_table_without_a_column_is_refused(
    connection: psycopg.Connection, statement: str, message: str
) -> None:
    connection.execute(statement.encode())
    with pytest.raises(VocabularyError, match=message) as caught:
        reader.vocabulary_tables(connection)
    assert "\n" not in str(caught.value)


def test_without_a_vocabulary_there_is_nothing_to_read(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMOP_EMB_VOCABULARY_SCHEMA")
    assert reader.vocabulary_tables(connection) is None
    assert reader.vocabulary_status(connection) is None
    assert reader.concepts_by_id(connection, [1]) == {}
    assert reader.concepts_by_code(connection, ["C1"]) == []
    assert reader.existing_values(connection, "domain") == []
    with pytest.raises(VocabularyError, match=r"run omop-emb vocabulary load PATH"):
        desired_texts(connection, Recipe())
