"""Freed memory goes back to the system."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from omop_emb.mapping.retrieval import freed_memory


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory a process has")
def test_what_was_freed_between_objects_in_use_goes_back() -> None:
    objects = [bytes(3_000) for _ in range(60_000)]  # larger than what Python itself allocates
    kept = objects[::100]
    del objects
    before = _own_bytes()
    freed_memory.give_back()
    assert before - _own_bytes() > 100_000_000
    assert len(kept) == 600


def _own_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
