"""Build estimates: made before anything is spent, and close to what the build then takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from omop_emb import ConceptFilter, EmbeddingClient, EmbeddingRole, IndexType, database_engine
from omop_emb.database.engine import driver_connection
from omop_emb.indexing.build import build_index
from omop_emb.indexing.build_options import RecipeChange, SpaceOptions
from omop_emb.indexing.build_plan import BuildPreview, preview_build
from omop_emb.indexing.estimate import BuildEstimate, client_for_estimate, estimate_build
from omop_emb.indexing.status import space_status
from omop_emb.providers.base import EmbeddingResponse
from omop_emb.providers.rate_limiter import Rate
from omop_emb.search import vector_indexes
from omop_emb.spaces import registry
from tests.fake_providers import FakeProviders
from tests.small_vocabulary import CountingProvider, SmallVocabulary, counting_client, five_concepts


@pytest.fixture
def vocabulary(engine: Engine, tmp_path: Path) -> SmallVocabulary:
    return five_concepts(engine, tmp_path)


@pytest.fixture
def paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counting model costs two dollars a token, half in batches."""
    path = tmp_path / "prices.toml"
    path.write_text('[[model]]\nname = "counting:m"\nprice = 2e5\nbatch_price = 1e5\n')
    monkeypatch.setenv("OMOP_EMB_PRICES", str(path))


