"""What a build will take: texts, tokens, money, hours, disk and memory, before any of it is spent."""

from __future__ import annotations

import time
from dataclasses import dataclass

from omop_emb import config
from omop_emb.embeddings import models
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.embeddings.prices import Price, price_of
from omop_emb.indexing.build_hnsw import index_memory_bytes
from omop_emb.indexing.preview import BuildPreview
from omop_emb.indexing.vector_indexes import partial_index_domains
from omop_emb.providers.base import estimated_tokens
from omop_emb.providers.rate_limiter import Rate
from omop_emb.records import EmbeddingRole, IndexType
from omop_emb.spaces import size

_MEASURED_TEXTS = 200
_USUAL_TEXT_BYTES = 45.0  # where nothing is to be embedded that could be looked at


@dataclass(frozen=True, kw_only=True)
class BuildEstimate:
    """What a build will take.

    Attributes:
        model: provider:model.
        space_name: the space that it would bring up to date.
        texts: rows that need a vector.
        different_texts: texts that are sent, each once.
        tokens: of these, the prefix of each counted.
        tokens_measured: whether the model itself counted the tokens of a sample; otherwise a token is taken
            to be four bytes.
        sample_texts: how many texts the tokens were extrapolated from.
        price: what the model costs; None where asking is free or the price is not known.
        cost_usd, batch_cost_usd: at the standard price and in its batch API, US dollars.
        hours: how long embedding takes at the given rate, else at the speed that was measured; None where
            neither is known.
        rows: texts that the space has afterwards.
        table_bytes, index_bytes: on disk afterwards, tables and HNSW indexes, those of domains included.
        index_memory_bytes: to build the largest of these in memory; with less it takes many times as long.
    """

    model: str
    space_name: str
    texts: int
    different_texts: int
    tokens: int
    tokens_measured: bool
    sample_texts: int
    price: Price | None
    cost_usd: float | None
    batch_cost_usd: float | None
    hours: float | None
    rows: int
    table_bytes: int
    index_bytes: int
    index_memory_bytes: int


@dataclass(frozen=True)
class _Sample:
    """What a sample of the texts came to.

    Attributes:
        texts: how many.
        characters: of the texts with their prefixes.
        tokens: of these.
        seconds: that the model took; None where it was not asked.
    """

    texts: int
    characters: int
    tokens: int
    seconds: float | None


def client_for_estimate() -> EmbeddingClient:
    """The client of the environment's model; where its length is known, no service need be asked for it."""
    model = config.model()
    known = models.find_model(model)
    asked = config.positive_integer("OMOP_EMB_DIMENSIONS")
    if asked is None and known is not None and model.startswith("openai:"):
        asked = known.dimensions
    return EmbeddingClient(model, dimensions=asked, warn=False)


def estimate_build(
    client: EmbeddingClient, preview: BuildPreview, *, measure: bool | None = None, rate: Rate | None = None
) -> BuildEstimate:
    """What the previewed build will take with this client.

    Args:
        client: the model.
        preview: what is to be done, from preview_build().
        measure: let the model embed a sample and take its own count of tokens and its speed; None does so
            where that costs nothing.
        rate: what the provider grants a minute; None is the client's.

    Raises:
        ProviderError: the model was to be measured and fails.
        ConfigurationError: the file that OMOP_EMB_PRICES names cannot be used.
    """
    space, plan = preview.space, preview.plan
    price = price_of(client.model)
    if measure is None:
        measure = price is None
    prefix = client.embedding_role_prefixes()[EmbeddingRole.DOCUMENT]
    sample = (_measured if measure else _guessed)(client, prefix, preview.sample)
    different = plan.to_embed_different
    characters = plan.characters + different * len(prefix)
    tokens = round(sample.tokens * characters / sample.characters) if sample.characters else 0
    rate = rate or client.rate
    hours = _hours(different, tokens, rate, client.batch_texts)
    if hours is None and sample.seconds is not None and sample.characters:
        hours = sample.seconds * characters / sample.characters / 3600
    rows = plan.unchanged + plan.to_embed + plan.reused
    dimensions = space.fingerprint.dimensions
    has_index = space.index_type is IndexType.HNSW
    domains = partial_index_domains(space.partial, plan.domain_rows)
    indexed = size.indexed_dimensions(dimensions, space.first_pass)
    return BuildEstimate(
        model=client.model,
        space_name=space.name,
        texts=plan.to_embed,
        different_texts=different,
        tokens=tokens,
        tokens_measured=measure,
        sample_texts=sample.texts,
        price=price,
        cost_usd=None if price is None else tokens * price.standard / 1e6,
        batch_cost_usd=None if price is None or price.batch is None else tokens * price.batch / 1e6,
        hours=hours,
        rows=rows,
        table_bytes=size.table_bytes(rows, dimensions, _mean_bytes(preview.sample)),
        index_bytes=sum(
            size.index_bytes(of_index, dimensions, space.hnsw_m, space.first_pass)
            for of_index in (rows, *(plan.domain_rows[domain] for domain in domains))
            if has_index
        ),
        index_memory_bytes=index_memory_bytes(rows, indexed, space.hnsw_m) if has_index else 0,
    )


def _measured(client: EmbeddingClient, prefix: str, texts: list[str]) -> _Sample:
    """Embed some of the texts, and look at what the model counted; texts that it refuses do not count."""
    chosen = texts[:_MEASURED_TEXTS]
    if not chosen:
        return _Sample(0, 0, 0, None)
    client.embeddings(chosen[:1], embedding_role=EmbeddingRole.DOCUMENT)  # so that the model is loaded
    before, started = client.usage.tokens, time.monotonic()
    characters = embedded = 0
    for part in client.embed_stream(chosen, embedding_role=EmbeddingRole.DOCUMENT):
        embedded += len(part.positions)
        characters += sum(len(prefix) + len(chosen[position]) for position in part.positions)
    return _Sample(embedded, characters, client.usage.tokens - before, time.monotonic() - started)


def _guessed(client: EmbeddingClient, prefix: str, texts: list[str]) -> _Sample:
    return _Sample(
        len(texts),
        sum(len(prefix) + len(text) for text in texts),
        sum(estimated_tokens(prefix + text) for text in texts),
        None,
    )


def _hours(texts: int, tokens: int, rate: Rate, request_texts: int) -> float | None:
    needed = (
        (-(-texts // request_texts), rate.requests_per_minute),
        (texts, rate.texts_per_minute),
        (tokens, rate.tokens_per_minute),
    )
    minutes = [amount / granted for amount, granted in needed if granted is not None]
    return max(minutes) / 60 if minutes else None


def _mean_bytes(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts) / len(texts) if texts else _USUAL_TEXT_BYTES
