"""Every known model: what is recorded of it, and what exactly is sent for a document and for a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.embeddings.models import advice, find_model, known_models
from omop_emb.errors import ConfigurationError
from tests.fake_hub import FakeHub
from tests.fake_providers import FakeProviders
from tests.tiny_models import spelled, spelling_folder

DOCUMENT, QUERY = EmbeddingRole.DOCUMENT, EmbeddingRole.QUERY
PASSAGES = "Represent this sentence for searching relevant passages: "
INSTRUCT = "Instruct: Given a clinical term, retrieve the concept that means the same\nQuery:"
TITLE, SEARCH = "title: none | text: ", "task: search result | query: "


@dataclass(frozen=True)
class Row:
    """A row of the tables that the registry was written from; the prefixes are those of the models' cards."""

    model: str
    dimensions: int
    max_tokens: int
    document: str = ""
    query: str = ""
    role: str = "prefix"
    matryoshka: tuple[int, ...] = ()


GEMINI = [
    Row("gemini-embedding-001", 3072, 2048, "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY", "task", (1536, 768)),
    Row("gemini-embedding-2", 3072, 8192, TITLE, SEARCH, matryoshka=(1536, 768)),
    Row("gemini-embedding-2-preview", 3072, 8192, TITLE, SEARCH, matryoshka=(1536, 768)),
]
OLLAMA = [
    Row(
        "nomic-embed-text", 768, 2048, "search_document: ", "search_query: ", matryoshka=(512, 256, 128, 64)
    ),
    Row(
        "nomic-embed-text:v1.5", 768, 2048, "search_document: ", "search_query: ",
        matryoshka=(512, 256, 128, 64),
    ),
    Row("nomic-embed-text-v2-moe", 768, 512, "search_document: ", "search_query: ", matryoshka=(256,)),
    Row("embeddinggemma", 768, 2048, TITLE, SEARCH, matryoshka=(512, 256, 128)),
    Row("embeddinggemma-2", 768, 8192, TITLE, SEARCH, matryoshka=(512, 256, 128)),
    Row("mxbai-embed-large", 1024, 512, "", PASSAGES, matryoshka=(512,)),
    Row("bge-m3", 1024, 8192, role="none"),
    Row("bge-large", 1024, 512, "", PASSAGES),
    Row("snowflake-arctic-embed2", 1024, 8192, "", "query: ", matryoshka=(256,)),
    Row("snowflake-arctic-embed", 1024, 512, "", PASSAGES),
    Row("snowflake-arctic-embed:137m", 768, 2048, "", PASSAGES),
    Row("qwen3-embedding:0.6b", 1024, 32768, "", INSTRUCT, matryoshka=(512, 256)),
    Row("qwen3-embedding:4b", 2560, 32768, "", INSTRUCT, matryoshka=(1024, 512, 256)),
    Row("qwen3-embedding", 4096, 32768, "", INSTRUCT, matryoshka=(2560, 1024, 512, 256)),
    Row("qwen3-embedding:8b", 4096, 32768, "", INSTRUCT, matryoshka=(2560, 1024, 512, 256)),
    Row("all-minilm", 384, 256, role="none"),
    Row("granite-embedding", 384, 512, role="none"),
    Row("granite-embedding:278m", 768, 512, role="none"),
]  # fmt: skip
PACKAGED_E5 = Row("multilingual-e5-small", 384, 512, role="library")
LOCAL = [
    Row("all-MiniLM-L6-v2", 384, 256, role="none"),
    Row("BAAI/bge-large-en-v1.5", 1024, 512, "", PASSAGES),
    Row("BAAI/bge-base-en-v1.5", 768, 512, "", PASSAGES),
    Row("BAAI/bge-small-en-v1.5", 384, 512, "", PASSAGES),
    Row("intfloat/e5-large-v2", 1024, 512, "passage: ", "query: "),
    Row("intfloat/e5-base-v2", 768, 512, "passage: ", "query: "),
    Row("intfloat/e5-small-v2", 384, 512, "passage: ", "query: "),
    Row("intfloat/multilingual-e5-large", 1024, 512, "passage: ", "query: "),
    Row("intfloat/multilingual-e5-base", 768, 512, "passage: ", "query: "),
    Row("intfloat/multilingual-e5-small", 384, 512, "passage: ", "query: "),
    Row("intfloat/multilingual-e5-large-instruct", 1024, 512, "", f"{INSTRUCT} "),
    Row("ibm-granite/granite-embedding-english-r2", 768, 8192, role="none"),
    Row("jinaai/jina-embeddings-v5-text-small", 1024, 32768, "Document: ", "Query: ",
        matryoshka=(512, 256, 128, 64, 32)),
    Row("jinaai/jina-embeddings-v5-text-nano", 768, 8192, "Document: ", "Query: ",
        matryoshka=(512, 256, 128, 64, 32)),
    Row("cambridgeltl/SapBERT-from-PubMedBERT-fulltext", 768, 512, role="none"),
    Row("FremyCompany/BioLORD-2023", 768, 512, role="none"),
    Row("FremyCompany/BioLORD-2023-M", 768, 512, role="none"),
    Row("FremyCompany/BioLORD-2023-C", 768, 512, role="none"),
    Row("NeuML/pubmedbert-base-embeddings", 768, 512, role="none"),
    Row("abhinand/MedEmbed-small-v0.1", 384, 512, role="none"),
    Row("abhinand/MedEmbed-base-v0.1", 768, 512, role="none"),
    Row("abhinand/MedEmbed-large-v0.1", 1024, 512, role="none"),
]  # fmt: skip
MEDCPT = Row("ncbi/MedCPT-Article-Encoder,ncbi/MedCPT-Query-Encoder", 768, 512, role="two encoders")
OPENAI = [
    Row("text-embedding-3-small", 1536, 8191, role="none", matryoshka=(512, 256)),
    Row("text-embedding-3-large", 3072, 8191, role="none", matryoshka=(1024, 256)),
]
JINA_3 = Row("jinaai/jina-embeddings-v3", 1024, 8192, role="adapters", matryoshka=(512, 256, 128, 64, 32))
COHERE_V3 = ("search_document", "search_query", "task")
COHERE = [
    Row("embed-v5.0-pro", 2048, 128000, *COHERE_V3, (1536, 1024, 768, 512, 256)),
    Row("embed-v5.0-fast", 2048, 128000, *COHERE_V3, (1536, 1024, 768, 512, 256)),
    Row("embed-v4.0", 1536, 128000, *COHERE_V3, (1024, 512, 256)),
    Row("embed-english-v3.0", 1024, 512, *COHERE_V3),
    Row("embed-multilingual-v3.0", 1024, 512, *COHERE_V3),
    Row("embed-english-light-v3.0", 384, 512, *COHERE_V3),
    Row("embed-multilingual-light-v3.0", 384, 512, *COHERE_V3),
]
VOYAGE = [
    Row(name, 1024, 32000, "document", "query", "task", (512, 256))
    for name in (
        *("voyage-4-large", "voyage-4", "voyage-4-lite"),
        *("voyage-3-large", "voyage-3.5", "voyage-3.5-lite"),
    )
]
JINA_TASKS = ("retrieval.passage", "retrieval.query", "task")
JINA = [
    Row("jina-embeddings-v3", 1024, 8192, *JINA_TASKS, (512, 256, 128, 64, 32)),
    Row("jina-embeddings-v4", 2048, 32768, *JINA_TASKS, (1024, 512, 256, 128)),
]
MISTRAL = [Row("mistral-embed", 1024, 8192, role="none")]
BEDROCK = [
    Row("cohere.embed-v4:0", 1536, 128000, *COHERE_V3, (1024, 512, 256)),
    Row("cohere.embed-english-v3", 1024, 512, *COHERE_V3),
    Row("cohere.embed-multilingual-v3", 1024, 512, *COHERE_V3),
    Row("amazon.titan-embed-text-v2:0", 1024, 8192, role="none", matryoshka=(512, 256)),
]
SERVICES = {"cohere": COHERE, "voyage": VOYAGE, "jina": JINA, "mistral": MISTRAL, "bedrock": BEDROCK}
ROWS = {
    f"{provider}:{row.model}": row
    for provider, rows in (
        ("gemini", GEMINI),
        ("ollama", OLLAMA),
        ("openai", OPENAI),
        ("local", [*LOCAL, MEDCPT, JINA_3, PACKAGED_E5]),
        *SERVICES.items(),
    )
    for row in rows
}


