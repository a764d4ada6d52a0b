"""EmbeddingInterface with the packaged model: what a caller's session sees, and what is left of it."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from omop_emb import (
    EmbeddingClient,
    EmbeddingInterface,
    EmbeddingRole,
    IndexType,
    MetricType,
    OmopEmbError,
)
from omop_emb.errors import InputError, SpaceMismatchError, SpaceNotFoundError

CONCEPTS = {
    316866: "Hypertensive disorder",
    201826: "Type 2 diabetes mellitus",
    4329847: "Myocardial infarction",
    1503297: "Metformin",
}


@pytest.fixture(scope="module")
def client() -> EmbeddingClient:
    return EmbeddingClient("local:all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def interface(client: EmbeddingClient) -> EmbeddingInterface:
    return EmbeddingInterface(client)


@pytest.fixture(params=list(IndexType), ids=lambda index_type: index_type.value)
def index_type(request: pytest.FixtureRequest) -> IndexType:
    assert isinstance(request.param, IndexType)
    return request.param


def embed(interface: EmbeddingInterface, session: Session, index_type: IndexType, **concepts: str) -> None:
    chosen = {int(key[1:]): value for key, value in concepts.items()} or CONCEPTS
    interface.embed_and_upsert_concepts(
        session=session,
        index_type=index_type,
        concept_ids=tuple(chosen),
        concept_texts=tuple(chosen.values()),
    )


def first_ids(
    interface: EmbeddingInterface, session: Session, index_type: IndexType, *query_texts: str, k: int = 1
) -> list[int]:
    found = interface.get_nearest_concepts_from_query_texts(
        session=session,
        index_type=index_type,
        query_texts=query_texts,
        metric_type=MetricType.COSINE,
        k=k,
        concept_filter=None,
    )
    return [matches[0].concept_id for matches in found]


def test_a_term_is_found_on_a_fresh_database_and_again_on_the_same_one(
    interface: EmbeddingInterface, session: Session, index_type: IndexType
) -> None:
    for _ in range(2):
        embed(interface, session, index_type)
        assert first_ids(interface, session, index_type, "high blood pressure", "heart attack") == [
            316866,
            4329847,
        ]
    rows = session.execute(text("select count(*) from omop_emb.space_1")).scalar_one()
    assert rows == len(CONCEPTS)


def test_a_write_that_is_rolled_back_leaves_nothing(
    interface: EmbeddingInterface, engine: Engine, index_type: IndexType
) -> None:
    with Session(engine) as session:
        embed(interface, session, index_type)
        session.rollback()
    with Session(engine) as session, pytest.raises(SpaceNotFoundError, match="nothing is embedded here yet"):
        first_ids(interface, session, index_type, "heart attack")
    with engine.connect() as connection:
        left = connection.execute(text("select count(*) from pg_class where relname like 'space_1%'"))
        assert left.scalar_one() == 0


def test_another_session_sees_a_write_only_after_the_caller_commits(
    interface: EmbeddingInterface, engine: Engine
) -> None:
    with Session(engine) as writer, Session(engine) as reader:
        embed(interface, writer, IndexType.FLAT)
        with pytest.raises(SpaceNotFoundError):
            first_ids(interface, reader, IndexType.FLAT, "heart attack")
        writer.commit()
        assert first_ids(interface, reader, IndexType.FLAT, "heart attack") == [4329847]


def test_a_calls_texts_replace_the_concepts_earlier_texts(
    interface: EmbeddingInterface, session: Session, index_type: IndexType
) -> None:
    embed(interface, session, index_type, c1="Appendicitis", c2="Asthma")
    interface.embed_and_upsert_concepts(
        session=session, index_type=index_type, concept_ids=(1, 1), concept_texts=("Gout", "Podagra")
    )
    found = interface.get_nearest_concepts_from_query_texts(
        session=session, index_type=index_type, query_texts=("Podagra", "Appendicitis"), k=5
    )
    assert [sorted(m.concept_id for m in matches) for matches in found] == [[1, 2], [1, 2]]
    assert found[0][0].matched_text == "Podagra"
    assert "Appendicitis" not in {m.matched_text for matches in found for m in matches}


def test_lists_come_back_in_the_order_and_number_of_the_queries(
    interface: EmbeddingInterface, session: Session, index_type: IndexType
) -> None:
    embed(interface, session, index_type)
    queries = ("metformin", "heart attack", "metformin", "Diabète de type 2")
    assert first_ids(interface, session, index_type, *queries) == [1503297, 4329847, 1503297, 201826]
    assert first_ids(interface, session, index_type) == []


def test_the_callers_own_vectors_are_normalised_and_found(
    interface: EmbeddingInterface, client: EmbeddingClient, session: Session, index_type: IndexType
) -> None:
    matrix = client.embeddings(list(CONCEPTS.values()), embedding_role=EmbeddingRole.DOCUMENT)
    interface.upsert_concept_embeddings(
        session=session,
        index_type=index_type,
        concept_ids=list(CONCEPTS),
        concept_texts=list(CONCEPTS.values()),
        embeddings=matrix * 7.0,
    )
    query = client.embeddings(["heart attack"], embedding_role=EmbeddingRole.QUERY)
    found = interface.get_nearest_concepts(
        session=session,
        index_type=index_type,
        query_embeddings=query * 3.0,
        metric_type=MetricType.L2,
        k=2,
        concept_filter=None,
    )[0]
    assert found[0].concept_id == 4329847
    assert found[0].distance == pytest.approx((2 - 2 * found[0].similarity) ** 0.5, abs=1e-3)
    norms = session.execute(
        text("select min(l2_norm(embedding)), max(l2_norm(embedding)) from omop_emb.space_1")
    ).one()
    assert norms == pytest.approx((1, 1), abs=1e-3)


@pytest.mark.parametrize(
    ("ids", "texts", "message"),
    [
        ((1, 2), ("one",), "found 2 and 1"),
        ((1,), "one", "found one text"),
        (("1",), ("one",), r"concept_ids\[0\] must be a whole number; found str"),
        ((2**31,), ("one",), "must fit 32 bits"),
        ((1, 3_000_000_000), ("one", "two"), r"concept_ids\[1\] must fit 32 bits; found 3000000000"),
        ((-(2**31),), ("one",), "must fit 32 bits"),
        ((2**64,), ("one",), "must fit 32 bits"),
        ((1,), (None,), r"concept_texts\[0\] must be a text; found NoneType"),
        ((1,), ("a\0b",), "NUL character"),
        ((1,), ("  ",), "blank"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(
    interface: EmbeddingInterface,
    session: Session,
    ids: tuple[int, ...],
    texts: tuple[str, ...],
    message: str,
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        interface.embed_and_upsert_concepts(
            session=session, index_type=IndexType.FLAT, concept_ids=ids, concept_texts=texts
        )
    assert "\n" not in str(caught.value)
    assert session.execute(text("select to_regclass('omop_emb.space_1')")).scalar_one() is None


@pytest.mark.parametrize(
    "matrix", [np.ones((3, 384)), np.ones((4, 3)), np.zeros((4, 384)), np.full((4, 384), np.nan)]
)
def test_vectors_that_are_not_embeddings_are_refused(
    interface: EmbeddingInterface, session: Session, matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> None:
    with pytest.raises(OmopEmbError):
        interface.upsert_concept_embeddings(
            session=session,
            index_type=IndexType.FLAT,
            concept_ids=list(CONCEPTS),
            concept_texts=list(CONCEPTS.values()),
            embeddings=matrix,
        )


def test_another_prefix_is_another_space_and_the_error_shows_both(
    interface: EmbeddingInterface, session: Session
) -> None:
    embed(interface, session, IndexType.FLAT)
    other = EmbeddingInterface(EmbeddingClient("local:all-MiniLM-L6-v2", query_prefix="query: "))
    with pytest.raises(SpaceNotFoundError, match="has query_prefix '', not 'query: '"):
        first_ids(other, session, IndexType.FLAT, "heart attack")
    smaller = EmbeddingInterface(EmbeddingClient("local:all-MiniLM-L6-v2", dimensions=256))
    with pytest.raises(SpaceNotFoundError, match="has dimensions 384, not 256"):
        first_ids(smaller, session, IndexType.FLAT, "heart attack")


def test_without_a_client_the_active_space_supplies_model_and_prefixes(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefixed = EmbeddingClient("local:all-MiniLM-L6-v2", document_prefix="doc: ", query_prefix="ask: ")
    embed(EmbeddingInterface(prefixed), session, IndexType.HNSW)
    assert first_ids(EmbeddingInterface(), session, IndexType.HNSW, "heart attack") == [4329847]
    assert first_ids(EmbeddingInterface(), session, IndexType.FLAT, "heart attack") == [4329847]
    monkeypatch.setenv("OMOP_EMB_QUERY_EMBEDDING_PREFIX", "query: ")
    with pytest.raises(
        SpaceMismatchError, match=r"is 'query: ', but the active space .* was built with 'ask: '"
    ):
        first_ids(EmbeddingInterface(), session, IndexType.HNSW, "heart attack")
