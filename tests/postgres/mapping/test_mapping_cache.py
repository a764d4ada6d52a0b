"""Cached indexes of mapping: used while they are valid, never after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from omop_emb import disk_cache
from omop_emb.database.engine import driver_connection
from omop_emb.mapping import engine as mapping_engine
from omop_emb.mapping.approvals.approval_store import Approval, remember_approvals
from omop_emb.mapping.mapper import map_terms
from omop_emb.mapping.ranking.site_preferences import PreferenceExample, SitePreferences, learn_preferences
from omop_emb.mapping.records import MappedTerm
from omop_emb.mapping.retrieval import similarity_products, vocabulary_index
from omop_emb.mapping.retrieval.lexicon import Lexicon
from omop_emb.vocabulary.reader import VocabularyTables
from tests.close_answers import assert_close
from tests.small_vocabulary import codes_with_values

pytestmark = pytest.mark.usefixtures("own_cache")

TERMS = ["OSTEOARTHRITIS", "aspirin 81mg tab", "broken arm", "chest xray"]


def _count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that gets an entry whenever a vocabulary is read from the database."""
    reads: list[str] = []
    read = vocabulary_index.read_lexicon

    def counted(
        connection: psycopg.Connection[Any], tables: VocabularyTables, *rest: Any, **options: Any
    ) -> Lexicon:
        reads.append("read")
        return read(connection, tables, *rest, **options)

    monkeypatch.setattr(vocabulary_index, "read_lexicon", counted)
    return reads


def _answers(mapped: list[MappedTerm]) -> list[object]:
    return [(one.probability, one.candidates) for one in mapped]


def test_a_second_mapper_reads_no_vocabulary_and_gives_the_same_answers(
    sample: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(similarity_products, "_MIN_INTEGER_ROWS", 0)
    reads = _count_reads(monkeypatch)
    first = map_terms(sample, TERMS)
    assert reads == ["read"]
    assert len(list(disk_cache.folder().iterdir())) == 4  # vocabulary, matrix, integers and a lock
    assert _answers(map_terms(sample, TERMS)) == _answers(first)
    assert reads == ["read"]
    assert disk_cache.clear() > 0
    assert _answers(map_terms(sample, TERMS)) == _answers(first)
    assert reads == ["read", "read"]


def test_a_changed_row_of_a_cdm_is_used_at_once(sample: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = driver_connection(sample)
    row = connection.execute("select release_id from omop_emb.vocabulary_release where state = 'active'")
    (release,) = row.fetchone() or (0,)
    connection.execute("create schema cdm")
    for table in ("concept", "concept_synonym", "concept_relationship"):
        connection.execute(
            sql.SQL("create table {} as table {}").format(
                sql.Identifier("cdm", table), sql.Identifier("omop_emb", f"{table}_{release}")
            )
        )
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "cdm")
    reads = _count_reads(monkeypatch)
    (before,) = map_terms(sample, ["Osteoarthritis"])
    assert before.best is not None
    map_terms(sample, ["Osteoarthritis"])
    assert reads == ["read"]
    connection.execute(
        "update cdm.concept set concept_name = 'Worn joint' where concept_id = %s", (before.best.concept_id,)
    )
    (after,) = map_terms(sample, ["worn joint"])
    assert after.best is not None
    assert (after.best.concept_id, after.best.concept_name) == (before.best.concept_id, "Worn joint")
    assert reads == ["read", "read"]


def test_a_transaction_that_wrote_vectors_maps_with_them(sample: Session) -> None:
    connection = driver_connection(sample)
    (mapped,) = map_terms(sample, ["Osteoarthritis"])
    assert mapped.best is not None
    connection.execute("insert into omop_emb.space_write (space_id) select space_id from omop_emb.space")
    connection.execute("delete from omop_emb.space_1 where concept_id = %s", (mapped.best.concept_id,))
    (again,) = map_terms(sample, ["Osteoarthritis"])
    assert again.best is not None
    assert again.best.concept_id != mapped.best.concept_id  # found by its spelling alone now


def test_a_loaded_vocabulary_tells_values_from_targets(engine: Engine, tmp_path: Path) -> None:
    codes_with_values(engine, tmp_path)
    with engine.connect() as connection:
        lexicon = vocabulary_index.open_vocabulary_index(driver_connection(connection)).lexical.lexicon
    beside = {
        code: (
            [int(lexicon.concept_id[row]) for _, row in lexicon.standard_targets(concept_id)],
            [(value.relationship_id, value.concept_id) for value in lexicon.values.get(concept_id)],
        )
        for code in ("Z82.5", "Z88.0", "LAB1", "Z82.50")
        for concept_id in lexicon.ids_of_code("ICD10CM", code)
    }
    family = ([2], [("Maps to value", 1)])
    assert beside == {
        "Z82.5": family,
        "Z88.0": ([3], [("Maps to value", 4)]),
        "LAB1": ([5], [("Maps to number", 7), ("Maps to operator", 6), ("Maps to unit", 8)]),
        "Z82.50": family,
    }


def _approve(session: Session, *approved: tuple[str, int]) -> None:
    approvals = [Approval(source_name=name, concept_id=concept_id) for name, concept_id in approved]
    remember_approvals(driver_connection(session), "default", approvals, "terms.csv")


def test_preferences_are_learned_once_for_the_same_approvals(
    sample: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[int] = []

    def counted(examples: Sequence[PreferenceExample]) -> SitePreferences:
        learned.append(len(examples))
        return learn_preferences(examples)

    monkeypatch.setattr(mapping_engine, "learn_preferences", counted)
    _approve(sample, ("big attack", 4329847), ("sugar sickness", 201826))
    first = map_terms(sample, TERMS)
    assert_close(map_terms(sample, TERMS), first)
    assert learned == [2]
    _approve(sample, ("high pressure", 316866))
    map_terms(sample, TERMS)
    assert learned == [2, 3]
    disk_cache.clear()
    map_terms(sample, TERMS)
    assert learned == [2, 3, 3]
