"""Query vectors in the database: shared by processes, bounded, without texts, and never a reason to fail."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import sqlalchemy
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from omop_emb import EmbeddingClient, EmbeddingInterface, EmbeddingRole, IndexType
from omop_emb.database.engine import driver_connection
from omop_emb.errors import ConfigurationError, InputError
from omop_emb.spaces.query_vectors import QueryVectors
from tests.small_vocabulary import CountingProvider

QUERY = EmbeddingRole.QUERY
WORDS = "Patient Smith's hypertension"


class Both(CountingProvider):
    """A model for both roles."""

    def embed_batch(self, texts, role, *, timeout_seconds):  # type: ignore[no-untyped-def] # as its parent's
        return super().embed_batch(texts, EmbeddingRole.DOCUMENT, timeout_seconds=timeout_seconds)


def client(store: QueryVectors | None, **options: str) -> tuple[EmbeddingClient, Both]:
    provider = Both()
    settings = {"document_prefix": "", "query_prefix": "q: ", **options}
    return EmbeddingClient(provider=provider, query_store=store, **settings), provider  # type: ignore[arg-type] # all str


def rows(engine: Engine) -> list[tuple[bytes, bytes]]:
    with engine.connect() as connection:
        query = "select key, vector from omop_emb.query_vector"
        return driver_connection(connection).execute(query).fetchall()


def execute(engine: Engine, statement: str) -> None:
    with engine.connect() as connection:
        driver_connection(connection).execute(statement.encode())
        driver_connection(connection).commit()


def test_a_client_of_another_process_finds_the_vector_and_calls_no_model(engine: Engine) -> None:
    first, _ = client(QueryVectors(engine))
    rows = first.embeddings(["a", "b"], embedding_role=QUERY)
    second, provider = client(QueryVectors(engine))
    np.testing.assert_array_equal(second.embeddings(["b", "a"], embedding_role=QUERY), rows[::-1])
    assert provider.sent == []
    assert second.usage.cached_queries == 2


@pytest.mark.parametrize(
    "other",
    [{"query_prefix": "other: "}, {"document_prefix": "d: "}],
    ids=["query prefix", "document prefix"],
)
def test_different_prefixes_have_different_keys(engine: Engine, other: dict[str, str]) -> None:
    client(QueryVectors(engine))[0].embeddings(["a"], embedding_role=QUERY)
    second, provider = client(QueryVectors(engine), **other)
    second.embeddings(["a"], embedding_role=QUERY)
    assert len(provider.sent) == 1


def test_no_text_is_stored(engine: Engine) -> None:
    client(QueryVectors(engine))[0].embeddings([WORDS], embedding_role=QUERY)
    ((key, vector),) = rows(engine)
    assert (len(key), len(vector)) == (32, 8 * 4)
    assert WORDS.encode() not in key + vector


def test_document_vectors_are_not_stored(engine: Engine) -> None:
    client(QueryVectors(engine))[0].embeddings(["a"], embedding_role=EmbeddingRole.DOCUMENT)
    assert rows(engine) == []


def test_the_least_recently_used_vectors_are_dropped_first(engine: Engine) -> None:
    store = QueryVectors(engine, most_vectors=3)
    for key in (b"a", b"b", b"c"):
        store.put_many({key: b"."})
    execute(engine, "update omop_emb.query_vector set used_at = used_at - interval '1 hour'")
    assert store.get_many([b"a", b"x"]) == {b"a": b"."}
    store.put_many({b"d": b".", b"e": b"."})
    assert {key for key, _ in rows(engine)} == {b"a", b"d", b"e"}
    store.put_many({bytes([place]): b"." for place in range(9)})
    assert len(rows(engine)) == 3
    assert store.clear() == 3
    assert rows(engine) == []


def test_a_stored_vector_is_not_overwritten(engine: Engine) -> None:
    store = QueryVectors(engine)
    store.put_many({b"a": b"1"})
    store.put_many({b"a": b"2", b"b": b"2"})
    assert store.get_many([b"a", b"b"]) == {b"a": b"1", b"b": b"2"}


def test_stored_vectors_outlive_a_rollback_of_the_caller(engine: Engine) -> None:
    made, _ = client(QueryVectors(engine))
    interface = EmbeddingInterface(made)
    with Session(engine) as session:
        interface.embed_and_upsert_concepts(
            session=session, index_type=IndexType.FLAT, concept_ids=(1,), concept_texts=("Asthma",)
        )
        interface.get_nearest_concepts_from_query_texts(session=session, query_texts=("a",))
        session.rollback()
    assert len(rows(engine)) == 1


def test_the_client_of_the_active_space_uses_the_interface_s_store(sample_database_url: str) -> None:
    engine = sqlalchemy.create_engine(sample_database_url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        interface = EmbeddingInterface(query_store=QueryVectors(engine))
        with Session(engine) as session:
            interface.get_nearest_concepts_from_query_texts(session=session, query_texts=("asthma", "gout"))
        assert len(rows(engine)) == 2
    finally:
        engine.dispose()


def test_a_database_that_cannot_store_vectors_fails_no_query(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    execute(engine, "drop table omop_emb.query_vector")
    made, provider = client(QueryVectors(engine))
    with caplog.at_level(logging.WARNING):
        for text in (WORDS, "b"):
            assert made.embeddings([text], embedding_role=QUERY).shape == (1, 8)
    assert len(provider.sent) == 2
    warnings = [message for message in caplog.messages if "query vectors" in message]
    assert len(warnings) == 1
    assert WORDS not in warnings[0]


def test_a_store_beside_a_client_or_of_size_zero_is_refused(engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match="pass query_store to the EmbeddingClient"):
        EmbeddingInterface(client(None)[0], query_store=QueryVectors(engine))
    with pytest.raises(InputError, match="most_vectors must be above 0"):
        QueryVectors(engine, most_vectors=0)
