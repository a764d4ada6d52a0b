"""Objects made of arrays in the cache folder: what was kept comes back, or nothing does."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from omop_emb import disk_cache
from omop_emb.mapping.records import PathStep
from omop_emb.mapping.retrieval import array_cache
from omop_emb.mapping.retrieval.standard_targets import FOLLOWED, Paths, StandardTargets
from omop_emb.mapping.retrieval.string_array import Texts

pytestmark = pytest.mark.usefixtures("own_cache")

NAMES = ["Köhä", "", "cough \u4e2d", "NA"]


def test_texts_are_the_strings_that_they_were_made_of() -> None:
    texts = Texts.of(NAMES)
    assert list(texts) == [texts[place] for place in range(len(texts))] == NAMES
    assert list(Texts.of([])) == []


def test_targets_and_paths_are_found_by_concept() -> None:
    targets = StandardTargets.of({9: [("Maps to", 2), ("Maps to value", 0)], 4: [("Concept replaced by", 1)]})
    assert targets.get(9) == [("Maps to", 2), ("Maps to value", 0)]
    assert targets.get(4) == [("Concept replaced by", 1)]
    assert targets.get(5) == targets.get(10) == StandardTargets.of({}).get(4) == []
    steps = [
        PathStep(9, "nine", "Maps to"),
        PathStep(4, "four", FOLLOWED[2]),
        PathStep(9, "nine", FOLLOWED[1]),
    ]
    paths = Paths.of(steps)
    assert [paths[place] for place in range(len(paths))] == steps
    assert (paths.name_of(9), paths.name_of(4), paths.name_of(5)) == ("nine", "four", None)
    assert Paths.of([]).name_of(4) is None


def test_what_was_kept_is_read_from_the_disk_and_not_copied() -> None:
    matrix = sparse.csr_matrix(np.eye(3, dtype=np.float32))
    order = np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3))
    for made in (
        array_cache.keep("name", (matrix, Texts.of(NAMES), order, {"a": 1}, np.zeros(0))),
        array_cache.find("name"),
    ):
        assert made is not None
        found, texts, ordered, rest, empty = made
        assert (found != matrix).nnz == 0
        assert (list(texts), ordered.tolist(), rest, len(empty)) == (NAMES, order.tolist(), {"a": 1}, 0)
        assert not found.data.flags.writeable
        assert found.data.dtype is np.dtype(np.float32)
    assert array_cache.find("another") is None


def test_another_state_has_another_name() -> None:
    names = [array_cache.name_of("vocabulary", state) for state in ("1", "2")]
    assert names[0] == array_cache.name_of("vocabulary", "1") != names[1]


@pytest.mark.parametrize("file", ["arrays", "rest"])
def test_a_file_that_was_cut_off_is_not_taken(file: str) -> None:
    array_cache.keep("name", np.arange(1000))
    place = disk_cache.folder() / "name" / file
    place.write_bytes(place.read_bytes()[:40])
    assert array_cache.find("name") is None
    place.unlink()
    assert array_cache.find("name") is None


def test_where_there_is_no_room_what_was_made_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMOP_EMB_CACHE_GB", "1")
    monkeypatch.setattr(disk_cache, "_FREE_BYTES", 1 << 60)
    made = np.arange(10)
    assert array_cache.keep("name", made) is made
    assert array_cache.find("name") is None


def test_only_arrays_and_records_of_mapping_are_read_back() -> None:
    array_cache.keep("name", Path("/"))
    with pytest.raises(pickle.UnpicklingError, match="nothing that is kept"):
        array_cache._read(disk_cache.folder() / "name")
    assert array_cache.find("name") is None
