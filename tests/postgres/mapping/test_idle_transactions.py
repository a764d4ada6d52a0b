"""Idle transactions: none is open while a model or a person is waited for, on a server that ends them."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql
from sqlalchemy import Engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from omop_emb import EmbeddingClient, EmbeddingInterface, find_concepts
from omop_emb.database.engine import database_engine, is_in_transaction, session_scope
from omop_emb.errors import DatabaseError
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.mapper import map_terms
from omop_emb.service import demo
from omop_emb.service.concept_finder import ConceptFinder
from tests.fake_providers import FakeProviders

_SECONDS = 0.5


def slowly(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which takes longer than the server waits for a transaction."""

    def slow(*arguments: Any, **keywords: Any) -> Any:
        time.sleep(_SECONDS)
        return function(*arguments, **keywords)

    return slow


def approved_names(folder: Path) -> Path:
    """A file of approvals from which a ranker can learn."""
    concepts = csv.DictReader(
        (demo.SAMPLE / "CONCEPT.csv").read_text(encoding="utf-8").splitlines(),
        delimiter="\t",
        quoting=csv.QUOTE_NONE,
    )
    standard = (row for row in concepts if row["standard_concept"] == "S")
    path = folder / "approved.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "concept_id"])
        writer.writerows(
            (f"{row['concept_name']} (ward)", row["concept_id"]) for row in islice(standard, 120)
        )
    return path


@pytest.fixture
def impatient(sample_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A database with approved names that ends what is idle for 200 ms, and a model that takes longer."""
    with psycopg.connect(sample_database_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("alter database {} set idle_in_transaction_session_timeout = '200ms'").format(
                sql.Identifier(connection.info.dbname)
            )
        )
        connection.execute(
            "insert into omop_emb.mapping_memory (site, source_name, concept_id, approved_from)"
            " select 'default', 'our ' || concept_name, concept_id, 'file' from omop_emb.concept_1"
            " where standard_concept = 'S' order by concept_id limit 5"
        )
    monkeypatch.setattr(EmbeddingClient, "embeddings", slowly(EmbeddingClient.embeddings))
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    engine = database_engine(sample_database_url)
    yield engine
    engine.dispose()


def _names_with_vector(engine: Engine) -> int:
    with engine.connect() as connection:
        count = connection.exec_driver_sql("select count(*) from omop_emb.mapping_memory_vector").scalar_one()
    return int(count)


# What runs, with a file of terms and a file for the output.
COMMANDS = {
    "search": ["search", "heart attack", "sugar disease"],
    "search explained": ["search", "heart attack", "--explain"],
    "search by vectors": ["search", "heart attack", "--dense"],
    "search by vectors, explained": ["search", "heart attack", "--dense", "--explain"],
    "map": ["map", "{terms}", "-o", "{output}"],
    "map with a judge": ["map", "{terms}", "-o", "{output}", "--judge", "ollama:llama3.1", "--yes"],
    "evaluate": ["evaluate", "{gold}"],
    "calibrate": ["calibrate", "{approved}", "--all-approved", "--site", "north"],
    "calibrate without memory": ["calibrate", "{approved}", "--all-approved", "--no-remember"],
    "remember": ["memory", "remember", "{gold}", "{approved}", "--all-approved"],
    "remember from a pipe": ["memory", "remember", "{gold}", "-", "--all-approved"],
    "list what is remembered": ["memory", "list", "--site", "default"],
    "forget": ["memory", "forget", "--all"],
}


@pytest.mark.parametrize("what", COMMANDS)
def test_no_command_holds_a_transaction_while_it_waits(
    impatient: Engine, fake: FakeProviders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    fake.latency_seconds = _SECONDS
    # A file that takes long to be read, as one from a pipe does.
    monkeypatch.setattr(InputFile, "open", slowly(InputFile.open))
    monkeypatch.setattr("omop_emb.mapping.ranking.trees.DEFAULT_ROUNDS", 2)
    files = {name: tmp_path / f"{name}.csv" for name in ("terms", "output", "gold")}
    files["approved"] = approved_names(tmp_path)
    files["terms"].write_text("name\nheart attack\nhigh blood sugar\n")
    files["gold"].write_text("name,concept_id\nheart attack,4329847\n")
    arguments = [argument.format(**files) for argument in COMMANDS[what]]
    result = CliRunner().invoke(
        import_module("omop_emb.cli.main").cli,
        arguments,
        input=files["approved"].read_bytes(),
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    assert "idle" not in result.output


def test_a_drop_waits_for_its_answer_without_a_transaction(
    impatient: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.confirm", lambda *_, **__: time.sleep(_SECONDS))
    arguments = ["index", "drop", "all-MiniLM-L6-v2-hnsw"]
    result = CliRunner().invoke(import_module("omop_emb.cli.main").cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output


# Python calls that are given a session without a transaction.
CALLS: dict[str, Callable[[Any], object]] = {
    "nearest": lambda session: EmbeddingInterface().get_nearest_concepts_from_query_texts(
        session=session, query_texts=["heart attack"], k=2
    ),
    "one by one": lambda session: list(
        EmbeddingInterface().iter_nearest_concepts_from_query_texts(
            session=session, query_texts=["heart attack"], k=2
        )
    ),
    "explained": lambda session: EmbeddingInterface().explain_search(
        session=session, query_texts=["heart attack"], k=2
    ),
    "mapped": lambda session: map_terms(session, ["heart attack"]),
    "found": lambda session: find_concepts(session, "heart attack"),
}


@pytest.mark.parametrize("kind", ["session", "scoped session", "connection"])
@pytest.mark.parametrize("call", CALLS)
def test_a_session_without_a_transaction_stays_without_one(impatient: Engine, call: str, kind: str) -> None:
    if kind == "connection":
        with impatient.connect() as connection:
            for _ in range(2):
                assert CALLS[call](connection)
                assert not connection.in_transaction()
        return
    session: Any = Session(impatient)
    if kind == "scoped session":
        session = scoped_session(sessionmaker(impatient))
    for _ in range(2):
        assert CALLS[call](session)
        assert not is_in_transaction(session)
    session.close()


def test_a_warm_finder_holds_none(impatient: Engine) -> None:
    with ConceptFinder(impatient) as finder:
        assert finder.find("heart attack").concepts
    assert _names_with_vector(impatient) == 5


def test_a_transaction_of_the_callers_own_is_told_what_ended_it(impatient: Engine) -> None:
    with (
        pytest.raises(DatabaseError, match="pass a session without a transaction"),
        session_scope(impatient) as session,
    ):
        map_terms(session, ["heart attack"])
