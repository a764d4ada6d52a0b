"""index build --dry-run: the same counts as the build, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from omop_emb import IndexType, database_engine
from omop_emb.database.engine import driver_connection
from omop_emb.errors import MigrationError
from omop_emb.indexing.build import build_index
from omop_emb.indexing.report import BuildReport
from omop_emb.spaces import registry
from omop_emb.sql import migrations as files
from tests.builds import build_with
from tests.small_vocabulary import ConceptRow, SmallVocabulary, counting_client, five_concepts

COUNTS = (
    "new_concepts",
    "changed_concepts",
    "embedded",
    "embedded_texts",
    "characters",
    "reused",
    "unchanged",
    "updated",
    "withdrawn_concepts",
    "withdrawn",
    "obsolete",
)


@pytest.fixture
def vocabulary(engine: Engine, tmp_path: Path) -> SmallVocabulary:
    return five_concepts(engine, tmp_path)


@pytest.fixture
def reader(database_url: str) -> Iterator[Engine]:
    """An engine of a role that may read the schema omop_emb and nothing else."""
    role, password = f"omop_emb_reader_{uuid4().hex[:8]}", uuid4().hex
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(SQL("create role {} login password {}").format(Identifier(role), Literal(password)))
        owner.execute(SQL("grant usage on schema omop_emb to {}").format(Identifier(role)))
        owner.execute(SQL("grant select on all tables in schema omop_emb to {}").format(Identifier(role)))
        database = Identifier(owner.info.dbname)
        owner.execute(SQL("revoke temporary on database {} from public").format(database))
        engine = database_engine(
            make_url(database_url).set(username=role, password=password).render_as_string(hide_password=False)
        )
        yield engine
        engine.dispose()
        owner.execute(SQL("drop owned by {0}; drop role {0}").format(Identifier(role)))


def dry_run(engine: Engine, **options: Any) -> BuildReport:
    options.setdefault("index_type", IndexType.FLAT)
    return build_with(engine, counting_client(), dry_run=True, **options)


def test_a_dry_run_needs_only_read_access(
    engine: Engine, vocabulary: SmallVocabulary, database_url: str, request: pytest.FixtureRequest
) -> None:
    build_index(engine, counting_client(), index_type=IndexType.FLAT)
    vocabulary.load(ConceptRow(6, "Asthma"), without=[4])
    reader = request.getfixturevalue("reader")
    report = dry_run(reader)
    assert (report.embedded, report.withdrawn, report.unchanged) == (1, 1, 6)


@pytest.mark.parametrize("index_type", IndexType)
@pytest.mark.parametrize("there", [False, True], ids=["no space yet", "a space of an older release"])
def test_a_dry_run_counts_what_the_build_then_does(
    engine: Engine, vocabulary: SmallVocabulary, index_type: IndexType, there: bool
) -> None:
    if there:
        build_index(engine, counting_client(), index_type=IndexType.FLAT)
        vocabulary.load(
            ConceptRow(6, "Asthma", synonyms=("HTN", "Bronchial asthma")),
            ConceptRow(2, "Diabetes mellitus type 2", synonyms=("Diabetes",)),
            ConceptRow(3, "Metformin", domain="Device"),
            without=[4],
        )
    said = dry_run(engine, index_type=index_type)
    done = build_index(engine, counting_client(), index_type=index_type)
    assert {name: getattr(said, name) for name in COUNTS} == {name: getattr(done, name) for name in COUNTS}
    assert said.space_name == done.space_name


def test_a_dry_run_on_the_vocabulary_of_a_cdm_creates_no_schema(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = database_engine(empty_database_url)
    with engine.connect() as connection:
        driver = driver_connection(connection)
        driver.execute(
            "create schema cdm;"
            "create table cdm.concept (concept_id integer, concept_name text, domain_id text, "
            "vocabulary_id text, concept_class_id text, standard_concept text, concept_code text, "
            "valid_start_date date, valid_end_date date, invalid_reason text);"
            "insert into cdm.concept values (1, 'Asthma', 'Condition', 'SNOMED', 'Disorder', 'S', 'C1', "
            "'1970-01-01', '2099-12-31', null)"
        )
        driver.commit()
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "cdm")
    assert dry_run(engine, index_type=IndexType.HNSW).embedded == 1
    with engine.connect() as connection:
        driver = driver_connection(connection)
        assert driver.execute("select to_regnamespace('omop_emb')").fetchone() == (None,)
    engine.dispose()


def test_a_dry_run_on_an_older_schema_says_what_to_run(engine: Engine, vocabulary: SmallVocabulary) -> None:
    newest = list(files())[-1]
    with engine.connect() as connection:
        driver_connection(connection).execute("delete from omop_emb.migration where name = %s", (newest,))
        driver_connection(connection).commit()
        assert registry.all_spaces(driver_connection(connection)) == []
    with pytest.raises(MigrationError, match="omop-emb db migrate"):
        dry_run(engine)
