"""Memory warnings of `estimate` and `index build`: what does not fit is said before it starts."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import pytest

from omop_emb import machine

estimate = import_module("omop_emb.cli.estimate")


@pytest.mark.parametrize(
    ("index", "mapping", "said"),
    [
        (1, 1, []),
        (9_900_000_000, 1, ["building the index needs 9.9 GB of memory, and 3.0 GB can be used"]),
        (1, 16_300_000_000, ["after a load needs about 16.3 GB of memory, and 6.0 GB are free here"]),
    ],
)
def test_what_does_not_fit_into_memory_is_said(
    index: int,
    mapping: int,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(machine, "available_memory_bytes", lambda: 6_000_000_000)
    needs = SimpleNamespace(index_memory_bytes=index, mapping_memory_bytes=mapping)
    estimate._warn_of_memory(needs, 3_000_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(said)
    for line, part in zip(lines, said, strict=True):
        assert part in line
