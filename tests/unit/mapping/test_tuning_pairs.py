"""Pairs to tune a model on: none that is evaluated, near-twins as negatives, messy texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from omop_emb.embeddings.tuning.training_pairs import TrainingPair
from omop_emb.errors import InputError
from omop_emb.mapping.approvals.approval_store import Approval, remember_approvals
from omop_emb.mapping.training.augmentation import augmented
from omop_emb.mapping.training.hard_negatives import with_hard_negatives
from omop_emb.mapping.training.pair_sources import (
    approved_pairs,
    evaluated_keys,
    file_pairs,
    usable_pairs,
    vocabulary_pairs,
)


def pair(text: str, name: str, group: str | None = None) -> TrainingPair:
    return TrainingPair(text=text, name=name, group=group or name)


def test_no_pair_has_a_text_that_is_evaluated_however_it_is_written(tmp_path: Path) -> None:
    gold = tmp_path / "gold.csv"
    gold.write_text("code,term,translation\n1,HEART  ATTACK,Infarto\n2,fever,\n", encoding="utf-8")
    pairs = [pair("Heart attack", "Myocardial infarction"), pair("infarto", "Myocardial infarction")]
    pairs += [pair("heart attacks", "Myocardial infarction"), pair("temperature up", "Fever")]
    usable, left_out = usable_pairs(pairs, evaluated_keys([gold]), 100)
    assert [one.text for one in usable] == ["heart attacks", "temperature up"]
    assert left_out == 2


def test_pairs_are_distinct_and_a_text_is_not_its_own_name() -> None:
    pairs = [pair("MI", "Infarction"), pair("mi ", "Infarction"), pair("FEVER", "Fever"), pair(" ", "Fever")]
    assert [one.text for one in usable_pairs(pairs, (), 100)[0]] == ["MI"]
    many = [pair(f"text {number}", "name") for number in range(50)]
    assert usable_pairs(many, (), 20)[0] == usable_pairs(many[::-1], (), 20)[0]
    assert len(usable_pairs(many, (), 20)[0]) == 20


def test_a_near_twin_becomes_the_negative_and_a_synonym_does_not() -> None:
    vectors = {
        "Aspirin 100 MG Oral Tablet": [1.0, 0.0, 0.0],
        "Aspirin 100 MG Oral Tablet, coated": [0.99, 0.1, 0.0],  # of the same concept
        "Aspirin 300 MG Oral Tablet": [0.9, 0.2, 0.0],
        "Fracture of left femur": [0.0, 1.0, 0.0],
        "Fracture of right femur": [0.0, 0.9, 0.1],
        "Fever": [0.0, 0.0, 1.0],
    }
    pairs = [pair(f"text {number}", name) for number, name in enumerate(vectors)]
    pairs[1] = pair("text", pairs[1].name, pairs[0].group)

    def embed(names: Sequence[str]) -> Any:
        rows = np.array([vectors[name] for name in names], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    negatives = [one.negative for one in with_hard_negatives(pairs, embed)]
    assert negatives[0] == "Aspirin 300 MG Oral Tablet"
    assert negatives[3] == "Fracture of right femur"
    assert negatives[4] == "Fracture of left femur"


def test_augmentation_never_changes_numbers_or_what_a_term_means() -> None:
    random = np.random.default_rng(1)
    text = "closed fracture of the left femur 100 MG tablet, initial encounter"
    seen = {augmented(text, random) for _ in range(300)}
    assert len(seen) > 30
    assert text in seen
    for one in seen:
        assert "100" in one.split()
        assert len({"left", "LEFT", "lfet", "lef", "let", "leeft", "lefft", "elft"} & set(one.split())) <= 1
    dropped = [one for one in seen if len(one.split()) < len(text.split())]
    assert dropped
    assert all("left" in one.split() for one in dropped)


@pytest.fixture
def vocabulary(sample_database_url: str) -> Any:
    with psycopg.connect(sample_database_url) as connection:
        yield connection


def test_the_vocabulary_has_synonyms_source_names_brands_and_units(
    vocabulary: psycopg.Connection[Any],
) -> None:
    synonyms = list(vocabulary_pairs(vocabulary, ["synonyms"]))
    assert len(synonyms) > 300
    every = list(vocabulary_pairs(vocabulary))
    assert set(synonyms) < set(every)
    approval = Approval(source_name="our word", concept_id=80180)
    remember_approvals(vocabulary, "north", [approval], "approved.csv")
    (approved,) = approved_pairs(vocabulary, "north")
    assert (approved.text, approved.name, approved.group) == ("our word", "Osteoarthritis", "80180")


def test_files_hold_names_or_concept_ids(vocabulary: psycopg.Connection[Any], tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("text,concept\nour word,80180\nempty,\nknee pain,80180\n", encoding="utf-8")
    pairs = list(file_pairs(vocabulary, file))
    assert [(one.text, one.name, one.group) for one in pairs] == [
        ("our word", "Osteoarthritis", "80180"),
        ("knee pain", "Osteoarthritis", "80180"),
    ]
    file.write_text("text,name,other\nour word,Fever,Hypothermia\n", encoding="utf-8")
    assert [(one.name, one.negative) for one in file_pairs(vocabulary, file)] == [("Fever", "Hypothermia")]
    file.write_text("text\nour word\n", encoding="utf-8")
    with pytest.raises(InputError, match="it needs two"):
        list(file_pairs(vocabulary, file))
