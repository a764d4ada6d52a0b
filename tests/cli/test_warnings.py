"""Warnings on the command line: none where all is right, and none twice."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

import pytest

from omop_emb import EmbeddingClient
from tests.fake_providers import FakeProviders

main: Any = import_module("omop_emb.cli.main")


def printed(caplog: pytest.LogCaptureFixture) -> list[str]:
    passes = main._says_something_new()
    return [record.getMessage() for record in caplog.records if passes(record)]


@pytest.mark.parametrize("dimensions", [None, 384])
def test_an_empty_prefix_that_has_to_be_empty_is_not_printed(
    caplog: pytest.LogCaptureFixture, dimensions: int | None
) -> None:
    EmbeddingClient("local:all-MiniLM-L6-v2", dimensions=dimensions)
    assert len(caplog.records) == 2  # in Python, the constructor says so
    assert printed(caplog) == []


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("ollama:nomic-embed-text", "but ollama:nomic-embed-text was trained with a prefix"),
        ("ollama:somebody/unknown", "Models trained with a prefix for each role"),
    ],
)
def test_an_empty_prefix_that_may_be_wrong_is_printed_once(
    caplog: pytest.LogCaptureFixture, fake: FakeProviders, model: str, said: str
) -> None:
    for _ in range(3):
        EmbeddingClient(model)
    lines = printed(caplog)
    assert len(lines) == 2
    assert all(said in line for line in lines)


def test_the_same_warning_is_printed_once_and_others_are_not_lost(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("omop_emb.test")
    for number in (1, 1, 2, 1):
        logger.warning("waited %s times", number)
    assert printed(caplog) == ["waited 1 times", "waited 2 times"]