class WordCounter(CountingProvider):
    """Says that each word is a token."""

    def embed_batch(
        self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        answer = super().embed_batch(texts, role, timeout_seconds=timeout_seconds)
        return EmbeddingResponse(answer.vectors, tokens=sum(len(text.split()) for text in texts))


def estimated(
    engine: Engine, client: EmbeddingClient, *, concept_filter: ConceptFilter | None = None, **options: object
) -> BuildEstimate:
    preview = preview_build(
        engine,
        client.fingerprint,
        index_type=IndexType.HNSW,
        recipe=RecipeChange(concept_filter=concept_filter),
    )
    return estimate_build(client, preview, **options)  # type: ignore[arg-type]  # the options of estimate()


def test_texts_are_counted_after_filters_and_each_text_is_sent_once(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    found = estimated(engine, counting_client())
    assert (found.texts, found.distinct_texts, found.rows) == (7, 6, 7)
    drugs = ConceptFilter(domains=("Drug",))
    assert estimated(engine, counting_client(), concept_filter=drugs).texts == 1


def test_texts_that_the_space_has_are_not_estimated_again(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build_index(engine, counting_client(), index_type=IndexType.FLAT)
    found = estimated(engine, counting_client())
    assert (found.texts, found.tokens, found.rows) == (0, 0, 7)


def test_a_free_model_counts_the_tokens_of_a_sample_with_their_prefixes(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    found = estimated(engine, counting_client(WordCounter(), "passage: "))
    texts = {"Hypertension", "HTN", "High blood pressure", "Diabetes mellitus", "Diabetes", "Metformin"}
    assert found.tokens == sum(len(f"passage: {text}".split()) for text in texts)
    assert (found.tokens_measured, found.sample_texts) == (True, 6)
    assert found.hours is not None
    assert found.price is None
    assert found.is_free


@pytest.mark.parametrize(
    ("model", "price", "is_free"),
    [
        ("cohere:embed-v4.0", 0.12, False),
        ("azure:text-embedding-3-small", 0.022, False),
        ("jina:jina-embeddings-v3", None, False),
        ("voyage:voyage-of-tomorrow", None, False),
        ("vllm:BAAI/bge-m3", None, True),
    ],
)
def test_a_price_is_known_with_its_date_or_said_to_be_unknown_and_a_paid_service_is_sent_nothing(
    engine: Engine,
    vocabulary: SmallVocabulary,
    fake: FakeProviders,
    model: str,
    price: float | None,
    is_free: bool,
) -> None:
    fake.dimensions = 1024
    client = EmbeddingClient(model, dimensions=1024, warn=False)
    found = estimated(engine, client)
    assert (found.price, found.is_free, found.tokens_measured) == (price, is_free, is_free)
    assert (found.price_date is None) == (price is None)
    assert is_free or fake.calls == []


def test_a_text_that_the_model_refuses_does_not_end_the_estimate(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    found = estimated(engine, counting_client(WordCounter(refuses=["HTN"], batch_texts=1)))
    assert found.sample_texts == 5
    assert found.tokens > 0


@pytest.mark.usefixtures("paid")
def test_a_paid_model_is_not_called_unless_requested(engine: Engine, vocabulary: SmallVocabulary) -> None:
    provider = WordCounter()
    found = estimated(engine, counting_client(provider, "passage: "))
    assert provider.sent == []
    assert not found.tokens_measured
    assert found.cost_usd == pytest.approx(found.tokens * 0.2)
    assert found.batch_cost_usd == pytest.approx(found.tokens * 0.1)
    without = estimated(engine, counting_client())
    assert found.tokens - without.tokens == pytest.approx(6 * len("passage: ") / 4, abs=6)
    assert estimated(engine, counting_client(provider), measure=True).tokens_measured


@pytest.mark.usefixtures("paid")
@pytest.mark.parametrize(
    ("rate", "minutes"),
    [
        (Rate(requests_per_minute=1), 2),
        (Rate(texts_per_minute=3), 2),
        (Rate(requests_per_minute=1, texts_per_minute=1), 6),
    ],
)
def test_hours_follow_from_the_tightest_rate(
    engine: Engine, vocabulary: SmallVocabulary, rate: Rate, minutes: int
) -> None:
    found = estimated(engine, counting_client(CountingProvider(batch_texts=4)), rate=rate)
    assert found.hours == pytest.approx(minutes / 60)
    assert estimated(engine, counting_client()).hours is None


def test_an_estimate_of_a_known_paid_model_needs_no_key_and_no_network(
    engine: Engine, vocabulary: SmallVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OMOP_EMB_MODEL", "openai:text-embedding-3-small")
    found = estimated(engine, client_for_estimate())
    assert found.cost_usd is not None
    assert found.index_memory_bytes > 0


def test_disk_is_estimated_within_a_tenth(sample_database_url: str) -> None:
    engine = database_engine(sample_database_url)
    client = EmbeddingClient("local:all-MiniLM-L6-v2", document_prefix="", query_prefix="x", warn=False)
    found = estimated(engine, client, measure=False)
    with engine.connect() as connection:
        driver = driver_connection(connection)
        hnsw = space_status(driver, registry.space_by_name(driver, "all-MiniLM-L6-v2-hnsw"))
        row = driver.execute(
            "select pg_indexes_size(to_regclass('omop_emb.space_' || %(n)s))"
            " + pg_indexes_size(to_regclass('omop_emb.space_' || %(n)s || '_text'))",
            {"n": str(hnsw.space.space_id)},
        ).fetchone()
    engine.dispose()
    assert row is not None
    assert found.rows == hnsw.rows
    assert found.index_bytes == pytest.approx(hnsw.index_bytes, rel=0.1)
    assert found.table_bytes == pytest.approx(hnsw.table_bytes + row[0] - hnsw.index_bytes, rel=0.1)


def test_the_indexes_of_domains_are_counted(sample_database_url: str) -> None:
    engine = database_engine(sample_database_url)
    client = EmbeddingClient("local:all-MiniLM-L6-v2", document_prefix="", query_prefix="x", warn=False)
    preview = preview_build(
        engine,
        client.fingerprint,
        index_type=IndexType.HNSW,
        space=SpaceOptions(partial="Drug,Measurement"),
    )
    found = estimate_build(client, preview, measure=False).index_bytes
    alone = estimated(engine, client, measure=False).index_bytes
    with engine.connect() as connection:
        driver = driver_connection(connection)
        space = registry.space_by_name(driver, "all-MiniLM-L6-v2-hnsw")
        vector_indexes.reconcile_indexes(
            driver, space, vector_indexes.IndexSettings(partial="Drug,Measurement")
        )
        built = [index.bytes for index in vector_indexes.existing_indexes(driver, space)]
    engine.dispose()
    assert len(built) == 3
    assert found > 1.3 * alone
    assert found == pytest.approx(sum(built), rel=0.1)


def test_a_build_that_is_not_approved_leaves_nothing(engine: Engine, vocabulary: SmallVocabulary) -> None:
    seen: list[BuildPreview] = []

    def refuse(preview: BuildPreview) -> None:
        seen.append(preview)
        raise KeyboardInterrupt

    provider = CountingProvider()
    with pytest.raises(KeyboardInterrupt):
        build_index(engine, counting_client(provider), index_type=IndexType.FLAT, approve=refuse)
    assert seen[0].plan.to_embed == 7
    assert provider.sent == []
    with engine.connect() as connection:
        assert registry.all_spaces(driver_connection(connection)) == []


def test_memory_of_mapping_grows_with_the_whole_vocabulary_and_its_vectors(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    client = counting_client()
    preview = preview_build(engine, client.fingerprint, index_type=IndexType.HNSW)
    small = estimate_build(client, preview)
    large = estimate_build(client, replace(preview, vocabulary_concepts=10_000_000))
    assert preview.vocabulary_concepts == 5
    assert small.mapping_memory_bytes < 1e9
    assert large.mapping_memory_bytes > 10e9
    more = replace(preview, plan=replace(preview.plan, unchanged=6_000_000))
    vectors = 6_000_000 * client.fingerprint.dimensions
    assert estimate_build(client, more).mapping_memory_bytes == small.mapping_memory_bytes + vectors
    assert preview.index_memory_limit_bytes > 0
