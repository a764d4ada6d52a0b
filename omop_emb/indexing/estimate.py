"""Build estimates: texts, tokens, cost, hours, disk and memory, before anything is spent."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from omop_emb import config
from omop_emb.embeddings import models
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.embeddings.prices import Price, price_list, price_of
from omop_emb.indexing.build_plan import BuildPreview
from omop_emb.providers.base import estimated_tokens
from omop_emb.providers.factory import charges
from omop_emb.providers.profiles import profile_names
from omop_emb.providers.rate_limiter import Rate
from omop_emb.records import EmbeddingRole, IndexType
from omop_emb.search.build_hnsw import index_memory_bytes
from omop_emb.search.vector_indexes import partial_index_domains
from omop_emb.spaces import size

_MEASURED_TEXTS = 200
# Of mapping's index while it is made: measured with three million concepts, synonyms and all
_MAPPING_BYTES, _MAPPING_BYTES_PER_CONCEPT = 300_000_000, 1_100
_USUAL_TEXT_BYTES = 45.0  # assumed if there is no text to measure


@dataclass(frozen=True, kw_only=True)
class BuildEstimate:
    """What a build will take."""

    model: str  # provider:model
    space_name: str
    texts: int  # rows that need a vector
    distinct_texts: int  # that are sent, each once
    tokens: int  # of these, with their prefixes
    tokens_measured: bool  # counted by the model in a sample, not extrapolated from bytes
    sample_texts: int  # from which the tokens were extrapolated
    price: float | None  # US dollars per million tokens; None if free or not known
    is_free: bool  # whether it runs on a server of one's own, and no price was set for it
    batch_price: float | None  # the same in the batch API
    price_date: str | None
    price_source: str | None
    cost_usd: float | None
    batch_cost_usd: float | None
    hours: float | None  # of embedding at the given rate, else at the measured speed; None if not known
    rows: int  # texts that the space has afterwards
    table_bytes: int
    index_bytes: int  # of all HNSW indexes
    index_memory_bytes: int  # to build the largest of these in memory; with less it takes far longer
    mapping_memory_bytes: int  # that the first map or search after a load takes, about


def client_for_estimate(model: str | None = None) -> EmbeddingClient:
    """The client of a model, by default the environment's, made without calling a service if it can be."""
    model = model or config.model()
    known = models.find_model(model)
    dimensions = config.positive_integer("OMOP_EMB_DIMENSIONS")
    if dimensions is None and known is not None and model.partition(":")[0] in profile_names():
        dimensions = known.dimensions
    return EmbeddingClient(model, dimensions=dimensions, warn=False)


def compare_prices(tokens: int) -> list[dict[str, Any]]:
    """What each model of known price charges for so many tokens, one row a model."""
    return [{"model": price.model, **_price_columns(price, tokens)} for price in price_list()]


