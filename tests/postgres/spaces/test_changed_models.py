"""Changed models: weights that change under the same name are detected before vectors are mixed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from omop_emb import EmbeddingClient, EmbeddingInterface, IndexType, MetricType
from omop_emb.database.engine import driver_connection
from omop_emb.errors import SpaceMismatchError, SpaceNotFoundError
from omop_emb.indexing.build import build_index
from omop_emb.spaces import registry
from tests.fake_providers import FakeProviders, fake_providers
from tests.small_vocabulary import five_concepts
from tests.tiny_models import spelled, spelling_folder


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    with fake_providers() as fake:
        monkeypatch.setenv("OLLAMA_HOST", fake.url)
        yield fake


def test_a_tag_moved_to_other_weights_is_detected_and_gets_its_own_space(
    engine: Engine, tmp_path: Path, ollama: FakeProviders
) -> None:
    five_concepts(engine, tmp_path)

    def build() -> str:
        client = EmbeddingClient("ollama:nomic-embed-text", document_prefix="d: ", query_prefix="q: ")
        return build_index(engine, client, index_type=IndexType.FLAT).space_name

    first = build()
    with Session(engine) as session:
        EmbeddingInterface().get_nearest_concepts_from_query_texts(session=session, query_texts=("htn",))
    ollama.ollama_models = {"nomic-embed-text:latest": "sha256:bbbb"}
    with Session(engine) as session:
        with pytest.raises(SpaceMismatchError, match=r"sha256:bbbb.*sha256:aaaa|sha256:aaaa.*sha256:bbbb"):
            EmbeddingInterface().get_nearest_concepts_from_query_texts(session=session, query_texts=("htn",))
        moved = EmbeddingInterface(
            EmbeddingClient("ollama:nomic-embed-text", document_prefix="d: ", query_prefix="q: ")
        )
        with pytest.raises(SpaceNotFoundError, match="sha256:aaaa"):
            moved.get_nearest_concepts_from_query_texts(session=session, query_texts=("htn",))
    ollama.calls.clear()
    assert build() != first
    assert len([text for call in ollama.embedding_calls for text in call.texts]) == 6


def test_two_encoders_share_a_space_and_another_query_encoder_gets_its_own(
    engine: Engine, tmp_path: Path
) -> None:
    folders = [spelling_folder(tmp_path / name, mark=40 * place) for place, name in enumerate("abc")]
    model = f"local:{folders[0]},{folders[1]}"
    client = EmbeddingClient(model, document_prefix="", query_prefix="")
    with Session(engine) as session:
        EmbeddingInterface(client).embed_and_upsert_concepts(
            session=session, index_type=IndexType.FLAT, concept_ids=(1,), concept_texts=("aB",)
        )
        (space,) = registry.all_spaces(driver_connection(session))
        assert space.fingerprint.model == model.removeprefix("local:")
        # The active space's model is found again, each role with its own encoder.
        ((match,),) = EmbeddingInterface().get_nearest_concepts_from_query_texts(
            session=session, query_texts=("aB",), metric_type=MetricType.COSINE, k=1
        )
        expected = float(np.dot(spelled("aB", mark=0), spelled("aB", mark=40)))
        assert expected < 0.95
        assert match.similarity == pytest.approx(expected, abs=1e-3)
        other = EmbeddingClient(f"local:{folders[0]},{folders[2]}", document_prefix="", query_prefix="")
        with pytest.raises(SpaceNotFoundError):
            EmbeddingInterface(other).get_nearest_concepts_from_query_texts(
                session=session, query_texts=("aB",)
            )
