"""Batches: texts cut into requests by number, tokens and length, each text once."""

from __future__ import annotations

import pytest

from omop_emb.providers.base import estimated_tokens
from omop_emb.providers.batching import Batch, batches


def cut(texts: list[str], *, most: int = 100, tokens: int = 10**9, prefix: str = "") -> list[Batch]:
    return list(batches(enumerate(texts), batch_texts=lambda: most, batch_tokens=tokens, prefix=prefix))


def test_batches_are_limited_by_texts_and_start_with_the_shortest() -> None:
    cuts = cut(["ccc", "a", "bb", "dddd", "e"], most=2)
    assert [batch.texts for batch in cuts] == [["a", "e"], ["bb", "ccc"], ["dddd"]]
    assert [batch.positions for batch in cuts] == [[[1], [4]], [[2], [0]], [[3]]]


def test_a_repeated_text_is_sent_once_with_all_its_positions() -> None:
    (only,) = cut(["a", "b", "a", "a"])
    assert only == Batch(["a", "b"], [[0, 2, 3], [1]])


@pytest.mark.parametrize("prefix", ["", "search_document: "])
def test_batches_are_limited_by_tokens_including_the_prefix(prefix: str) -> None:
    texts = [f"{number:02} {'word ' * number}" for number in range(40)]
    each = estimated_tokens(prefix) if prefix else 0
    cuts = cut(texts, tokens=200, prefix=prefix)
    sizes = [sum(each + estimated_tokens(text) for text in batch.texts) for batch in cuts]
    assert max(sizes) <= 200
    # Greedy: no batch would have had room for the first text of the next.
    for size, after in zip(sizes, cuts[1:], strict=False):
        assert size + each + estimated_tokens(after.texts[0]) > 200
    assert sorted(str(text) for batch in cuts for text in batch.texts) == sorted(texts)


def test_a_text_longer_than_the_limit_goes_alone() -> None:
    assert [batch.texts for batch in cut(["x" * 500, "a", "y" * 600], tokens=50)] == [
        ["a"],
        ["x" * 500],
        ["y" * 600],
    ]


def test_a_lowered_limit_applies_to_the_next_batch() -> None:
    limit = 4
    drawn = batches(enumerate("abcdefgh"), batch_texts=lambda: limit, batch_tokens=10**9, prefix="")
    assert len(next(drawn).texts) == 4
    limit = 1
    assert [len(batch.texts) for batch in drawn] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [("", 1, 3), ("Hypertension", 3, 6), ("Type 2 diabetes mellitus", 5, 10), ("梅尼埃病", 4, 8)],
)
def test_the_token_estimate_is_close_to_what_models_read(text: str, least: int, most: int) -> None:
    assert least <= estimated_tokens(text) <= most