def estimate_build(
    client: EmbeddingClient, preview: BuildPreview, *, measure: bool | None = None, rate: Rate | None = None
) -> BuildEstimate:
    """What the previewed build will take with this client.

    Args:
        client: the model.
        preview: what there is to do, from preview_build().
        measure: whether the model embeds a sample, for its own count of tokens and its speed; by default
            if it is free.
        rate: what the provider allows per minute; by default the client's rate.

    Raises:
        ProviderError: the model was to be measured and fails.
        ConfigurationError: the file that OMOP_EMB_PRICES names cannot be used.
    """
    space, plan = preview.space, preview.plan
    price = price_of(client.model)
    is_free = price is None and not charges(client.model)
    if measure is None:
        measure = is_free
    prefix = client.embedding_role_prefixes()[EmbeddingRole.DOCUMENT]
    sample = (_measure_sample if measure else _guess_sample)(client, prefix, preview.sample)
    characters = plan.characters + plan.distinct_texts * len(prefix)
    tokens = round(sample.tokens * characters / sample.characters) if sample.characters else 0
    hours = _hours(plan.distinct_texts, tokens, rate or client.rate, client.batch_texts)
    if hours is None and sample.seconds is not None and sample.characters:
        hours = sample.seconds * characters / sample.characters / 3600
    rows = plan.unchanged + plan.to_embed + plan.reused
    dimensions = space.fingerprint.dimensions
    indexed_rows = [rows] if space.index_type is IndexType.HNSW else []
    if indexed_rows:
        indexed_rows += [plan.domain_rows[d] for d in partial_index_domains(space.partial, plan.domain_rows)]
    indexed_dimensions = size.indexed_dimensions(dimensions, space.first_pass)
    return BuildEstimate(
        model=client.model,
        space_name=space.name,
        texts=plan.to_embed,
        distinct_texts=plan.distinct_texts,
        tokens=tokens,
        tokens_measured=measure,
        sample_texts=sample.texts,
        **_price_columns(price, tokens),
        is_free=is_free,
        hours=hours,
        rows=rows,
        table_bytes=size.table_bytes(rows, dimensions, _mean_bytes(preview.sample)),
        index_bytes=sum(
            size.index_bytes(count, dimensions, space.hnsw_m, space.first_pass) for count in indexed_rows
        ),
        index_memory_bytes=index_memory_bytes(rows, indexed_dimensions, space.hnsw_m) if indexed_rows else 0,
        mapping_memory_bytes=_MAPPING_BYTES
        + _MAPPING_BYTES_PER_CONCEPT * preview.vocabulary_concepts
        + rows * dimensions,  # the vectors in 8-bit integers
    )


@dataclass(frozen=True)
class _Sample:
    """Counts of sampled texts; characters include the prefixes, seconds are the model's if it was asked."""

    texts: int = 0
    characters: int = 0
    tokens: int = 0
    seconds: float | None = None


def _measure_sample(client: EmbeddingClient, prefix: str, texts: list[str]) -> _Sample:
    """Embed some of the texts; those that the model refuses do not count."""
    chosen = texts[:_MEASURED_TEXTS]
    if not chosen:
        return _Sample()
    client.embeddings(chosen[:1], embedding_role=EmbeddingRole.DOCUMENT)  # so that the model is loaded
    before, started = client.usage.tokens, time.monotonic()
    characters = embedded = 0
    for part in client.embed_stream(chosen, embedding_role=EmbeddingRole.DOCUMENT):
        embedded += len(part.positions)
        characters += sum(len(prefix) + len(chosen[position]) for position in part.positions)
    return _Sample(embedded, characters, client.usage.tokens - before, time.monotonic() - started)


def _guess_sample(client: EmbeddingClient, prefix: str, texts: list[str]) -> _Sample:
    characters = sum(len(prefix) + len(text) for text in texts)
    return _Sample(len(texts), characters, sum(estimated_tokens(prefix + text) for text in texts))


def _hours(texts: int, tokens: int, rate: Rate, batch_texts: int) -> float | None:
    amounts = (
        (-(-texts // batch_texts), rate.requests_per_minute),
        (texts, rate.texts_per_minute),
        (tokens, rate.tokens_per_minute),
    )
    minutes = [amount / limit for amount, limit in amounts if limit is not None]
    return max(minutes) / 60 if minutes else None


def _mean_bytes(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts) / len(texts) if texts else _USUAL_TEXT_BYTES


def _price_columns(price: Price | None, tokens: int) -> dict[str, Any]:
    if price is None:
        columns = ("price", "batch_price", "price_date", "price_source", "cost_usd", "batch_cost_usd")
        return dict.fromkeys(columns)
    return {
        "price": price.standard,
        "batch_price": price.batch,
        "price_date": price.date,
        "price_source": price.source,
        "cost_usd": tokens * price.standard / 1e6,
        "batch_cost_usd": None if price.batch is None else tokens * price.batch / 1e6,
    }
