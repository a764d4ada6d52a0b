"""The demo: its terms, their mapping, and other data that stays unchanged."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from omop_emb import config
from omop_emb.database.engine import database_engine, driver_connection, session_scope
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import ConfigurationError
from omop_emb.mapping.records import Decision
from omop_emb.service import demo
from omop_emb.vocabulary import loader


def _sample() -> dict[int, dict[str, str]]:
    with (demo.SAMPLE / "CONCEPT.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {int(row["concept_id"]): row for row in rows}


def test_every_term_expects_a_standard_valid_concept_of_the_sample_or_none() -> None:
    sample, terms = _sample(), demo.terms()
    assert len({term.source_term for term in terms}) == len(terms) >= 60
    assert sum(term.concept_id is None for term in terms) == 2
    for term in terms:
        if term.concept_id is not None:
            concept = sample[term.concept_id]
            assert (concept["standard_concept"], concept["invalid_reason"]) == ("S", ""), term


def test_a_cdm_schema_is_refused_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "cdm")
    with pytest.raises(ConfigurationError, match="env -u OMOP_EMB_VOCABULARY_SCHEMA omop-emb demo"):
        demo.run_demo(lambda _: None)


def test_the_demo_uses_a_separate_server_if_another_vocabulary_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATA_DIR", str(folder / "data"))
    engine, data_dir, is_default = demo._open_database(lambda _: None)
    engine.dispose()
    assert (data_dir, is_default) == (folder / "data", True)

    other = folder / "other"
    other.mkdir()
    lines = (demo.SAMPLE / "CONCEPT.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (other / "CONCEPT.csv").write_text("".join(lines[:3]), encoding="utf-8")
    engine = database_engine(data_dir=folder / "data")
    with session_scope(engine) as session:
        loader.load_vocabulary(driver_connection(session), other)
    engine.dispose()

    engine, data_dir, is_default = demo._open_database(lambda _: None)
    engine.dispose()
    assert (data_dir, is_default) == (folder / "data-demo", False)
    assert demo._command_prefix(data_dir, is_default) == f"env OMOP_EMB_DATA_DIR={folder / 'data-demo'} "


def test_the_demo_never_uses_the_database_of_the_url(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMOP_EMB_DATA_DIR", str(folder / "data"))
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    engine, data_dir, is_default = demo._open_database(lambda _: None)
    engine.dispose()
    assert (data_dir, is_default) == (folder / "data-demo", False)
    assert demo._command_prefix(data_dir, is_default).startswith(
        "env -u OMOP_EMB_DATABASE_URL OMOP_EMB_DATA_DIR="
    )


def test_probabilities_are_higher_for_correct_candidates(sample_database_url: str) -> None:
    engine = database_engine(sample_database_url)
    client = EmbeddingClient(config.DEFAULT_MODEL, document_prefix="", query_prefix="")
    hits = demo._map_terms(engine, client)
    engine.dispose()
    assert [hit.term for hit in hits] == demo.terms()
    expected = [hit for hit in hits if hit.term.concept_id is not None]
    assert sum(hit.rank == 1 for hit in expected) >= 40
    assert sum(hit.rank is not None for hit in expected) >= 55
    assert {hit.mapped.decision for hit in hits} == {Decision.REVIEW}
    right, wrong = (
        [hit.mapped.probability or 0.0 for hit in expected if hit.is_correct is answer]
        for answer in (True, False)
    )
    assert sum(right) / len(right) > sum(wrong) / len(wrong) + 0.2
    assert all((hit.mapped.probability or 0.0) < 0.5 for hit in hits if hit.term.concept_id is None)
