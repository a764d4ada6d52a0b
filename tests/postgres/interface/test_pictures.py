"""Pictures: concepts with their picture as documents, and pictures as queries, in a space of Gemini."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from omop_emb import EmbeddingClient, EmbeddingInterface, EmbeddingRole, Part
from omop_emb.errors import ConfigurationError, InputError, TextRejectedError
from omop_emb.indexing.verify import verify_index
from omop_emb.providers.parts import EmbeddingInput
from tests.fake_providers import FakeProviders, Fault, media_text
from tests.media_files import png

HEART, PUMP, PLAIN = 4217142, 4030875, 316866


@pytest.fixture
def client(fake: FakeProviders) -> EmbeddingClient:
    # The same prefix for both roles: what is equal gets an equal vector, of a query and of a document.
    return EmbeddingClient("gemini:gemini-embedding-2", dimensions=768, warn=False)


@pytest.fixture
def interface(client: EmbeddingClient) -> EmbeddingInterface:
    return EmbeddingInterface(client)


def embed(interface: EmbeddingInterface, session: Session, **pictures: bytes) -> tuple[int, int]:
    """Two concepts with pictures and one without; how many rows were written and deleted."""
    documents: list[EmbeddingInput] = [
        ["Heart structure", Part.image(pictures.get("heart", png(1)))],
        [Part.image(png(2)), "Infusion pump"],
        "Hypertensive disorder",
    ]
    result = interface.embed_and_upsert_concepts(
        session=session, index_type="flat", concept_ids=(HEART, PUMP, PLAIN), concept_texts=documents
    )
    return result.written, result.deleted


def stored(session: Session) -> dict[int, tuple[str, int]]:
    """Of each concept its text and that text's hash."""
    rows = session.execute(text("select concept_id, text, text_hash from omop_emb.space_1_text")).all()
    return {concept_id: (shown, hash_) for concept_id, shown, hash_ in rows}


def test_a_picture_finds_the_concept_that_was_embedded_with_it(
    interface: EmbeddingInterface, session: Session
) -> None:
    assert embed(interface, session) == (3, 0)
    found = interface.get_nearest_concepts_from_query_texts(
        session=session,
        query_texts=[
            ["Heart structure", Part.image(png(1))],
            "Hypertensive disorder",
            [Part.image(png(2)), "Infusion pump"],
            ["Heart structure", Part.image(png(1))],
        ],
        k=1,
    )
    assert [(match.concept_id, match.matched_text) for (match,) in found] == [
        (HEART, "Heart structure"),
        (PLAIN, "Hypertensive disorder"),
        (PUMP, "Infusion pump"),
        (HEART, "Heart structure"),
    ]
    assert min(match.similarity for (match,) in found) > 0.999


def test_only_a_changed_picture_is_another_row(interface: EmbeddingInterface, session: Session) -> None:
    embed(interface, session)
    before = stored(session)
    assert embed(interface, session) == (0, 0)
    assert embed(interface, session, heart=png(9)) == (1, 1)
    after = stored(session)
    assert {key: shown for key, (shown, _) in after.items()} == {
        key: shown for key, (shown, _) in before.items()
    }
    assert {key for key in before if before[key] != after[key]} == {HEART}


def test_vectors_of_ones_own_bear_the_hash_of_their_parts(
    interface: EmbeddingInterface, client: EmbeddingClient, session: Session
) -> None:
    embed(interface, session)
    document: EmbeddingInput = ["Heart structure", Part.image(png(1))]
    vectors = client.embeddings([document], embedding_role=EmbeddingRole.DOCUMENT)

    def upsert(given: EmbeddingInput) -> tuple[int, int]:
        result = interface.upsert_concept_embeddings(
            session=session, index_type="flat", concept_ids=[HEART], concept_texts=[given], embeddings=vectors
        )
        return result.written, result.deleted

    assert upsert(document) == (0, 0)
    assert upsert(["Heart structure", Part.image(png(9))]) == (1, 1)
    assert upsert("Heart structure") == (1, 1)


def test_the_mean_of_a_query_s_parts_is_searched_with(
    interface: EmbeddingInterface, client: EmbeddingClient, session: Session
) -> None:
    embed(interface, session)
    query: EmbeddingInput = ["Hypertensive disorder", Part.image(png(2))]
    ((match, *_),) = interface.get_nearest_concepts_from_query_texts(
        session=session, query_texts=[query], combine="mean"
    )
    first, second = client.embeddings(["Hypertensive disorder", Part.image(png(2))], embedding_role="query")
    expected = (first + second) @ first / np.linalg.norm(first + second)
    assert match.concept_id == PLAIN
    assert match.similarity == pytest.approx(float(expected), abs=1e-3)
    result = interface.explain_search(session=session, query_texts=[query], combine="mean", k=1)
    assert result.matches[0][0].similarity == pytest.approx(match.similarity)


def test_a_rejected_picture_of_a_query_names_its_position(
    interface: EmbeddingInterface, session: Session, fake: FakeProviders
) -> None:
    embed(interface, session)
    fake.poison(media_text("image/png", png(7)), Fault(400, "{}"))
    with pytest.raises(TextRejectedError, match=r"^input 3 cannot be embedded") as caught:
        interface.get_nearest_concepts_from_query_texts(
            session=session, query_texts=["fever", "fever", "fever", Part.image(png(7))]
        )
    assert caught.value.positions == (3,)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (Part.image(png()), "has parts but no text: add a text that searches can show"),
        ([Part.image(png())], "has parts but no text"),
        (["a\0b", Part.image(png())], "holds a NUL character"),
        (7, "must be a text; found int"),
    ],
)
def test_a_document_needs_a_text_that_searches_show(
    interface: EmbeddingInterface, session: Session, document: EmbeddingInput, expected: str
) -> None:
    with pytest.raises(InputError, match=rf"concept_texts\[0\] {expected}"):
        interface.embed_and_upsert_concepts(
            session=session, index_type="flat", concept_ids=[HEART], concept_texts=[document]
        )


def test_a_space_of_a_model_of_text_takes_no_pictures(session: Session) -> None:
    interface = EmbeddingInterface(EmbeddingClient("local:all-MiniLM-L6-v2", warn=False))
    with pytest.raises(ConfigurationError, match="reads text only"):
        embed(interface, session)
    with pytest.raises(ConfigurationError, match="reads text only"):
        interface.upsert_concept_embeddings(
            session=session,
            index_type="flat",
            concept_ids=[HEART],
            concept_texts=[["Heart", Part.image(png())]],
            embeddings=np.ones((1, 384)),
        )


def test_verification_embeds_texts_again_and_leaves_pictures(
    interface: EmbeddingInterface, client: EmbeddingClient, session: Session, fake: FakeProviders
) -> None:
    embed(interface, session)
    session.commit()
    fake.calls.clear()
    assert isinstance(session.bind, Engine)
    checks = {check.check: check for check in verify_index(session.bind, client=client)}
    assert [check for check in checks.values() if not check.ok and check.check != "build"] == []
    assert checks["model"].details.startswith("1 text embedded again")
    assert [call.texts for call in fake.calls] == [["Hypertensive disorder"]]
