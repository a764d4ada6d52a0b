"""Provider profiles on the wire: what each service is sent for each family and role, over real httpx."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from omop_emb import EmbeddingClient, EmbeddingRole, config
from omop_emb.arrays import Vectors
from omop_emb.embeddings.models import known_models
from omop_emb.errors import (
    ConfigurationError,
    MissingExtraError,
    ProviderError,
    QuotaExhaustedError,
    TextRejectedError,
)
from omop_emb.providers.base import BatchTooLargeError
from omop_emb.providers.chat import make_chat_model
from omop_emb.providers.profiles import profile_names, profile_of
from omop_emb.providers.retrying import RetryPolicy
from tests.fake_providers import KEY, PROFILE_KEYS, FakeProviders, Fault, fake_vector

DOCUMENT, QUERY = EmbeddingRole.DOCUMENT, EmbeddingRole.QUERY
COHERE = {"embedding_types": ["float"], "truncate": "NONE"}
BASE64 = {"encoding_format": "base64"}
VOYAGE = {"truncation": False, **BASE64, "output_dtype": "float"}
SEARCH = {DOCUMENT: "search_document", QUERY: "search_query"}
PASSAGE = {DOCUMENT: "retrieval.passage", QUERY: "retrieval.query"}
OF_VOYAGE = {DOCUMENT: "document", QUERY: "query"}
NO_ROLE: dict[EmbeddingRole, str] = {}
# Model -> path, field of the texts, of the role, its values, field of the dimensions, what is sent besides.
REQUESTS: dict[str, tuple[str, str, str, dict[EmbeddingRole, str], str, dict[str, Any]]] = {
    "cohere:embed-english-v3.0": ("/v2/embed", "texts", "input_type", SEARCH, "", COHERE),
    "cohere:embed-v4.0": ("/v2/embed", "texts", "input_type", SEARCH, "output_dimension", COHERE),
    "cohere:embed-v5.0-fast": ("/v2/embed", "texts", "input_type", SEARCH, "output_dimension", COHERE),
    "voyage:voyage-3.5": ("/v1/embeddings", "input", "input_type", OF_VOYAGE, "output_dimension", VOYAGE),
    "jina:jina-embeddings-v3": (
        *("/v1/embeddings", "input", "task", PASSAGE, "dimensions"),
        {"embedding_type": "float"},
    ),
    "jina:jina-embeddings-v4": (
        *("/v1/embeddings", "input", "task", PASSAGE, "dimensions"),
        {"embedding_type": "float"},
    ),
    "jina:jina-embeddings-v2-base-de": (
        *("/v1/embeddings", "input", "", NO_ROLE, "dimensions"),
        {"embedding_type": "float"},
    ),
    "mistral:mistral-embed": ("/v1/embeddings", "input", "", NO_ROLE, "", {}),
    "mistral:codestral-embed": ("/v1/embeddings", "input", "", NO_ROLE, "output_dimension", {}),
    "openai:text-embedding-3-small": ("/v1/embeddings", "input", "", NO_ROLE, "dimensions", BASE64),
    "azure:my-deployment": ("/openai/v1/embeddings", "input", "", NO_ROLE, "dimensions", BASE64),
    "vllm:BAAI/bge-m3": ("/v1/embeddings", "input", "", NO_ROLE, "dimensions", BASE64),
    "lmstudio:nomic": ("/v1/embeddings", "input", "", NO_ROLE, "", {}),
    "llamacpp:any": ("/v1/embeddings", "input", "", NO_ROLE, "", BASE64),
    "tei:any": ("/embed", "inputs", "", NO_ROLE, "dimensions", {"truncate": False}),
    "bedrock:cohere.embed-english-v3": (
        *("/model/cohere.embed-english-v3/invoke", "texts", "input_type", SEARCH, ""),
        COHERE,
    ),
    "bedrock:eu.cohere.embed-v4:0": (
        *("/model/eu.cohere.embed-v4%3A0/invoke", "texts", "input_type", SEARCH, "output_dimension"),
        COHERE,
    ),
}
WITHOUT_MODEL = ("tei", "bedrock")


def unit(texts: list[str], dimensions: int) -> Vectors:
    rows = np.array([fake_vector(text, dimensions) for text in texts])
    scaled: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


@pytest.mark.parametrize("role", [DOCUMENT, QUERY], ids=["document", "query"])
@pytest.mark.parametrize("dimensions", [None, 256])
@pytest.mark.parametrize("model", REQUESTS)
def test_a_service_is_sent(
    fake: FakeProviders, model: str, dimensions: int | None, role: EmbeddingRole
) -> None:
    path, texts_field, role_field, roles, dimensions_field, fields = REQUESTS[model]
    provider, _, name = model.partition(":")
    client = EmbeddingClient(model, dimensions=dimensions, warn=False)
    rows = client.embeddings(["a b", "c d"], embedding_role=role)
    call = fake.calls[-1]  # a query is preceded by a document that tells the dimensions
    assert call.path == path
    assert call.headers["api-key" if provider == "azure" else "authorization"] in (KEY, f"Bearer {KEY}")
    assert call.body == {
        **({} if provider in WITHOUT_MODEL else {"model": name}),
        texts_field: ["a b", "c d"],
        **fields,
        **({role_field: roles[role]} if role_field else {}),
        **({dimensions_field: dimensions} if dimensions_field and dimensions else {}),
    }
    np.testing.assert_allclose(rows, unit(["a b", "c d"], dimensions or 768), atol=1e-6)


@pytest.mark.parametrize(("dimensions", "more"), [(None, {}), (256, {"dimensions": 256})])
def test_titan_is_sent_one_text_a_request(
    fake: FakeProviders, dimensions: int | None, more: dict[str, int]
) -> None:
    client = EmbeddingClient("bedrock:amazon.titan-embed-text-v2:0", dimensions=dimensions, concurrency=1)
    rows = client.embeddings(["a", "b"], embedding_role=DOCUMENT)
    assert [call.body for call in fake.calls] == [{"inputText": text, **more} for text in "ab"]
    assert {call.path for call in fake.calls} == {"/model/amazon.titan-embed-text-v2%3A0/invoke"}
    np.testing.assert_allclose(rows, unit(["a", "b"], dimensions or 768), atol=1e-6)
    assert client.usage.reported_tokens == 8


def test_azure_s_classic_api_has_the_deployment_in_its_path_and_a_version(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    EmbeddingClient("azure:my-deployment").embeddings(["a"], embedding_role=DOCUMENT)
    (call,) = fake.calls
    assert call.path == "/openai/deployments/my-deployment/embeddings?api-version=2024-10-21"
    assert call.headers["api-key"] == KEY
    assert "authorization" not in call.headers
    assert call.body == {"input": ["a"], **BASE64}


def test_a_deployment_is_the_model_of_its_family(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OMOP_EMB_MODEL_FAMILY", "text-embedding-3-small")
    fake.dimensions = 1536
    client = EmbeddingClient("azure:my-deployment", dimensions=512)
    client.embeddings(["a"], embedding_role=QUERY)
    assert fake.calls[-1].body["dimensions"] == 512
    assert not [line for line in caplog.messages if "Models trained with a prefix" in line]
    monkeypatch.setenv("OMOP_EMB_MODEL_FAMILY", "cohere:embed-v4.0")
    arn = "bedrock:arn:aws:bedrock:us-east-1:1:application-inference-profile/x"
    EmbeddingClient(arn).embeddings(["a"], embedding_role=QUERY)
    assert fake.calls[-1].body["input_type"] == "search_query"
    assert fake.calls[-1].path.endswith("%3Aapplication-inference-profile%2Fx/invoke")


def test_a_model_of_bedrock_without_a_known_family_is_refused(fake: FakeProviders) -> None:
    with pytest.raises(ConfigurationError, match="which model it is with OMOP_EMB_MODEL_FAMILY"):
        EmbeddingClient("bedrock:someone.new-embed-v1:0")


def test_tei_is_sent_a_prompt_s_name_if_one_is_chosen(fake: FakeProviders) -> None:
    client = EmbeddingClient("tei:any", tasks={QUERY: "query"})
    client.embeddings(["a"], embedding_role=QUERY)
    assert fake.calls[-1].body == {"inputs": ["a"], "prompt_name": "query", "truncate": False}
    client.embeddings(["a"], embedding_role=DOCUMENT)
    assert fake.calls[-1].body == {"inputs": ["a"], "truncate": False}
    assert client.fingerprint.query_task == "query"
    with pytest.raises(ConfigurationError, match="the task type 'query' tells tei:any a query's role"):
        EmbeddingClient("tei:any", tasks={QUERY: "query"}, query_prefix="query: ")


@pytest.mark.parametrize(
    ("model", "task"),
    [
        ("cohere:embed-v4.0", "clustering"),
        ("jina:jina-embeddings-v3", "text-matching"),
        ("bedrock:cohere.embed-english-v3", "classification"),
    ],
)
def test_other_uses_than_search_are_chosen_and_checked(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch, model: str, task: str
) -> None:
    for role in ("DOCUMENT", "QUERY"):
        monkeypatch.setenv(f"OMOP_EMB_{role}_EMBEDDING_TASK", task)
    chosen = EmbeddingClient(model).fingerprint
    assert (chosen.document_task, chosen.query_task) == (task, task)
    again = EmbeddingClient.for_fingerprint(chosen)
    again.embeddings(["a"], embedding_role=QUERY)
    body = fake.calls[-1].body
    assert (body.get("input_type") or body.get("task")) == task
    monkeypatch.setenv("OMOP_EMB_QUERY_EMBEDDING_TASK", "CLUSTERING")
    with pytest.raises(ConfigurationError, match="has no task type 'CLUSTERING'; there are"):
        EmbeddingClient(model)


@pytest.mark.parametrize("model", [model for model, request in REQUESTS.items() if request[2]])
def test_a_prefix_beside_a_role_field_is_refused(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("OMOP_EMB_QUERY_EMBEDDING_PREFIX", "query: ")
    with pytest.raises(ConfigurationError, match=r"QUERY_EMBEDDING_PREFIX is 'query: '.*unset the prefix"):
        EmbeddingClient(model)


@pytest.mark.parametrize("model", ["mistral:mistral-embed", "vllm:BAAI/bge-m3", "jina:jina-embeddings-v2"])
def test_a_task_type_is_refused_where_there_is_no_field_for_it(fake: FakeProviders, model: str) -> None:
    with pytest.raises(ConfigurationError, match="takes no task types"):
        EmbeddingClient(model, tasks={QUERY: "clustering"})


@pytest.mark.parametrize(
    ("model", "status", "body", "error"),
    [
        (
            "cohere:embed-v4.0",
            400,
            {"message": "invalid request: total number of texts must be at most 96 - received 131"},
            BatchTooLargeError,
        ),
        (
            "voyage:voyage-3.5",
            400,
            {
                "detail": "Request to model 'voyage-3.5' failed. The max allowed tokens per submitted batch "
                "is 120000. Your batch has 124417 tokens after truncation."
            },
            BatchTooLargeError,
        ),
        (
            "mistral:mistral-embed",
            400,
            {"object": "error", "message": "Too many tokens in batch. Max is 16384 got 17555"},
            BatchTooLargeError,
        ),
        (
            "mistral:mistral-embed",
            400,
            {"message": "Too many inputs in request, split into more batches.", "code": 3210},
            BatchTooLargeError,
        ),
        (
            "jina:jina-embeddings-v4",
            422,
            {"detail": "Each input list can contain at most 512 items.. Field errors: : Invalid value"},
            BatchTooLargeError,
        ),
        (
            "tei:any",
            413,
            {"error": "batch size 40 > maximum allowed batch size 32", "error_type": "validation"},
            BatchTooLargeError,
        ),
        (
            "tei:any",
            413,
            {"error": "inputs must have less than 512 tokens. Given: 700", "error_type": "validation"},
            TextRejectedError,
        ),
        (
            "bedrock:cohere.embed-english-v3",
            400,
            {"message": "Malformed input request: #/texts/0: expected maxLength: 2048, actual: 19882"},
            TextRejectedError,
        ),
        (
            "bedrock:cohere.embed-english-v3",
            400,
            {"__type": "ServiceQuotaExceededException", "message": "over your quota"},
            QuotaExhaustedError,
        ),
    ],
)
def test_a_service_s_own_words_are_understood(
    fake: FakeProviders, model: str, status: int, body: dict[str, object], error: type[Exception]
) -> None:
    provider = EmbeddingClient(model)._embedder.provider
    provider.embed_batch(["a"], QUERY, timeout_seconds=10)  # so that no option is doubted
    fake.always(Fault(status, json.dumps(body)))
    with pytest.raises(error) as caught:
        provider.embed_batch(["a", "b"], QUERY, timeout_seconds=10)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("cohere:embed-v4.0", "CO_API_KEY"),
        ("voyage:voyage-4", "VOYAGE_API_KEY"),
        ("jina:jina-embeddings-v3", "JINA_API_KEY"),
        ("mistral:mistral-embed", "MISTRAL_API_KEY"),
        ("azure:x", "AZURE_OPENAI_API_KEY"),
    ],
)
def test_a_missing_key_says_which_variable_to_set(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch, model: str, variable: str
) -> None:
    monkeypatch.delenv(variable)
    with pytest.raises(ConfigurationError, match=f"export {variable}="):
        EmbeddingClient(model).embeddings(["a"], embedding_role=QUERY)
    assert fake.calls == []


def test_a_missing_address_or_region_says_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="export AZURE_OPENAI_ENDPOINT=https"):
        EmbeddingClient("azure:x")
    with pytest.raises(ConfigurationError, match="needs AWS_REGION or AWS_DEFAULT_REGION"):
        EmbeddingClient("bedrock:amazon.titan-embed-text-v2:0")
    monkeypatch.setenv("AWS_REGION", "evil.example/")
    with pytest.raises(ConfigurationError, match="AWS_REGION"):
        EmbeddingClient("bedrock:amazon.titan-embed-text-v2:0")


def test_own_servers_need_no_key(fake: FakeProviders, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROFILE_KEYS:
        monkeypatch.delenv(name)
    for model in ("vllm:m", "tei:m", "lmstudio:m", "llamacpp:m"):
        EmbeddingClient(model).embeddings(["a"], embedding_role=QUERY)
        assert "authorization" not in fake.calls[-1].headers


def test_every_variable_of_a_profile_is_documented_and_every_known_model_has_its_role() -> None:
    documented = {variable.name for variable in config.VARIABLES}
    for provider in profile_names():
        for model in ("m", "embed-v4.0", "titan-embed-text-v2"):
            assert set(profile_of(provider, model).variables) <= documented
    for known in known_models():
        provider, _, name = known.name.partition(":")
        if provider in profile_names():
            profile = profile_of(provider, name)
            values = {DOCUMENT: known.document, QUERY: known.query} if known.role == "task" else {}
            assert {role: value for role, value in profile.role_values.items() if value} == values


def test_bedrock_is_signed_as_the_aws_sdk_signs(fake: FakeProviders, monkeypatch: pytest.MonkeyPatch) -> None:
    auth = pytest.importorskip("botocore.auth")
    awsrequest = pytest.importorskip("botocore.awsrequest")
    credentials = pytest.importorskip("botocore.credentials")
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session")
    EmbeddingClient("bedrock:amazon.titan-embed-text-v2:0").embeddings(["a b"], embedding_role=DOCUMENT)
    (call,) = fake.calls
    headers = {name: call.headers[name] for name in ("host", "content-type")}
    request = awsrequest.AWSRequest(
        "POST", fake.url + call.path, data=json.dumps(call.body, separators=(",", ":")), headers=headers
    )
    request.context["timestamp"] = call.headers["x-amz-date"]
    signer = auth.SigV4Auth(
        credentials.Credentials("AKIDEXAMPLE", KEY, "a-session"), "bedrock", "eu-central-1"
    )
    request.headers["X-Amz-Date"] = call.headers["x-amz-date"]
    request.headers["X-Amz-Security-Token"] = "a-session"
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert call.headers["authorization"].endswith(f"Signature={signature}")
    assert "/eu-central-1/bedrock/aws4_request" in call.headers["authorization"]
    assert KEY not in str(call.headers)


def test_bedrock_without_credentials_says_what_to_do(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises((ConfigurationError, MissingExtraError), match=r"AWS_BEARER_TOKEN_BEDROCK|bedrock"):
        EmbeddingClient("bedrock:amazon.titan-embed-text-v2:0").embeddings(["a"], embedding_role=QUERY)
    assert fake.calls == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(429, '{"message": "Too many requests"}'), "fewer requests"),
        (Fault(body='{"inputTextTokenCount": 1}'), "something other than embeddings"),
        (Fault(change=lambda rows: []), "not vectors of one length"),
        (Fault(change=lambda rows: [[float("nan")] * len(rows[0])]), "zeros or NaN"),
        (Fault(400, '{"message": "Too many input tokens. Max input tokens: 8192"}'), "longer than bedrock:"),
    ],
    ids=["429", "no vector", "empty vector", "NaN", "too long"],
)
def test_a_lasting_fault_of_titan_is_one_line(fake: FakeProviders, fault: Fault, expected: str) -> None:
    policy = RetryPolicy(timeout_seconds=10, max_attempts=2, deadline_seconds=30, first_wait_seconds=0.01)
    client = EmbeddingClient("bedrock:amazon.titan-embed-text-v2:0", warn=False, bulk_retries=policy)
    fake.always(fault)
    with pytest.raises(ProviderError, match=expected) as caught:
        client.embeddings(["words of a patient"], embedding_role=DOCUMENT)
    assert "\n" not in str(caught.value)
    assert "words of a patient" not in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "version", "path"),
    [
        ("azure:gpt", "", "/openai/v1/chat/completions"),
        ("azure:gpt", "2024-10-21", "/openai/deployments/gpt/chat/completions?api-version=2024-10-21"),
        ("mistral:small", "", "/v1/chat/completions"),
        ("lmstudio:any", "", "/v1/chat/completions"),
    ],
)
def test_a_judge_is_asked_at_its_service_s_own_path(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch, model: str, version: str, path: str
) -> None:
    monkeypatch.setenv("OPENAI_API_VERSION", version)
    with pytest.raises(ProviderError, match="was not found"):  # the local server answers no questions
        make_chat_model(model).ask("s", "q", {}, timeout_seconds=10)
    assert fake.calls[-1].path == path
    assert KEY in fake.calls[-1].headers["api-key" if model.startswith("azure") else "authorization"]
    with pytest.raises(ConfigurationError, match="a judge must be named provider:model"):
        make_chat_model("cohere:embed-v4.0")
