"""The registry of models: exact prefixes, and advice that never changes what the user set."""

from __future__ import annotations

import pytest

from omop_emb import EmbeddingRole
from omop_emb.models import advice, find

QUERY = EmbeddingRole.QUERY


def test_a_tag_or_an_option_is_the_same_model() -> None:
    assert find("ollama:nomic-embed-text:v1.5") is find("ollama:nomic-embed-text")
    assert find("local:all-MiniLM-L6-v2@int8") is find("local:all-MiniLM-L6-v2")
    assert find("ollama:qwen3-embedding:4b") is not find("ollama:qwen3-embedding")
    medcpt = "local:ncbi/MedCPT-Article-Encoder{0},ncbi/MedCPT-Query-Encoder{0}"
    assert find(medcpt.format("@cls")) is find(medcpt.format("")) is not None
    assert find("openai:nobody-knows") is None


@pytest.mark.parametrize(
    ("model", "prefix", "told"),
    [
        ("ollama:nomic-embed-text", "", "export OMOP_EMB_QUERY_EMBEDDING_PREFIX='search_query: '"),
        ("ollama:nomic-embed-text", "search_query:", "spaces at the end count"),
        ("ollama:bge-m3", "query: ", "was trained without one"),
        ("gemini:gemini-embedding-001", "query: ", "task types"),
        ("openai:unknown", "Instruct: x\\nQuery:", "not a line end"),
        ("local:all-MiniLM-L6-v2", "", "which is what local:all-MiniLM-L6-v2 wants"),
    ],
)
def test_a_likely_mistake_is_told(model: str, prefix: str, told: str) -> None:
    assert told in " ".join(advice(model, {QUERY: prefix}))


def test_the_right_prefix_is_passed_over_in_silence() -> None:
    assert advice("ollama:nomic-embed-text", {QUERY: "search_query: "}) == []
