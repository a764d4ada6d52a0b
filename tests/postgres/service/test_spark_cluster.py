"""Spark on clusters of processes: a kill -9 in the middle of a job changes nothing in its result."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from omop_emb import ConceptFilter, EmbeddingClient, EmbeddingInterface, IndexType, database_engine
from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.indexing.import_space import import_index
from omop_emb.indexing.verify import verify_index
from omop_emb.mapping.mapper import map_terms
from omop_emb.service import demo
from omop_emb.service.bundle import make_bundle
from omop_emb.vocabulary import loader
from tests import spark_jobs
from tests.builds import build_with
from tests.close_answers import assert_close
from tests.conftest import NewDatabase, as_url

_DOMAIN = "Condition"
_RELEASE = "v5.0 30-AUG-24"
_QUESTIONS = ["heart attack", "high blood pressure", "sugar disease", "broken leg"]


@pytest.fixture(scope="module", autouse=True)
def _spark() -> None:
    spark_jobs.skip_without_spark()


@pytest.fixture(scope="module")
def sample_engine(sample_template: str, server_conninfo: str, new_database: NewDatabase) -> Iterator[Engine]:
    with new_database(sample_template) as name:
        engine = database_engine(as_url(server_conninfo, dbname=name))
        yield engine
        engine.dispose()


@pytest.fixture(scope="module")
def bundle(sample_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("shared") / "bundle"
    with Session(sample_engine) as session:
        make_bundle(session, path)
    return str(path)


def _names() -> list[str]:
    """Names that repeat, some of them blank, in no order."""
    with (demo.SAMPLE / "CONCEPT.csv").open() as file:
        concepts = [row["concept_name"].lower() for row in csv.DictReader(file, delimiter="\t")][::8]
    names = [*concepts, "", *(term.source_term for term in demo.terms()), *concepts[::3], ""]
    order = np.random.default_rng(18).permutation(len(names))
    return [names[position] for position in order]


def _check(engine: Engine, names: list[str], answer: dict[str, Any]) -> None:
    """Every row is there once, mapped as the database maps it."""
    rows = sorted(answer["rows"], key=lambda row: row["row"])
    assert [row["row"] for row in rows] == list(range(len(names)))
    assert answer["failed_tasks"] > 0
    assert answer["counted"] >= len(set(names))
    distinct = sorted({name for name in names if name})
    with Session(engine) as session:
        expected = dict(zip(distinct, map_terms(session, distinct), strict=True))
    for row, name in zip(rows, names, strict=True):
        assert row["name"] == name
        if not name:
            assert row["error"] == "it has neither a name nor a code"
            continue
        result = expected[name]
        best = result.best
        found = {
            key: row[key] for key in ("concept_id", "concept_name", "score", "decision", "targets", "error")
        }
        assert_close(
            found,
            {
                "concept_id": best and best.concept_id,
                "concept_name": best and best.concept_name,
                "score": best and best.score,
                "decision": result.decision.value,
                "targets": list(result.targets),
                "error": None,
            },
        )


def _import(engine: Engine, path: Path, rows: int) -> None:
    """Import the file where only the vocabulary is, and build: nothing is left to embed."""
    with session_scope(engine) as session:
        loader.load_vocabulary(driver_connection(session), demo.SAMPLE)
    client = EmbeddingClient.for_fingerprint(import_index(engine, path).fingerprint)
    report = build_with(engine, client, index_type=IndexType.HNSW)
    assert (report.unchanged, report.embedded, report.updated) == (rows, 0, 0)
    assert [check for check in verify_index(engine, client=client) if not check.ok] == []


def test_a_killed_python_worker_changes_nothing(
    sample_engine: Engine, bundle: str, tmp_path: Path, empty_database_url: str
) -> None:
    names, file = _names(), tmp_path / "space.parquet"
    embed = {"vocabulary": str(demo.SAMPLE), "path": str(file), "release": _RELEASE, "domain": _DOMAIN}
    embedded, mapped, refused = spark_jobs.run_jobs(
        tmp_path,
        "local-cluster[2,1,2048]",
        {"job": "embed", **embed},
        {"job": "map", "bundle": bundle, "names": names, "kill": None},
        {"job": "refuse", "folder": str(tmp_path)},
    )
    for message, part in zip(
        refused,
        [
            "a column 'domain_id' is needed; found concept_id, concept_name",
            "concept 1 occurs twice",
            "give `synonyms`, or Recipe(texts='name')",
            "no text of the concepts can be embedded",
            "x.csv must end in .parquet",
        ],
        strict=True,
    ):
        assert part in message
    _check(sample_engine, names, mapped)
    assert embedded["rejected"] == {}
    assert embedded["failed_tasks"] > 0
    elsewhere = database_engine(empty_database_url)
    _import(elsewhere, file, embedded["rows"])
    with Session(sample_engine) as here, Session(elsewhere) as there:
        chosen = ConceptFilter(domains=(_DOMAIN,), standard_only=True, valid_only=True)
        options: dict[str, Any] = {"query_texts": _QUESTIONS, "concept_filter": chosen, "k": 5}
        options["index_type"] = IndexType.FLAT
        expected = EmbeddingInterface().get_nearest_concepts_from_query_texts(session=here, **options)
        found = EmbeddingInterface().get_nearest_concepts_from_query_texts(session=there, **options)
    assert_close(found, expected)
    elsewhere.dispose()


def test_a_killed_worker_of_a_standalone_cluster_changes_nothing(
    sample_engine: Engine, bundle: str, tmp_path: Path
) -> None:
    names = _names()
    with spark_jobs.standalone_cluster(tmp_path, workers=2) as (master, workers):
        job = {"job": "map", "bundle": bundle, "names": names, "kill": workers}
        (mapped,) = spark_jobs.run_jobs(tmp_path, master, job)
    _check(sample_engine, names, mapped)