def named(rows: Sequence[Row]) -> list[str]:
    return [row.model for row in rows]


@pytest.mark.parametrize("name", ROWS)
def test_a_model_is_recorded_as_its_card_says(name: str) -> None:
    row, known = ROWS[name], find_model(name)
    assert known is not None
    assert (known.dimensions, known.max_tokens, known.role) == (row.dimensions, row.max_tokens, row.role)
    assert known.matryoshka == row.matryoshka
    assert (known.document, known.query) == (row.document, row.query)
    if row.role == "prefix":
        right = {role: text for role, text in ((DOCUMENT, row.document), (QUERY, row.query)) if text}
        assert advice(name, right) == []


def test_every_recorded_model_has_a_row_here() -> None:
    recorded = {name for known in known_models() for name in (known.name, *known.aliases)}
    assert recorded == set(ROWS) - {"ollama:nomic-embed-text:v1.5", "ollama:qwen3-embedding:8b"}


def client_of(name: str, dimensions: int | None = None) -> EmbeddingClient:
    row = ROWS[name]
    prefixes = (row.document, row.query) if row.role == "prefix" else ("", "")
    return EmbeddingClient(
        name, dimensions=dimensions, document_prefix=prefixes[0], query_prefix=prefixes[1], warn=False
    )


@pytest.mark.parametrize("row", GEMINI, ids=named(GEMINI))
@pytest.mark.parametrize("dimensions", [None, 768])
def test_gemini_is_sent(fake: FakeProviders, row: Row, dimensions: int | None) -> None:
    client = client_of(f"gemini:{row.model}", dimensions)
    for role, wanted in ((DOCUMENT, row.document), (QUERY, row.query)):
        client.embeddings(["ab"], embedding_role=role)
        request = {"model": f"models/{row.model}"}
        text = "ab" if row.role == "task" else f"{wanted}ab"
        assert fake.calls[-1].path == f"/v1/models/{row.model}:batchEmbedContents"
        assert fake.calls[-1].body == {
            "requests": [
                {
                    **request,
                    "content": {"parts": [{"text": text}]},
                    **({"taskType": wanted} if row.role == "task" else {}),
                    **({"outputDimensionality": dimensions} if dimensions else {}),
                }
            ]
        }


