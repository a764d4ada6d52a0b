"""Gemini on Vertex AI: the real SDK against a local server, and what an SDK refuses by itself."""

from __future__ import annotations

import json

import numpy as np
import pytest

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.arrays import Vectors
from omop_emb.errors import (
    ConfigurationError,
    OmopEmbError,
    ProviderRefusedError,
    ProviderUnavailableError,
    TextRejectedError,
)
from omop_emb.providers.retrying import RetryPolicy
from tests.fake_providers import KEY, FakeProviders, Fault, fake_vector

DOCUMENT, QUERY = EmbeddingRole.DOCUMENT, EmbeddingRole.QUERY
PROJECT = "/v1beta1/projects/hospital/locations/europe-west1/publishers/google/models"
BRIEF = RetryPolicy(timeout_seconds=2, max_attempts=3, deadline_seconds=5, first_wait_seconds=0.01)


@pytest.fixture
def vertex(fake: FakeProviders, monkeypatch: pytest.MonkeyPatch) -> FakeProviders:
    """Vertex AI for a project, with a token of nobody's in place of this machine's credentials."""
    import google.auth
    from google.oauth2.credentials import Credentials

    monkeypatch.setattr(google.auth, "default", lambda **_: (Credentials("nobody"), "hospital"))  # type: ignore[no-untyped-call] # google-auth has no types
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "hospital")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "europe-west1")
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", fake.url)
    return fake


def unit(texts: list[str], dimensions: int) -> Vectors:
    rows = np.array([fake_vector(text, dimensions) for text in texts])
    scaled: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def test_a_gemini_model_gets_one_text_a_request_and_may_not_cut_it(vertex: FakeProviders) -> None:
    client = EmbeddingClient("gemini:gemini-embedding-001", dimensions=768, concurrency=1)
    rows = client.embeddings(["a", "b"], embedding_role=QUERY)
    assert {call.path for call in vertex.calls} == {f"{PROJECT}/gemini-embedding-001:embedContent"}
    assert [call.body for call in vertex.calls] == [
        {
            "content": {"parts": [{"text": text}]},
            "embedContentConfig": {
                "taskType": "RETRIEVAL_QUERY",
                "outputDimensionality": 768,
                "autoTruncate": False,
            },
        }
        for text in ("a", "b")
    ]
    assert vertex.calls[0].headers["authorization"] == "Bearer nobody"
    assert "x-goog-api-key" not in vertex.calls[0].headers
    np.testing.assert_allclose(rows, unit(["a", "b"], 768), atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        "gemini-embedding-001",
        "gemini-embedding-2",
        "gemini-embedding-2-preview",
        "publishers/google/models/gemini-embedding-001",
        "google/gemini-embedding-001",
    ],
)
def test_no_text_of_a_build_is_sent_twice(vertex: FakeProviders, model: str) -> None:
    texts = [f"text {number}" for number in range(120)]
    client = EmbeddingClient(f"gemini:{model}", dimensions=768)
    rows = client.embeddings(texts, embedding_role=DOCUMENT)
    assert sorted(text for call in vertex.calls for text in call.texts) == sorted(texts)
    assert client.usage.requests == 120
    np.testing.assert_allclose(rows, unit(texts, 768), atol=1e-6)


def test_a_partner_s_model_gets_one_text_a_request_with_its_prefix(vertex: FakeProviders) -> None:
    client = EmbeddingClient(
        "gemini:intfloat/multilingual-e5-large-instruct-maas",
        query_prefix="query: ",
        concurrency=1,
        warn=False,
    )
    rows = client.embeddings(["a", "b"], embedding_role=QUERY)
    asked = [call for call in vertex.calls if call.texts[0].startswith("query: ")]
    assert [call.texts for call in asked] == [["query: a"], ["query: b"]]
    assert {call.path.rpartition("publishers/")[2].partition(":")[0] for call in asked} == {
        "intfloat/models/multilingual-e5-large-instruct-maas"
    }
    assert "RETRIEVAL" not in json.dumps([call.body for call in asked])
    assert rows.shape == (2, 3072)
    assert client.fingerprint.query_task == ""


