"""Provider requests on the wire: the real SDKs against a local server."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.arrays import Vectors
from omop_emb.errors import ConfigurationError, InvalidAnswerError, ProviderRefusedError, TextRejectedError
from tests.fake_providers import KEY, FakeProviders, Fault, fake_vector

DOCUMENT, QUERY = EmbeddingRole.DOCUMENT, EmbeddingRole.QUERY


def unit(texts: list[str], dimensions: int) -> Vectors:
    rows = np.array([fake_vector(text, dimensions) for text in texts])
    scaled: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


@pytest.mark.parametrize(
    ("role", "task"),
    [(DOCUMENT, "RETRIEVAL_DOCUMENT"), (QUERY, "RETRIEVAL_QUERY")],
    ids=lambda value: str(value),
)
def test_gemini_001_gets_task_types_that_follow_the_role(
    fake: FakeProviders, role: EmbeddingRole, task: str
) -> None:
    client = EmbeddingClient("gemini:gemini-embedding-001", dimensions=768)
    rows = client.embeddings(["a b", "c d"], embedding_role=role)
    (call,) = fake.calls
    assert call.path == "/v1/models/gemini-embedding-001:batchEmbedContents"
    assert call.headers["x-goog-api-key"] == KEY
    assert call.body == {
        "requests": [
            {
                "content": {"parts": [{"text": text}]},
                "taskType": task,
                "outputDimensionality": 768,
                "model": "models/gemini-embedding-001",
            }
            for text in ("a b", "c d")
        ]
    }
    np.testing.assert_allclose(rows, unit(["a b", "c d"], 768), atol=1e-6)


@pytest.mark.parametrize("model", ["gemini-embedding-2", "gemini-embedding-2-preview"])
def test_gemini_2_gets_one_content_a_text_with_prefix_and_no_task_type(
    fake: FakeProviders, model: str
) -> None:
    client = EmbeddingClient(
        f"gemini:{model}",
        document_prefix="title: none | text: ",
        query_prefix="task: search result | query: ",
    )
    rows = client.embeddings(["a", "b", "c"], embedding_role=DOCUMENT)
    client.embeddings(["a"], embedding_role=QUERY)
    first, second = fake.calls
    assert first.path == f"/v1/models/{model}:batchEmbedContents"
    assert first.body == {
        "requests": [
            {"content": {"parts": [{"text": f"title: none | text: {text}"}]}, "model": f"models/{model}"}
            for text in "abc"
        ]
    }
    assert second.texts == ["task: search result | query: a"]
    assert rows.shape == (3, 3072)
    assert client.fingerprint.document_task == ""


@pytest.mark.parametrize(
    "task",
    [
        "RETRIEVAL_DOCUMENT",
        "RETRIEVAL_QUERY",
        "SEMANTIC_SIMILARITY",
        "CLASSIFICATION",
        "CLUSTERING",
        "QUESTION_ANSWERING",
        "FACT_VERIFICATION",
        "CODE_RETRIEVAL_QUERY",
    ],
)
def test_each_of_gemini_s_eight_task_types_can_be_chosen_for_a_role(fake: FakeProviders, task: str) -> None:
    client = EmbeddingClient("gemini:gemini-embedding-001", tasks={QUERY: task})
    client.embeddings(["a"], embedding_role=QUERY)
    client.embeddings(["a"], embedding_role=DOCUMENT)
    assert [call.body for call in fake.calls] == [
        {
            "requests": [
                {
                    "content": {"parts": [{"text": "a"}]},
                    "taskType": sent,
                    "model": "models/gemini-embedding-001",
                }
            ]
        }
        for sent in (task, "RETRIEVAL_DOCUMENT")
    ]
    assert (client.fingerprint.document_task, client.fingerprint.query_task) == ("RETRIEVAL_DOCUMENT", task)


@pytest.mark.parametrize("task", ["CLUSTERING", "CLASSIFICATION", "SEMANTIC_SIMILARITY"])
def test_variables_choose_a_task_type_that_stays_with_the_fingerprint(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setenv("OMOP_EMB_DOCUMENT_EMBEDDING_TASK", task)
    monkeypatch.setenv("OMOP_EMB_QUERY_EMBEDDING_TASK", task)
    chosen = EmbeddingClient("gemini:gemini-embedding-001", dimensions=768).fingerprint
    assert (chosen.document_task, chosen.query_task) == (task, task)
    monkeypatch.delenv("OMOP_EMB_DOCUMENT_EMBEDDING_TASK")
    monkeypatch.setenv("OMOP_EMB_QUERY_EMBEDDING_TASK", "FACT_VERIFICATION")
    assert EmbeddingClient("gemini:gemini-embedding-001", dimensions=768).fingerprint != chosen
    client = EmbeddingClient.for_fingerprint(chosen)
    assert client.fingerprint == chosen
    for role in (DOCUMENT, QUERY):
        client.embeddings(["a"], embedding_role=role)
        assert [entry["taskType"] for entry in fake.calls[-1].body["requests"]] == [task]


@pytest.mark.parametrize("role", [DOCUMENT, QUERY])
def test_a_prefix_beside_a_task_type_is_refused_except_in_a_space_that_has_both(
    fake: FakeProviders, role: EmbeddingRole
) -> None:
    document, query = ("a prefix: ", "") if role is DOCUMENT else ("", "a prefix: ")
    with pytest.raises(ConfigurationError, match=f"{role.name}_EMBEDDING_PREFIX is .*: unset the prefix"):
        EmbeddingClient("gemini:gemini-embedding-001", document_prefix=document, query_prefix=query)
    plain = EmbeddingClient("gemini:gemini-embedding-001", dimensions=768).fingerprint
    space = replace(plain, document_prefix=document, query_prefix=query)
    EmbeddingClient.for_fingerprint(space).embeddings(["a"], embedding_role=role)
    assert fake.calls[-1].texts == ["a prefix: a"]


def test_unknown_or_ignored_task_types_are_refused(fake: FakeProviders) -> None:
    with pytest.raises(ConfigurationError, match="there is no task type 'SIMILAR'"):
        EmbeddingClient("gemini:gemini-embedding-001", tasks={QUERY: "SIMILAR"})
    with pytest.raises(ConfigurationError, match="ignores task types"):
        EmbeddingClient("gemini:gemini-embedding-2", tasks={QUERY: "CLUSTERING"})
    with pytest.raises(ConfigurationError, match="takes no task types"):
        EmbeddingClient("ollama:nomic-embed-text", tasks={QUERY: "CLUSTERING"})


def test_gemini_requests_hold_at_most_a_hundred_texts(fake: FakeProviders) -> None:
    client = EmbeddingClient("gemini:gemini-embedding-001", dimensions=128, concurrency=1)
    texts = [f"text {number:03}" for number in range(250)]
    rows = client.embeddings(texts, embedding_role=DOCUMENT)
    assert [len(call.texts) for call in fake.calls] == [100, 100, 50]
    np.testing.assert_allclose(rows, unit(texts, 128), atol=1e-6)


def test_a_model_that_was_shut_down_is_refused_and_its_successors_named(fake: FakeProviders) -> None:
    with pytest.raises(ConfigurationError, match=r"gemini-embedding-2 or .*embed everything again.*768"):
        EmbeddingClient("gemini:text-embedding-004")


def test_gemini_without_a_key_says_which_variable_to_set(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    with pytest.raises(ConfigurationError, match="export GEMINI_API_KEY="):
        EmbeddingClient("gemini:gemini-embedding-001").embeddings(["a"], embedding_role=QUERY)


def test_ollama_is_told_not_to_cut_and_to_keep_the_model(fake: FakeProviders) -> None:
    client = EmbeddingClient(
        "ollama:nomic-embed-text",
        dimensions=256,
        document_prefix="search_document: ",
        query_prefix="search_query: ",
    )
    rows = client.embeddings(["a b", "c"], embedding_role=DOCUMENT)
    assert fake.calls[-1].path == "/api/embed"
    assert fake.calls[-1].body == {
        "model": "nomic-embed-text",
        "input": ["search_document: c", "search_document: a b"],
        "truncate": False,
        "keep_alive": "30m",
        "dimensions": 256,
    }
    np.testing.assert_allclose(rows, unit(["search_document: a b", "search_document: c"], 256), atol=1e-6)
    client.embeddings(["a b"], embedding_role=QUERY)
    assert fake.calls[-1].texts == ["search_query: a b"]
    assert client.usage.reported_tokens == 9


def test_ollama_s_digest_is_part_of_the_fingerprint(fake: FakeProviders) -> None:
    before = EmbeddingClient("ollama:nomic-embed-text").fingerprint
    assert (before.revision, before.dimensions) == ("sha256:aaaa", 768)
    fake.ollama_models["nomic-embed-text:latest"] = "sha256:bbbb"
    after = EmbeddingClient("ollama:nomic-embed-text").fingerprint
    assert before.differences(after) == ["revision 'sha256:aaaa', not 'sha256:bbbb'"]


def test_a_missing_ollama_model_says_how_to_pull_it(fake: FakeProviders) -> None:
    fake.always(Fault(404, '{"error": "model \\"embeddinggemma\\" not found, try pulling it first"}'))
    with pytest.raises(ProviderRefusedError, match="run ollama pull embeddinggemma"):
        EmbeddingClient("ollama:embeddinggemma").embeddings(["a"], embedding_role=DOCUMENT)


def test_more_dimensions_than_ollama_s_model_has_are_refused(fake: FakeProviders) -> None:
    with pytest.raises(ConfigurationError, match="768 dimensions, fewer than the requested 1024"):
        _ = EmbeddingClient("ollama:nomic-embed-text", dimensions=1024).dimensions
    with pytest.raises(InvalidAnswerError, match="768 dimensions, fewer than the requested 1024"):
        EmbeddingClient("ollama:nomic-embed-text", dimensions=1024).embeddings(["a"], embedding_role=DOCUMENT)


def test_a_text_too_long_for_ollama_is_reported_as_too_long(fake: FakeProviders) -> None:
    fake.poison("long", Fault(400, '{"error": "the input length exceeds the context length"}'))
    with pytest.raises(TextRejectedError, match=r"^text 1 cannot be embedded: it is longer than ollama:"):
        EmbeddingClient("ollama:nomic-embed-text").embeddings(
            ["a", "long " * 20_000], embedding_role=DOCUMENT
        )


@pytest.mark.parametrize("floats_only", [False, True])
def test_openai_vectors_come_as_base64_or_numbers_in_any_order(
    fake: FakeProviders, floats_only: bool
) -> None:
    fake.floats_only = floats_only
    texts = ["one", "two", "three"]
    rows = EmbeddingClient("openai:served-model").embeddings(texts, embedding_role=DOCUMENT)
    assert fake.calls[-1].path == "/v1/embeddings"
    assert fake.calls[-1].headers["authorization"] == f"Bearer {KEY}"
    assert fake.calls[-1].body == {
        "model": "served-model",
        "input": ["one", "two", "three"],
        "encoding_format": "base64",
    }
    np.testing.assert_allclose(rows, unit(texts, 768), atol=1e-6)


def test_an_endpoint_that_refuses_base64_gets_requests_for_numbers(fake: FakeProviders) -> None:
    refusal = Fault(400, '{"error": {"message": "encoding_format: unknown field"}}')
    fake.fault = lambda call: refusal if "encoding_format" in call.body else None
    client = EmbeddingClient("openai:served-model")
    client.embeddings(["a"], embedding_role=DOCUMENT)
    client.embeddings(["b"], embedding_role=DOCUMENT)
    assert ["encoding_format" in call.body for call in fake.calls] == [True, False, False]


def test_openai_requests_hold_at_most_32_texts(fake: FakeProviders) -> None:
    fake.max_texts = 32
    rows = EmbeddingClient("openai:served-model", concurrency=1).embeddings(
        [f"text {number}" for number in range(70)], embedding_role=DOCUMENT
    )
    assert [len(call.texts) for call in fake.calls] == [32, 32, 6]
    assert rows.shape == (70, 768)


def test_requests_shrink_for_an_endpoint_that_accepts_fewer_texts(fake: FakeProviders) -> None:
    fake.max_texts = 8
    client = EmbeddingClient("openai:served-model", concurrency=1)
    client.embeddings([f"text {number}" for number in range(320)], embedding_role=DOCUMENT)
    sizes = [len(call.texts) for call in fake.calls]
    assert sizes[:3] == [32, 16, 8]
    assert set(sizes[8:-8]) == {8} or max(sizes[-30:]) == 8


def test_vectors_are_cut_here_if_an_endpoint_ignores_dimensions(fake: FakeProviders) -> None:
    fake.fault = lambda _call: Fault(change=lambda rows: [fake_vector("text", 768) for _ in rows])
    rows = EmbeddingClient("openai:served-model", dimensions=256).embeddings(
        ["text"], embedding_role=DOCUMENT
    )
    assert fake.calls[-1].body["dimensions"] == 256
    np.testing.assert_allclose(rows, unit(["text"], 256), atol=1e-6)


def test_a_vllm_model_that_cannot_be_cut_is_reported_as_such(fake: FakeProviders) -> None:
    message = 'Model "served-model" does not support matryoshka representation'
    fake.always(Fault(400, f'{{"error": {{"message": {message!r}}}}}'))
    with pytest.raises(ProviderRefusedError, match=r"refuses to cut .* unset OMOP_EMB_DIMENSIONS"):
        EmbeddingClient("openai:served-model", dimensions=256).embeddings(["a"], embedding_role=DOCUMENT)


REFUSALS = {
    "vLLM, not declared Matryoshka": 'Model "m" does not support matryoshka representation, changing '
    "output dimensions will lead to poor results.",
    "OpenAI, an older model": "This model does not support specifying dimensions.",
    "a field that is not known": "dimensions: Extra inputs are not permitted",
    "llama.cpp": "unsupported parameter: dimensions",
    "says nothing": "bad request",
}


@pytest.mark.parametrize(
    ("message", "status"),
    [(message, status) for message in REFUSALS.values() for status in (400, 422)]
    + [(REFUSALS["llama.cpp"], 500), (REFUSALS["llama.cpp"], 501)],
)
@pytest.mark.parametrize("model", ["served-model", "nomic-ai/nomic-embed-text-v1.5"])
def test_refused_dimensions_are_tried_without_or_named(
    fake: FakeProviders, model: str, message: str, status: int
) -> None:
    is_named, is_known = "imension" in message, "nomic" in model
    refusal = Fault(status, json.dumps({"error": {"message": message}}))
    fake.fault = lambda call: refusal if "dimensions" in call.body else None
    client = EmbeddingClient(f"openai:{model}", dimensions=256)
    if is_named and not is_known:
        with pytest.raises(ProviderRefusedError, match=r"256 numbers .* unset OMOP_EMB_DIMENSIONS"):
            client.embeddings(["a"], embedding_role=DOCUMENT)
        return
    rows = client.embeddings(["a"], embedding_role=DOCUMENT)
    np.testing.assert_allclose(rows, unit(["a"], 256), atol=1e-6)
    fake.calls.clear()
    client.embeddings(["b"], embedding_role=DOCUMENT)
    assert [call.body for call in fake.calls] == [
        {"model": model, "input": ["b"], "encoding_format": "base64"}
    ]


def test_refused_dimensions_that_the_model_has_anyway_do_not_matter(fake: FakeProviders) -> None:
    refusal = Fault(400, json.dumps({"message": REFUSALS["vLLM, not declared Matryoshka"]}))
    fake.fault = lambda call: refusal if "dimensions" in call.body else None
    rows = EmbeddingClient("openai:served-model", dimensions=768).embeddings(["a"], embedding_role=DOCUMENT)
    np.testing.assert_allclose(rows, unit(["a"], 768), atol=1e-6)


def test_a_server_that_refuses_every_option_is_sent_none(fake: FakeProviders) -> None:
    refusal = Fault(400, json.dumps({"error": "unknown field"}))
    fake.fault = lambda call: refusal if call.body.keys() - {"model", "input"} else None
    client = EmbeddingClient("openai:served-model", dimensions=256)
    rows = client.embeddings(["a", "b"], embedding_role=DOCUMENT)
    np.testing.assert_allclose(rows, unit(["a", "b"], 256), atol=1e-6)
    assert fake.calls[-1].body.keys() == {"model", "input"}


def test_a_bad_text_does_not_take_the_options_away(fake: FakeProviders) -> None:
    client = EmbeddingClient("openai:served-model", dimensions=256, concurrency=1)
    fake.poison("bad", Fault(400, '{"error": "bad input"}'))
    with pytest.raises(TextRejectedError, match="text 1 cannot be embedded"):
        client.embeddings(["good", "bad"], embedding_role=DOCUMENT)
    client.embeddings(["fine"], embedding_role=DOCUMENT)
    assert fake.calls[-1].body.keys() == {"model", "input", "encoding_format", "dimensions"}


def test_openai_itself_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="export OPENAI_API_KEY="):
        EmbeddingClient("openai:text-embedding-3-small").embeddings(["a"], embedding_role=DOCUMENT)
    monkeypatch.setenv("OPENAI_BASE_URL", "localhost:8080/v1")
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL must begin with http"):
        EmbeddingClient("openai:text-embedding-3-small")


@pytest.mark.parametrize(
    "model", ["gemini:gemini-embedding-001", "ollama:nomic-embed-text", "openai:served-model"]
)
def test_construction_sends_nothing_and_an_empty_list_sends_no_text(fake: FakeProviders, model: str) -> None:
    client = EmbeddingClient(model, dimensions=256)
    assert fake.calls == []
    assert client.embeddings([], embedding_role=DOCUMENT).shape == (0, 256)
    assert fake.embedding_calls == []


@pytest.mark.parametrize(
    "model", ["gemini:gemini-embedding-001", "ollama:nomic-embed-text", "openai:served-model"]
)
def test_odd_texts_are_sent_unchanged(fake: FakeProviders, model: str) -> None:
    texts = ["NUL \x00 and \x1b", "  spaces  ", "Ménière 梅尼埃病 🫀", "x" * 100_000]
    rows = EmbeddingClient(model, concurrency=1).embeddings(texts, embedding_role=DOCUMENT)
    assert sorted(text for call in fake.calls for text in call.texts) == sorted(texts)
    assert len(rows) == 4


@pytest.mark.parametrize(
    "model", ["gemini:gemini-embedding-001", "ollama:nomic-embed-text", "openai:served-model"]
)
def test_no_key_and_no_text_is_in_any_log_or_repr(
    fake: FakeProviders, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = EmbeddingClient(model)
    client.embeddings(["words of a patient"], embedding_role=DOCUMENT)
    fake.always(Fault(400, f'{{"error": {{"message": "bad input: words of a patient, key {KEY}"}}}}'))
    with pytest.raises(Exception, match="HTTP 400") as caught:
        client.embeddings(["words of a patient"], embedding_role=DOCUMENT)
    output = caplog.text + repr(client) + str(caught.value) + repr(vars(client))
    assert "words of a patient" not in output
    assert KEY not in output
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
