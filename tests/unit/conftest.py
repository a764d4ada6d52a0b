"""A server that speaks the providers' protocols, and each provider talking to it with its real SDK."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.providers import make_provider
from omop_emb.providers.base import Provider
from tests.fake_hub import FakeHub, fake_hub
from tests.fake_providers import FakeProviders

REMOTE = {
    "gemini": "gemini:gemini-embedding-001",
    "ollama": "ollama:nomic-embed-text",
    "openai": "openai:served-model",
}
# One model of each profile, and of each shape of request or answer.
PROFILED = {
    "azure": "azure:my-deployment",
    "cohere": "cohere:embed-v4.0",
    "voyage": "voyage:voyage-3.5",
    "jina": "jina:jina-embeddings-v3",
    "mistral": "mistral:mistral-embed",
    "vllm": "vllm:served-model",
    "tei": "tei:served-model",
    "lmstudio": "lmstudio:served-model",
    "llamacpp": "llamacpp:served-model",
    "bedrock": "bedrock:cohere.embed-english-v3",
}


@pytest.fixture(scope="session")
def remote_providers(fake_server: FakeProviders) -> dict[str, Provider]:
    """Each remote provider, its SDK's client made; making Gemini's anew for each test takes 0.2 s."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        fake_server.reset()  # of what the test before this one left there
        fake_server.point_to(monkeypatch)
        made = {name: make_provider(model) for name, model in {**REMOTE, **PROFILED}.items()}
        for provider in made.values():
            EmbeddingClient(provider=provider).embeddings(["warm"], embedding_role=EmbeddingRole.DOCUMENT)
    return made


@pytest.fixture(scope="session")
def hub_server() -> Iterator[FakeHub]:
    with fake_hub() as hub:
        yield hub


@pytest.fixture
def hub(hub_server: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeHub:
    """A hub without models, and an empty cache; the variables are read when huggingface_hub is imported."""
    hub_server.models.clear()
    hub_server.refusals.clear()
    hub_server.fetched.clear()
    monkeypatch.setattr(constants, "ENDPOINT", hub_server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub_server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    return hub_server
