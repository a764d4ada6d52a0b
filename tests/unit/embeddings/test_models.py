"""Known models: exact prefixes, and warnings that never change what the user set."""

from __future__ import annotations

import logging
import subprocess

import pytest

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.embeddings.models import advice, find_model, known_models, setting_warnings
from omop_emb.providers import make_provider
from tests.fake_providers import FakeProviders

DOCUMENT, QUERY = EmbeddingRole.DOCUMENT, EmbeddingRole.QUERY


def test_a_tag_or_an_option_is_the_same_model() -> None:
    assert find_model("ollama:nomic-embed-text:v1.5") is find_model("ollama:nomic-embed-text")
    assert find_model("local:BAAI/bge-large-en-v1.5@int8") is find_model("ollama:bge-large")
    assert find_model("ollama:qwen3-embedding:4b") is not find_model("ollama:qwen3-embedding")
    medcpt = "local:ncbi/MedCPT-Article-Encoder{0},ncbi/MedCPT-Query-Encoder{0}"
    assert find_model(medcpt.format("@cls")) is find_model(medcpt.format("")) is not None
    assert find_model("openai:nobody-knows") is None


def test_no_request_holds_more_texts_than_the_provider_accepts(fake: FakeProviders) -> None:
    limits = {known.name: known.batch_texts for known in known_models() if known.batch_texts is not None}
    assert {name.partition(":")[0] for name in limits} == {
        *("gemini", "openai", "cohere", "voyage", "jina", "mistral", "bedrock")
    }
    for name, most in limits.items():
        assert make_provider(name).limits.batch_texts <= most


@pytest.mark.parametrize(
    ("model", "prefix", "expected"),
    [
        ("ollama:nomic-embed-text", "", "export OMOP_EMB_QUERY_EMBEDDING_PREFIX='search_query: '"),
        ("ollama:nomic-embed-text", "search_query:", "spaces at the end matter"),
        ("ollama:nomic-embed-text", "search_document: ", "did you mix up the two"),
        ("ollama:bge-m3", "query: ", "was trained without one"),
        ("gemini:gemini-embedding-001", "query: ", "task types"),
        ("gemini:gemini-embedding-2", "", "='task: search result | query: '"),
        ("openai:unknown", "Instruct: x\\nQuery: ", "not a line break"),
        ("openai:unknown", "query:", "most models need a space"),
    ],
)
def test_a_likely_mistake_is_reported(model: str, prefix: str, expected: str) -> None:
    (line,) = setting_warnings(model, {QUERY: prefix})
    assert expected in line
    assert line in advice(model, {QUERY: prefix})


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("local:all-MiniLM-L6-v2", "which is what local:all-MiniLM-L6-v2 needs"),
        ("openai:unknown", "Models trained with a prefix"),
    ],
)
def test_an_allowed_empty_prefix_is_explained_and_not_a_mistake(model: str, expected: str) -> None:
    (line,) = advice(model, {QUERY: ""})
    assert line.startswith("OMOP_EMB_QUERY_EMBEDDING_PREFIX is empty")
    assert expected in line
    assert setting_warnings(model, {QUERY: ""}) == []


def test_a_model_without_its_two_prefixes_gets_two_lines_to_paste() -> None:
    lines = setting_warnings("ollama:embeddinggemma", {DOCUMENT: "", QUERY: ""})
    assert [line.partition("export ")[2] for line in lines] == [
        "OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX='title: none | text: '",
        "OMOP_EMB_QUERY_EMBEDDING_PREFIX='task: search result | query: '",
    ]


def test_the_line_to_paste_gives_a_shell_exactly_the_prefix() -> None:
    (line,) = setting_warnings("ollama:qwen3-embedding", {QUERY: ""})
    bash = f'{line[line.index("export ") :]}; printf %s "$OMOP_EMB_QUERY_EMBEDDING_PREFIX"'
    shell = subprocess.run(["bash", "-c", bash], capture_output=True, text=True, check=True)
    known = find_model("ollama:qwen3-embedding")
    assert known is not None
    assert shell.stdout == known.query


@pytest.mark.parametrize("dimensions", [None, 768, 1536, 3072])
def test_recommended_dimensions_cause_no_warning(dimensions: int | None) -> None:
    assert setting_warnings("gemini:gemini-embedding-001", {}, dimensions) == []


def test_a_warning_about_dimensions_lists_the_recommended_ones() -> None:
    (line,) = setting_warnings("gemini:gemini-embedding-2", {}, 500)
    assert "768 or 1536 or 3072 are recommended" in line


def test_cutting_a_model_that_is_not_matryoshka_is_a_warning() -> None:
    (line,) = setting_warnings("ollama:bge-m3", {}, 512)
    assert "not a Matryoshka model" in line
    assert setting_warnings("ollama:bge-m3", {}, 1024) == []
    assert setting_warnings("openai:unknown", {}, 512) == []


def test_a_client_warns_about_a_cut_when_it_is_created(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        EmbeddingClient("ollama:bge-m3", dimensions=512, document_prefix="x: ", query_prefix="")
    logged = " ".join(caplog.messages)
    assert "not a Matryoshka model" in logged
    assert "was trained without one" in logged


def test_the_right_prefix_causes_no_warning() -> None:
    assert advice("ollama:nomic-embed-text", {QUERY: "search_query: "}) == []
    assert advice("openai:unknown", {QUERY: "Query:\n"}) == []


def test_a_model_whose_role_is_a_field_that_its_server_is_not_sent_is_a_warning(
    fake: FakeProviders, caplog: pytest.LogCaptureFixture
) -> None:
    EmbeddingClient("openai:embed-v4.0")
    (line,) = caplog.messages
    assert "a field that only cohere:embed-v4.0 gets" in line
    caplog.clear()
    EmbeddingClient("cohere:embed-v4.0")
    EmbeddingClient("cohere:embed-v4.0-of-tomorrow")
    assert caplog.messages == []