def test_the_model_that_google_shut_down_is_refused_with_its_successors() -> None:
    for name in ("gemini:text-embedding-004", "gemini:models/text-embedding-004"):
        with pytest.raises(ConfigurationError, match=r"gemini-embedding-2 or .*-001 and embed everything"):
            EmbeddingClient(name)


@pytest.mark.parametrize("row", OLLAMA, ids=named(OLLAMA))
def test_ollama_is_sent(fake: FakeProviders, row: Row) -> None:
    fake.dimensions = row.dimensions
    fake.ollama_models = {row.model if ":" in row.model else f"{row.model}:latest": "sha256:abcd"}
    for dimensions in (None, *row.matryoshka):
        client = client_of(f"ollama:{row.model}", dimensions)
        for role, prefix in ((DOCUMENT, row.document), (QUERY, row.query)):
            rows = client.embeddings(["ab"], embedding_role=role)
            call = [call for call in fake.calls if call.path == "/api/embed"][-1]
            assert call.body == {
                "model": row.model,
                "input": [f"{prefix}ab"],
                "truncate": False,
                "keep_alive": "30m",
                **({"dimensions": dimensions} if dimensions else {}),
            }
            assert rows.shape == (1, dimensions or row.dimensions)
        assert client.fingerprint.revision == "sha256:abcd"


