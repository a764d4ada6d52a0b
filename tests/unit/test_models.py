"""The registry of models: exact prefixes, and advice that never changes what the user set."""

from __future__ import annotations

import pytest

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.models import KnownModel, advice, find, known_models
from tests.fake_providers import FakeProviders

DOCUMENT, QUERY = EmbeddingRole.DOCUMENT, EmbeddingRole.QUERY
REMOTE = [known for known in known_models() if not known.name.startswith("local:")]


@pytest.mark.parametrize("known", REMOTE, ids=lambda known: known.name)
def test_a_known_model_s_prefixes_or_task_types_reach_the_wire(
    fake: FakeProviders, known: KnownModel
) -> None:
    client = EmbeddingClient(
        known.name, document_prefix=known.prefixes[DOCUMENT], query_prefix=known.prefixes[QUERY]
    )
    for role, expected in ((DOCUMENT, known.document), (QUERY, known.query)):
        client._caller.embed([known.prefixes[role] + "x"], role, client._bulk_patience)
        call = fake.embedding_calls[-1]
        assert call.texts == [known.prefixes[role] + "x"]
        if known.role == "task":
            assert call.body["requests"][0]["taskType"] == expected
        else:
            assert "taskType" not in str(call.body)


def test_a_tag_or_an_option_is_the_same_model() -> None:
    assert find("ollama:nomic-embed-text:v1.5") is find("ollama:nomic-embed-text")
    assert find("local:all-MiniLM-L6-v2@int8") is find("local:all-MiniLM-L6-v2")
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
