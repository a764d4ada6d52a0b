"""Array cache: what was stored is loaded unchanged, or not at all."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from omop_emb import disk_cache
from omop_emb.mapping.records import PathStep
from omop_emb.mapping.retrieval import array_cache
from omop_emb.mapping.retrieval.relationships import TARGET_RELATIONSHIPS
from omop_emb.mapping.retrieval.standard_targets import StandardTargets
from omop_emb.mapping.retrieval.string_array import StringArray

pytestmark = pytest.mark.usefixtures("own_cache")

NAMES = ["Köhä", "", "cough \u4e2d", "NA"]


def test_a_string_array_holds_the_strings_that_it_was_made_of() -> None:
    texts = StringArray.of(NAMES)
    assert list(texts) == [texts[place] for place in range(len(texts))] == NAMES
    assert list(StringArray.of([])) == []


def _targets(steps: list[tuple[PathStep, int]]) -> StandardTargets:
    return StandardTargets(
        np.array([step.concept_id for step, _ in steps], np.int64),
        StringArray.of(step.concept_name for step, _ in steps),
        np.array([TARGET_RELATIONSHIPS.index(step.relationship_id) for step, _ in steps], np.int8),
        np.array([row for _, row in steps], np.int32),
    )


def test_targets_are_found_by_concept() -> None:
    steps = [
        (PathStep(4, "four", "Concept replaced by"), 1),
        (PathStep(9, "nine", "Maps to"), 2),
        (PathStep(9, "nine", "Concept replaced by"), 0),
    ]
    targets = _targets(steps)
    assert [targets[index] for index in range(3)] == [step for step, _ in steps]
    assert targets.get(9) == [("Maps to", 2), ("Concept replaced by", 0)]
    assert targets.get(4) == [("Concept replaced by", 1)]
    assert targets.get(5) == targets.get(10) == _targets([]).get(4) == []
    assert (targets.name_of(9), targets.name_of(4), targets.name_of(5)) == ("nine", "four", None)
    assert _targets([]).name_of(4) is None


def test_stored_arrays_are_mapped_from_the_disk() -> None:
    matrix = sparse.csr_matrix(np.eye(3, dtype=np.float32))
    order = np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3))
    for made in (
        array_cache.store("name", (matrix, StringArray.of(NAMES), order, {"a": 1}, np.zeros(0))),
        array_cache.load("name"),
    ):
        assert made is not None
        found, texts, ordered, rest, empty = made
        assert (found != matrix).nnz == 0
        assert (list(texts), ordered.tolist(), rest, len(empty)) == (NAMES, order.tolist(), {"a": 1}, 0)
        assert not found.data.flags.writeable
        assert found.data.dtype is np.dtype(np.float32)
    assert array_cache.load("another") is None


def test_another_state_has_another_key() -> None:
    names = [array_cache.cache_key("vocabulary", state) for state in ("1", "2")]
    assert names[0] == array_cache.cache_key("vocabulary", "1") != names[1]


def test_without_room_the_object_itself_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMOP_EMB_CACHE_GB", "1")
    monkeypatch.setattr(disk_cache, "_FREE_BYTES", 1 << 60)
    made = np.arange(10)
    assert array_cache.store("name", made) is made
    assert array_cache.load("name") is None


def test_only_arrays_and_classes_of_mapping_are_loaded() -> None:
    array_cache.store("name", Path("/"))
    with pytest.raises(pickle.UnpicklingError, match="is not an array or a class"):
        array_cache._read(disk_cache.folder() / "name")
    assert array_cache.load("name") is None