@pytest.mark.parametrize("row", OPENAI, ids=named(OPENAI))
def test_openai_is_sent(fake: FakeProviders, row: Row) -> None:
    fake.dimensions = row.dimensions
    for dimensions in (None, *row.matryoshka):
        client = client_of(f"openai:{row.model}", dimensions)
        for role in EmbeddingRole:
            rows = client.embeddings(["ab"], embedding_role=role)
            assert fake.calls[-1].body == {
                "model": row.model,
                "input": ["ab"],
                "encoding_format": "base64",
                **({"dimensions": dimensions} if dimensions else {}),
            }
            assert rows.shape == (1, dimensions or row.dimensions)


SERVED = [(provider, row) for provider, rows in SERVICES.items() for row in rows]


@pytest.mark.parametrize(("provider", "row"), SERVED, ids=[f"{name}-{row.model}" for name, row in SERVED])
def test_a_service_is_sent_the_role_once(fake: FakeProviders, provider: str, row: Row) -> None:
    fake.dimensions = row.dimensions
    for dimensions in (None, *row.matryoshka):
        client = client_of(f"{provider}:{row.model}", dimensions)
        for role, value in ((DOCUMENT, row.document), (QUERY, row.query)):
            rows = client.embeddings(["ab"], embedding_role=role)
            body = fake.calls[-1].body
            assert fake.calls[-1].texts == ["ab"]
            assert [body[name] for name in ("input_type", "task") if name in body] == (
                [value] if value else []
            )
            asked = [body[name] for name in ("dimensions", "output_dimension") if name in body]
            assert asked == ([dimensions] if dimensions else [])
            assert rows.shape == (1, dimensions or row.dimensions)
        fingerprint = client.fingerprint
        assert (fingerprint.document_task, fingerprint.query_task) == (row.document, row.query)
        assert client_of(f"{provider}:{row.model}", dimensions).setting_warnings() == []


@pytest.fixture
def on_hub(hub: FakeHub, tmp_path: Path) -> None:
    """Every local row's name on the hub, all of them one model that tells what its session receives."""
    one = spelling_folder(tmp_path / "one", mark=1)
    two = spelling_folder(tmp_path / "two", mark=2)
    hub.models.update({row.model: one for row in LOCAL[1:]})
    hub.models.update({"ncbi/MedCPT-Article-Encoder": one, "ncbi/MedCPT-Query-Encoder": two})


@pytest.mark.usefixtures("on_hub")
@pytest.mark.parametrize("row", LOCAL[1:], ids=named(LOCAL[1:]))
def test_a_local_model_s_session_receives(row: Row) -> None:
    client = client_of(f"local:{row.model}")
    for role, prefix in ((DOCUMENT, row.document), (QUERY, row.query)):
        rows = client.embeddings(["aB c"], embedding_role=role)
        np.testing.assert_allclose(rows, [spelled(f"{prefix}aB c", mark=1)], atol=1e-6)


@pytest.mark.usefixtures("on_hub")
def test_each_role_has_its_own_encoder_in_one_space() -> None:
    client = client_of(f"local:{MEDCPT.model}")
    for role, mark in ((DOCUMENT, 1), (QUERY, 2)):
        rows = client.embeddings(["aB c"], embedding_role=role)
        np.testing.assert_allclose(rows, [spelled("aB c", mark=mark)], atol=1e-6)
    alone = EmbeddingClient(f"local:{MEDCPT.model.partition(',')[0]}", warn=False)
    assert client.fingerprint != alone.fingerprint
    assert client.fingerprint.revision.count("+") == 1


@pytest.mark.usefixtures("on_hub")
def test_a_model_that_wants_an_adapter_chosen_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    hub.models[JINA_3.model] = spelling_folder(tmp_path / "adapters", more_inputs=["task_id"])
    with pytest.raises(ConfigurationError, match="needs task_id, for which omop-emb has no value"):
        client_of(f"local:{JINA_3.model}").embeddings(["ab"], embedding_role=QUERY)