@pytest.mark.parametrize(
    ("model", "most", "sizes"),
    [
        ("text-embedding-005", 250, {250, 50}),
        ("text-multilingual-embedding-002", 250, {250, 50}),
        ("text-embedding-005", 5, {4}),  # what some regions accept
    ],
)
def test_other_models_get_as_many_texts_as_they_accept(
    vertex: FakeProviders, model: str, most: int, sizes: set[int]
) -> None:
    vertex.vertex_max_texts = most
    texts = [f"text {number}" for number in range(300)]
    client = EmbeddingClient(f"gemini:{model}", dimensions=256, concurrency=1)
    rows = client.embeddings(texts, embedding_role=DOCUMENT)
    assert vertex.calls[0].path == f"{PROJECT}/{model}:predict"
    assert vertex.calls[0].body["parameters"]["autoTruncate"] is False
    assert vertex.calls[0].body["instances"][0]["task_type"] == "RETRIEVAL_DOCUMENT"
    assert sizes <= {len(call.texts) for call in vertex.calls}
    np.testing.assert_allclose(rows, unit(texts, 256), atol=1e-6)


def test_tokens_are_counted_as_vertex_reports_them(vertex: FakeProviders) -> None:
    vertex.vertex_max_texts = 250
    for model in ("gemini-embedding-001", "gemini-embedding-2", "text-embedding-005"):
        client = EmbeddingClient(f"gemini:{model}", dimensions=256)
        client.embeddings(["one", "one two", "one two three"], embedding_role=DOCUMENT)
        assert (client.usage.reported_tokens, client.usage.estimated_tokens) == (6, 0)


@pytest.mark.parametrize("obeys", [True, False], ids=["refuses", "cuts all the same"])
@pytest.mark.parametrize("model", ["gemini-embedding-001", "text-embedding-005"])
def test_a_long_text_is_refused_and_never_cut(
    vertex: FakeProviders, monkeypatch: pytest.MonkeyPatch, model: str, obeys: bool
) -> None:
    vertex.vertex_max_texts = 250
    if not obeys:
        monkeypatch.setattr(vertex, "_vertex_refusal", lambda _call: None)
    client = EmbeddingClient(f"gemini:{model}", dimensions=256)
    texts = ["short", "word " * 3000, "brief"]
    with pytest.raises(
        TextRejectedError, match=f"^text 1 cannot be embedded: it is longer than gemini:{model}"
    ):
        client.embeddings(texts, embedding_role=DOCUMENT)
    parts = client.embed_stream(texts, embedding_role=DOCUMENT)
    assert sorted(position for part in parts for position in part.positions.tolist()) == [0, 2]


