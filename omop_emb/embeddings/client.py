"""EmbeddingClient: texts to checked unit vectors, each for the role it plays."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from omop_emb import config, providers
from omop_emb.embeddings import models
from omop_emb.embeddings.identity import ModelIdentity
from omop_emb.embeddings.text_embedder import EmbeddedTexts, TextEmbedder, checked_role, checked_texts
from omop_emb.errors import ConfigurationError, InputError
from omop_emb.providers.base import OffersJobs, Provider
from omop_emb.providers.calling import Caller
from omop_emb.providers.jobs import EmbeddingJobs
from omop_emb.providers.limiter import Limiter, Rate
from omop_emb.providers.query_cache import QueryCache, VectorStore, vector_key
from omop_emb.providers.retrying import Patience
from omop_emb.providers.usage import Meter, Usage
from omop_emb.records import EmbeddingRole, Fingerprint
from omop_emb.vectors import Matrix

__all__ = ["EmbeddedTexts", "EmbeddingClient", "EmbeddingRole"]

logger = logging.getLogger(__name__)

# Texts drawn from a stream at a time, sorted by length and freed of duplicates before they are sent.
_WINDOW = 4096
_CACHE_BYTES = 64 * 2**20


class EmbeddingClient:
    """One embedding model, used for documents and for queries.

    Construction reads the environment and checks the settings; no model is loaded and nothing is sent.
    A client may be shared by threads.

    Args:
        model: provider:model; default OMOP_EMB_MODEL, else the packaged local model.
        dimensions: length to which vectors are cut before they are normalised (Matryoshka); default
            OMOP_EMB_DIMENSIONS, else the model's own.
        document_prefix, query_prefix: put before each text of that role, exactly as given; default
            OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX and OMOP_EMB_QUERY_EMBEDDING_PREFIX, else "". An empty one is
            warned of.
        rate: limits per minute; default OMOP_EMB_REQUESTS_PER_MINUTE, OMOP_EMB_TEXTS_PER_MINUTE and
            OMOP_EMB_TOKENS_PER_MINUTE, else none.
        concurrency: requests in flight at once; default OMOP_EMB_CONCURRENCY, else what suits the provider.
        query_patience, bulk_patience: timeouts, tries and deadline while somebody waits for a query, and for
            everything else.
        query_store: a lasting store for query vectors beside the memory of this client.
        provider: an embedding provider of your own (see omop_emb.providers.Provider); model is then
            only its name.
        document_task, query_task: task types in place of a role's own, for models that take them (Gemini).
        advise: whether prefixes and dimensions that the model is known not to like are warned of.

    Raises:
        ConfigurationError: the model's name or a setting cannot be used.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        dimensions: int | None = None,
        document_prefix: str | None = None,
        query_prefix: str | None = None,
        rate: Rate | None = None,
        concurrency: int | None = None,
        query_patience: Patience | None = None,
        bulk_patience: Patience | None = None,
        query_store: VectorStore | None = None,
        provider: Provider | None = None,
        document_task: str | None = None,
        query_task: str | None = None,
        advise: bool = True,
    ) -> None:
        if dimensions is None:
            dimensions = config.positive_integer("OMOP_EMB_DIMENSIONS")
        elif isinstance(dimensions, bool) or not isinstance(dimensions, int) or dimensions < 1:
            raise ConfigurationError(f"dimensions must be a whole number above 0; found {dimensions!r}")
        if provider is None:
            spelled = model or config.model()
            tasks = {EmbeddingRole.DOCUMENT: document_task, EmbeddingRole.QUERY: query_task}
            provider = providers.make_provider(
                spelled, dimensions=dimensions, tasks={role: task for role, task in tasks.items() if task}
            )
        self._provider = provider
        self._requested_dimensions = dimensions
        self._prefixes = {
            EmbeddingRole.DOCUMENT: _prefix(EmbeddingRole.DOCUMENT, document_prefix),
            EmbeddingRole.QUERY: _prefix(EmbeddingRole.QUERY, query_prefix),
        }
        for line in models.advice(self.model, self._prefixes, dimensions) if advise else ():
            logger.warning("%s", line)
        limits = provider.limits
        query_patience = query_patience or Patience(
            timeout_seconds=limits.query_timeout_seconds,
            tries=3,
            deadline_seconds=2 * limits.query_timeout_seconds,
            first_wait_seconds=0.25,
            longest_limit_seconds=2 * limits.query_timeout_seconds,
        )
        self._bulk_patience = bulk_patience or Patience(
            timeout_seconds=limits.bulk_timeout_seconds,
            tries=8,
            deadline_seconds=max(600.0, 2 * limits.bulk_timeout_seconds),
        )
        self._rate = rate = rate or _rate_of_environment()
        self._meter = Meter()
        self._caller = Caller(
            provider,
            dimensions=dimensions,
            limiter=Limiter(rate),
            meter=self._meter,
            batch_texts=min(limits.batch_texts, rate.texts_per_minute or limits.batch_texts),
        )
        self._known = ModelIdentity(
            provider,
            self._caller,
            prefixes=self._prefixes,
            dimensions=dimensions,
            patience=query_patience,
            advise=advise,
        )
        self._texts = TextEmbedder(
            caller=self._caller,
            prefixes=self._prefixes,
            in_flight=concurrency or config.positive_integer("OMOP_EMB_CONCURRENCY") or limits.in_flight,
            batch_tokens=limits.batch_tokens,
            query_patience=query_patience,
            bulk_patience=self._bulk_patience,
        )
        self._queries = QueryCache(most_bytes=_CACHE_BYTES, store=query_store)

    @classmethod
    def for_fingerprint(
        cls, fingerprint: Fingerprint, *, query_store: VectorStore | None = None
    ) -> EmbeddingClient:
        """The client that makes vectors of this fingerprint, whatever the environment says about it.

        Nothing is warned of: what a space was built with is no longer a choice. Whether the model is still
        the same one is for the caller to see: compare `fingerprint`.
        """
        tasks = {
            EmbeddingRole.DOCUMENT: fingerprint.document_task,
            EmbeddingRole.QUERY: fingerprint.query_task,
        }
        provider = providers.make_provider(
            f"{fingerprint.provider}:{fingerprint.model}",
            dimensions=fingerprint.dimensions,
            tasks={role: task for role, task in tasks.items() if task},
        )
        return cls(
            provider=provider,
            dimensions=fingerprint.dimensions,
            document_prefix=fingerprint.document_prefix,
            query_prefix=fingerprint.query_prefix,
            query_store=query_store,
            advise=False,
        )

    def __repr__(self) -> str:
        size = f", dimensions={self._requested_dimensions}" if self._requested_dimensions else ""
        return f"EmbeddingClient({self.model!r}{size})"

    @property
    def model(self) -> str:
        """The model as provider:model."""
        return f"{self._provider.name}:{self._provider.model}"

    @property
    def dimensions(self) -> int:
        """The length of a vector. Where no setting or file tells, the model is asked once."""
        return self.fingerprint.dimensions

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything that shapes this client's vectors; may load or ask the model once.

        Raises:
            ProviderError: the model cannot be asked.
        """
        return self._known.fingerprint

    @property
    def rate(self) -> Rate:
        """What may be asked of the provider a minute."""
        return self._rate

    @property
    def request_texts(self) -> int:
        """The most texts that one request holds."""
        return self._caller.batch_texts

    @property
    def usage(self) -> Usage:
        """What has been asked of the provider since this client was made."""
        return self._meter.usage

    def mistakes(self) -> list[str]:
        """A line for each setting that is likely a mistake, with what to do; may load or ask the model once.

        Raises:
            ProviderError: the model cannot be asked.
        """
        known = models.mistakes(self.model, self._prefixes, self.dimensions)
        return known + self._known.unlike_its_files()

    def embedding_role_prefixes(self) -> dict[EmbeddingRole, str]:
        """What is put before the texts of each role, exactly."""
        return dict(self._prefixes)

    def embeddings(self, texts: Sequence[str], *, embedding_role: EmbeddingRole) -> Matrix:
        """(n, dimensions) float32, rows of unit length, one for each text in the same order.

        No text: (0, dimensions). The same text twice is sent once. Query vectors are remembered. A text
        longer than the model's longest is cut by local and Gemini models and refused by Ollama's.

        Args:
            texts: a sequence of str, none of them blank; one text alone is a list of one.
            embedding_role: what the texts are; QUERY for what searches, DOCUMENT for what is searched.

        Raises:
            InputError: a str in place of a sequence, something that is not text, a blank text; names the
                position, never the text.
            TextRejectedError: the provider cannot embed some of the texts; nothing is returned. To go on
                with the others use `embed_stream`.
            ProviderError: the provider fails, or answers what cannot be embeddings.
        """
        role = checked_role(embedding_role)
        listed = checked_texts(texts)
        if not listed:
            return np.empty((0, self.dimensions), dtype=np.float32)
        if role is EmbeddingRole.DOCUMENT:
            return self._texts.rows(listed, role)
        keys = [vector_key(self.fingerprint, role, text) for text in listed]
        found = self._queries.get_many(keys, self.dimensions)
        missing = {key: text for key, text in zip(keys, listed, strict=True) if key not in found}
        self._meter.count(cached_queries=sum(key in found for key in keys))
        if missing:
            positions = {text: position for position, text in reversed(list(enumerate(listed)))}
            vectors = self._texts.rows(list(missing.values()), role, positions)
            new = dict(zip(missing, vectors, strict=True))
            self._queries.put_many(new)
            found.update(new)
        return np.stack([found[key] for key in keys])

    def embed_stream(
        self, texts: Iterable[str], *, embedding_role: EmbeddingRole, window_texts: int = _WINDOW
    ) -> Iterator[EmbeddedTexts]:
        """Embed any number of texts in parts; a text that cannot be embedded is reported, the rest goes on.

        Texts are drawn as they are needed and parts are yielded as they are answered, so that memory stays
        flat and the parts come out of order: `positions` tells what each row is. Every position comes once,
        in `positions` or in `failures`. Several requests are in flight (see `concurrency`), also while the
        consumer is busy. When the provider fails for good, what was answered is yielded first.

        Args:
            texts: any number of them.
            embedding_role: what they are.
            window_texts: how many are drawn at a time, to be sorted by length and freed of duplicates.

        Raises:
            InputError: something that is not text; names its position.
            ProviderError: nothing can be embedded any more for now; run again for the rest.
        """
        role = checked_role(embedding_role)
        if isinstance(texts, (str, bytes)):
            raise InputError(f"texts must be a sequence of str; found one {type(texts).__name__}")
        return self._texts.stream(texts, role, window_texts, dimensions=lambda: self.dimensions)

    def jobs(self) -> EmbeddingJobs:
        """Batch jobs for documents: cheaper, answered within a day.

        Raises:
            ConfigurationError: the provider offers none.
        """
        if not isinstance(self._provider, OffersJobs):
            raise ConfigurationError(f"{self.model} has no batch API: leave --batch-api out")
        jobs, native = self._provider.jobs(), self._known.identity.dimensions
        return EmbeddingJobs(
            jobs,
            caller=self._caller,
            meter=self._meter,
            prefix=self._prefixes[EmbeddingRole.DOCUMENT],
            dimensions=self.dimensions,
            lengths=[length for length in (native, self.dimensions) if length is not None],
            limits=self._provider.limits,
            patience=self._bulk_patience,
        )

    def similarity(
        self,
        terms: str | Sequence[str],
        terms_to_match: str | Sequence[str],
        *,
        terms_role: EmbeddingRole,
        terms_to_match_role: EmbeddingRole,
    ) -> Matrix:
        """(m, n) float32 cosine similarity, -1 to 1, of m terms with n terms to match.

        Args:
            terms: one text, or a sequence of them.
            terms_to_match: one text, or a sequence of them.
            terms_role: what the terms are; QUERY against DOCUMENT is how a search compares.
            terms_to_match_role: what those to match are; the same role twice is a symmetric comparison.

        Raises:
            InputError, ProviderError: as `embeddings`.
        """
        rows = self.embeddings(_one_or_more(terms), embedding_role=terms_role)
        columns = self.embeddings(_one_or_more(terms_to_match), embedding_role=terms_to_match_role)
        cosines: Matrix = np.clip(rows @ columns.T, -1, 1)
        return cosines


def _prefix(role: EmbeddingRole, given: str | None) -> str:
    prefix = config.variable(models.PREFIX_VARIABLES[role]) or "" if given is None else given
    if not isinstance(prefix, str):
        raise ConfigurationError(f"the {role.value} prefix must be a str; found {type(prefix).__name__}")
    return prefix


def _one_or_more(texts: str | Sequence[str]) -> Sequence[str]:
    return [texts] if isinstance(texts, str) else texts


def _rate_of_environment() -> Rate:
    return Rate(
        requests_per_minute=config.positive_integer("OMOP_EMB_REQUESTS_PER_MINUTE"),
        texts_per_minute=config.positive_integer("OMOP_EMB_TEXTS_PER_MINUTE"),
        tokens_per_minute=config.positive_integer("OMOP_EMB_TOKENS_PER_MINUTE"),
    )
