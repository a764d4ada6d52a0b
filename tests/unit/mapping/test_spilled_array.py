"""Spilled arrays: outside this process's own memory, with the same values, and without a name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omop_emb.mapping.retrieval import spilled_array


def test_a_large_array_lies_in_a_file_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(spilled_array, "MIN_BYTES", 0)
    given = np.arange(10_000, dtype=np.int32)
    assert spilled_array.spill(given).tolist() == given.tolist()
    assert not spilled_array.spill(given).flags.owndata
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_without_room_it_lies_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spilled_array, "MIN_BYTES", 0)
    monkeypatch.setattr("os.posix_fallocate", _no_room)
    assert spilled_array.spill(np.arange(3)).tolist() == [0, 1, 2]
    assert spilled_array.empty(3, np.int8).flags.owndata


def _no_room(*given: object) -> None:
    raise OSError(28, "No space left on device")
