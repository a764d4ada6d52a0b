"""EmbeddingClient: texts and inputs of other kinds to checked unit vectors, for the role that each plays."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from omop_emb import config, providers
from omop_emb.arrays import Vectors
from omop_emb.embeddings import models
from omop_emb.embeddings.embedding_inputs import embedding_inputs
from omop_emb.embeddings.identity import ModelIdentity
from omop_emb.embeddings.text_embedder import TextEmbedder, checked_role
from omop_emb.errors import ConfigurationError, InputError, TextRejectedError, checked_keywords
from omop_emb.providers.base import Provider
from omop_emb.providers.batch_embedder import BatchEmbedder, EmbeddedTexts
from omop_emb.providers.embedding_jobs import EmbeddingJobs
from omop_emb.providers.gemini import GeminiProvider
from omop_emb.providers.part_limits import PartLimits
from omop_emb.providers.parts import EmbeddingInput
from omop_emb.providers.query_cache import QueryCache, VectorStore
from omop_emb.providers.rate_limiter import Rate
from omop_emb.providers.retrying import RetryPolicy
from omop_emb.providers.usage import Usage
from omop_emb.records import EmbeddingRole, Fingerprint

logger = logging.getLogger(__name__)

# Texts read from a stream at a time, to be sorted by length and freed of duplicates.
_WINDOW_TEXTS = 4096
_QUERY_CACHE_BYTES = 64 * 2**20


@checked_keywords
class EmbeddingClient:
    """One embedding model, for documents and for queries; may be shared by threads.

    Construction reads the environment and checks the settings; no model is loaded and nothing is sent.

    Args:
        model: provider:model; default OMOP_EMB_MODEL, else the packaged local model.
        dimensions: length to which vectors are cut before they are normalised (Matryoshka); default
            OMOP_EMB_DIMENSIONS, else the model's own.
        document_prefix, query_prefix: put before each text of that role, exactly as given; default
            OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX and OMOP_EMB_QUERY_EMBEDDING_PREFIX, else "", with a warning.
        rate: limits per minute; default OMOP_EMB_REQUESTS_PER_MINUTE, OMOP_EMB_TEXTS_PER_MINUTE and
            OMOP_EMB_TOKENS_PER_MINUTE, else none.
        concurrency: most requests at the same time; default OMOP_EMB_CONCURRENCY, else the provider's.
        query_retries, bulk_retries: while a person waits for a query, and for everything else.
        query_store: a lasting store for query vectors, besides the memory of this client.
        provider: one of your own (see omop_emb.providers.Provider), in place of `model`.
        tasks: task types in place of those that follow the role, for models that take them; default
            OMOP_EMB_DOCUMENT_EMBEDDING_TASK and OMOP_EMB_QUERY_EMBEDDING_TASK.
        warn: whether to log settings that are likely mistakes for this model.

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
        query_retries: RetryPolicy | None = None,
        bulk_retries: RetryPolicy | None = None,
        query_store: VectorStore | None = None,
        provider: Provider | None = None,
        tasks: Mapping[EmbeddingRole, str] | Mapping[str, str] | None = None,
        warn: bool = True,
    ) -> None:
        if dimensions is None:
            dimensions = config.positive_integer("OMOP_EMB_DIMENSIONS")
        elif isinstance(dimensions, bool) or not isinstance(dimensions, int) or dimensions < 1:
            raise ConfigurationError(f"dimensions must be a whole number above 0; found {dimensions!r}")
        if provider is None:
            model = model or config.model()
            known = models.find_model(model)
            provider = providers.make_provider(
                model,
                dimensions=dimensions,
                tasks=models.chosen_tasks(tasks),
                is_matryoshka=known is not None and bool(known.matryoshka),
                parts=None if known is None else known.parts,
            )
        self._rate = rate or Rate.from_environment()
        self._embedder = BatchEmbedder(provider, dimensions=dimensions, rate=self._rate)
        self._prefixes = {
            EmbeddingRole.DOCUMENT: models.prefix_in_use(EmbeddingRole.DOCUMENT, document_prefix),
            EmbeddingRole.QUERY: models.prefix_in_use(EmbeddingRole.QUERY, query_prefix),
        }
        if warn:
            for line, is_right in models.checked_advice(
                self.model, self._prefixes, provider.tasks, dimensions
            ):
                # The command line leaves out what says that all is right.
                logger.warning("%s", line, extra={"is_right": is_right})
        limits = provider.limits
        query_retries = query_retries or RetryPolicy.for_queries(limits.query_timeout_seconds)
        self._bulk_retries = bulk_retries or RetryPolicy.for_bulk(limits.bulk_timeout_seconds)
        self._identity = ModelIdentity(self._embedder, self._prefixes, query_retries, warn)
        self._texts = TextEmbedder(
            self._identity,
            concurrency=concurrency or config.positive_integer("OMOP_EMB_CONCURRENCY") or limits.concurrency,
            query_retries=query_retries,
            bulk_retries=self._bulk_retries,
        )
        self._queries = QueryCache(max_bytes=_QUERY_CACHE_BYTES, store=query_store)

    @classmethod
    def for_fingerprint(
        cls, fingerprint: Fingerprint, *, query_store: VectorStore | None = None
    ) -> EmbeddingClient:
        """The client that makes vectors of this fingerprint, whatever the environment says.

        It logs no warnings: a space's settings are no longer a choice. Compare its own `fingerprint` to see
        whether the model has changed since.
        """
        tasks = {
            EmbeddingRole.DOCUMENT: fingerprint.document_task,
            EmbeddingRole.QUERY: fingerprint.query_task,
        }
        return cls(
            f"{fingerprint.provider}:{fingerprint.model}",
            dimensions=fingerprint.dimensions,
            document_prefix=fingerprint.document_prefix,
            query_prefix=fingerprint.query_prefix,
            query_store=query_store,
            tasks={role: task for role, task in tasks.items() if task},
            warn=False,
        )

    def __repr__(self) -> str:
        dimensions = self._embedder.dimensions
        size = f", dimensions={dimensions}" if dimensions else ""
        return f"EmbeddingClient({self.model!r}{size})"

    @property
    def model(self) -> str:
        """The model as provider:model."""
        return self._embedder.source

    @property
    def dimensions(self) -> int:
        """The length of a vector; the model is asked once if no setting or file says it."""
        return self.fingerprint.dimensions

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything that shapes this client's vectors; may load the model, or ask it once.

        Raises:
            ProviderError: the model cannot be asked.
        """
        return self._identity.fingerprint

    @property
    def rate(self) -> Rate:
        """The limits per minute that this client keeps to."""
        return self._rate

    @property
    def batch_texts(self) -> int:
        """The most texts of one request."""
        return self._embedder.batch_texts

    @property
    def part_limits(self) -> PartLimits | None:
        """What the model reads besides text, and how much of it at once; None for text only."""
        return self._embedder.provider.limits.parts

    @property
    def usage(self) -> Usage:
        """Counts of what was sent to the provider since this client was created."""
        return self._embedder.usage.total

    def setting_warnings(self) -> list[str]:
        """A line for each setting that is likely a mistake, with what to do; may load or ask the model once.

        Raises:
            ProviderError: the model cannot be asked.
        """
        needed = models.needed_prefixes(self._prefixes, self._embedder.provider.tasks)
        warnings = models.setting_warnings(self.model, needed, self.dimensions)
        return warnings + self._identity.prefix_mismatches()

    def embedding_role_prefixes(self) -> dict[EmbeddingRole, str]:
        """What is put before the texts of each role, exactly."""
        return dict(self._prefixes)

    def embeddings(
        self, texts: Sequence[EmbeddingInput], *, embedding_role: EmbeddingRole | str, combine: str = "one"
    ) -> Vectors:
        """(n, dimensions) float32, rows of unit length, one for each input in the same order.

        No inputs give (0, dimensions). A repeated one is sent once, and query vectors are cached. A text
        longer than the model reads is cut by local models and the Gemini API; Ollama and Vertex AI refuse it.

        Args:
            texts: a sequence of str, none of them blank; one text alone is a list of one. For a model that
                reads more than text an input may also be a Part, or a sequence of str and Part.
            embedding_role: what they are; QUERY for what searches, DOCUMENT for what is searched. The role's
                prefix goes before each text; with images and the like only if the model asks for it.
            combine: "one" embeds the parts of an input together; "mean" embeds each by itself and takes the
                mean, for parts that have little to do with each other.

        Raises:
            InputError: a str in place of a sequence, something that cannot be embedded, a blank text, more
                than the model reads at once; names the position, never the content.
            ConfigurationError: an input has parts, and the model reads text only.
            TextRejectedError: the provider cannot embed some of the inputs; nothing is returned. To continue
                with the other texts use `embed_stream`.
            ProviderError: the provider fails, or answers what cannot be embeddings.
        """
        role = checked_role(embedding_role)
        inputs = embedding_inputs(texts, combine=combine, model=self.model, limits=self.part_limits)
        if not inputs.items:
            return self._texts.no_rows()
        try:
            if role is EmbeddingRole.DOCUMENT:
                rows = self._texts.rows(inputs.items, role)
            else:
                rows = self._texts.cached_rows(inputs.items, role, self._queries)
        except TextRejectedError as error:
            raise inputs.rejection(error) from None
        return inputs.combined(rows)

    def embed_stream(
        self, texts: Iterable[str], *, embedding_role: EmbeddingRole | str, window_texts: int = _WINDOW_TEXTS
    ) -> Iterator[EmbeddedTexts]:
        """Embed any number of texts in parts; a text that cannot be embedded is reported, the rest goes on.

        Texts are read as needed and parts are yielded as they are answered: memory stays flat, and parts come
        out of order. Each position of the stream comes once, in `positions` or in `failures`. Requests run
        concurrently, also while the consumer is busy. When the provider fails for good, what it has answered
        is yielded first.

        Args:
            texts: any number of them.
            embedding_role: what they are.
            window_texts: how many are read at a time, to be sorted by length and freed of duplicates.

        Raises:
            InputError: something that is not text; names its position.
            ProviderError: nothing more can be embedded for now; run again for the rest.
        """
        role = checked_role(embedding_role)
        if isinstance(texts, (str, bytes)):
            raise InputError(f"texts must be a sequence of str; found one {type(texts).__name__}")
        return self._texts.stream(texts, role, window_texts)

    def batch_jobs(self) -> EmbeddingJobs:
        """Batch jobs for documents: cheaper, answered within a day.

        Raises:
            ConfigurationError: the provider offers none.
        """
        provider = self._embedder.provider
        if not isinstance(provider, GeminiProvider):
            raise ConfigurationError(f"{self.model} has no batch API: leave --batch-api out")
        return EmbeddingJobs(
            provider.batch_api(),
            embedder=self._embedder,
            prefix=self._prefixes[EmbeddingRole.DOCUMENT],
            dimensions=self.dimensions,
            model_dimensions=self._identity.info.dimensions,
            retries=self._bulk_retries,
        )

    def similarity(
        self,
        terms: str | Sequence[str],
        terms_to_match: str | Sequence[str],
        *,
        terms_role: EmbeddingRole | str,
        terms_to_match_role: EmbeddingRole | str,
    ) -> Vectors:
        """(m, n) float32 cosine similarity, -1 to 1, of m terms with n terms to match.

        Args:
            terms: one text, or a sequence of them.
            terms_to_match: one text, or a sequence of them.
            terms_role: what the terms are; QUERY against DOCUMENT is how a search compares.
            terms_to_match_role: what those to match are; the same role twice is a symmetric comparison.

        Raises:
            InputError, ProviderError: as `embeddings`.
        """
        rows, columns = (
            self.embeddings([texts] if isinstance(texts, str) else texts, embedding_role=role)
            for texts, role in ((terms, terms_role), (terms_to_match, terms_to_match_role))
        )
        cosines: Vectors = np.clip(rows @ columns.T, -1, 1)
        return cosines