def test_the_gemini_api_is_not_asked_for_what_only_vertex_knows(
    vertex: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_USE_ENTERPRISE", "false")  # wins over GOOGLE_GENAI_USE_VERTEXAI
    EmbeddingClient("gemini:gemini-embedding-001").embeddings(["a", "b"], embedding_role=QUERY)
    (call,) = vertex.calls
    assert call.path == "/v1/models/gemini-embedding-001:batchEmbedContents"
    assert call.headers["x-goog-api-key"] == KEY
    assert "autoTruncate" not in json.dumps(call.body)


@pytest.mark.parametrize("location", ["", "global", "europe-west1"])
def test_a_key_signs_in_without_a_project(
    vertex: FakeProviders, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", location)
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    EmbeddingClient("gemini:gemini-embedding-001").embeddings(["a"], embedding_role=QUERY)
    (call,) = vertex.calls
    assert call.path == "/v1beta1/publishers/google/models/gemini-embedding-001:embedContent"
    assert call.headers["x-goog-api-key"] == KEY
    assert "authorization" not in call.headers


def test_a_project_wins_over_a_key(vertex: FakeProviders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    EmbeddingClient("gemini:gemini-embedding-001").embeddings(["a"], embedding_role=QUERY)
    assert vertex.calls[0].path.startswith(PROJECT)
    assert "x-goog-api-key" not in vertex.calls[0].headers


def test_missing_credentials_name_both_ways_to_sign_in(
    vertex: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

    def raising(error: Exception) -> None:
        def default(**_: object) -> None:
            raise error

        monkeypatch.setattr(google.auth, "default", default)

    def ask() -> None:
        EmbeddingClient("gemini:gemini-embedding-001", query_retries=BRIEF).embeddings(
            ["a"], embedding_role=QUERY
        )

    for error in (DefaultCredentialsError("x"), RefreshError("x")):  # type: ignore[no-untyped-call] # google-auth has no types
        raising(error)
        with pytest.raises(
            OmopEmbError, match=r"gcloud auth application-default login, or set GOOGLE_API_KEY"
        ):
            ask()
    raising(TransportError("x"))  # type: ignore[no-untyped-call] # google-auth has no types
    with pytest.raises(ProviderUnavailableError, match="Google's sign-in cannot be reached"):
        ask()
    assert vertex.calls == []


@pytest.mark.parametrize("model", ["gemini-embedding-001", "gemini-embedding-2"])
def test_dimensions_that_the_service_refuses_are_named(vertex: FakeProviders, model: str) -> None:
    message = "Invalid value at output_dimensionality: must be between 1 and 3072."
    vertex.always(Fault(400, json.dumps({"error": {"code": 400, "message": message}})))
    with pytest.raises(
        ProviderRefusedError, match=r"does not have the requested dimensions .* OMOP_EMB_DIMENSIONS"
    ):
        EmbeddingClient(f"gemini:{model}", dimensions=3072).embeddings(["a"], embedding_role=QUERY)
    assert len(vertex.calls) == 1


# What an SDK or its HTTP library refuses before it sends anything; it would refuse it again.
SETTINGS = {
    "key with a line end": ("openai:m", "OPENAI_API_KEY", "one\ntwo", "OPENAI_API_KEY"),
    "key that is not ASCII": ("openai:m", "OPENAI_API_KEY", "klíč-secret", "OPENAI_API_KEY"),
    "Gemini key that is not ASCII": ("gemini:gemini-embedding-2", "GEMINI_API_KEY", "klíč", "GEMINI_API_KEY"),
    "port out of range": ("openai:m", "OPENAI_BASE_URL", "http://localhost:99999/v1", "OPENAI_BASE_URL"),
    "port that is a word": ("openai:m", "OPENAI_BASE_URL", "http://localhost:port/v1", "OPENAI_BASE_URL"),
    "half an IPv6 address": ("openai:m", "OPENAI_BASE_URL", "http://[::1/v1", "OPENAI_BASE_URL"),
    "Ollama's half an IPv6 address": ("ollama:m", "OLLAMA_HOST", "http://[::1", "OLLAMA_HOST"),
    "Ollama's port out of range": ("ollama:m", "OLLAMA_HOST", "localhost:99999", "OLLAMA_HOST"),
    "Ollama's key with a line end": ("ollama:m", "OLLAMA_API_KEY", "one\ntwo", "OLLAMA_API_KEY"),
    "Ollama's scheme": ("ollama:m", "OLLAMA_HOST", "unix:///run/ollama.sock", "OLLAMA_HOST"),
    "proxy of another scheme": ("openai:m", "HTTP_PROXY", "gopher://user:secret@proxy", "the proxy"),
    "Gemini's address": (
        "gemini:gemini-embedding-2", "GOOGLE_GEMINI_BASE_URL", "http://[::1", "GEMINI_API_KEY",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("model", "name", "value", "named"), SETTINGS.values(), ids=SETTINGS)
def test_a_setting_that_no_request_can_be_sent_with_is_no_outage(
    fake: FakeProviders,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    name: str,
    value: str,
    named: str,
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises((ConfigurationError, ProviderRefusedError), match=named) as caught:
        EmbeddingClient(model, query_retries=BRIEF).embeddings(["words of a patient"], embedding_role=QUERY)
    message = str(caught.value)
    assert "\n" not in message
    assert "words of a patient" not in message
    assert value not in message
    assert "secret" not in message
    assert "tried" not in message
    assert fake.calls == []
