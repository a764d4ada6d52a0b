"""Model identity: what a client's model says of itself, asked once, and the fingerprint that follows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from omop_emb.embeddings import models
from omop_emb.errors import ConfigurationError, TextRejectedError
from omop_emb.providers.base import ModelInfo, Provider
from omop_emb.providers.batch_embedder import BatchEmbedder
from omop_emb.providers.retrying import RetryPolicy, call_with_retries
from omop_emb.records import EmbeddingRole, Fingerprint

logger = logging.getLogger(__name__)


class ModelIdentity:
    """The identity of a client's model; the model is asked when somebody reads it first.

    Args:
        provider: of the model.
        embedder: embeds a text, where nothing else tells the dimensions.
        prefixes: put before the texts of each role.
        dimensions: of the client's vectors; None for the model's own.
        retries: for requests.
        warn: whether to log prefixes other than those that the model's own files ask for.
    """

    def __init__(
        self,
        provider: Provider,
        embedder: BatchEmbedder,
        *,
        prefixes: Mapping[EmbeddingRole, str],
        dimensions: int | None,
        retries: RetryPolicy,
        warn: bool,
    ) -> None:
        self._provider, self._embedder, self._prefixes = provider, embedder, prefixes
        self._dimensions, self._retries, self._warn = dimensions, retries, warn
        self._model = f"{provider.name}:{provider.model}"
        self._lock = threading.RLock()
        self._info: ModelInfo | None = None
        self._fingerprint: Fingerprint | None = None

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything that shapes the vectors.

        Raises:
            ProviderError: the model cannot be asked.
            ConfigurationError: it has fewer dimensions than were asked for.
        """
        with self._lock:
            if self._fingerprint is None:
                tasks = self._provider.tasks
                self._fingerprint = Fingerprint(
                    provider=self._provider.name,
                    model=self._provider.model,
                    revision=self.info.revision,
                    dimensions=self._final_dimensions(),
                    document_prefix=self._prefixes[EmbeddingRole.DOCUMENT],
                    query_prefix=self._prefixes[EmbeddingRole.QUERY],
                    document_task=tasks.get(EmbeddingRole.DOCUMENT, ""),
                    query_task=tasks.get(EmbeddingRole.QUERY, ""),
                )
            return self._fingerprint

    @property
    def info(self) -> ModelInfo:
        """What the provider knows about its model; raises ProviderError if it cannot be asked."""
        with self._lock:
            if self._info is None:
                self._info = call_with_retries(
                    lambda seconds: self._provider.model_info(timeout_seconds=seconds), self._retries
                )
                for line in self.prefix_mismatches() if self._warn else ():
                    logger.warning("%s", line)
            return self._info

    def prefix_mismatches(self) -> list[str]:
        """A line for each prefix that differs from what the model's own files ask for."""
        return [
            f"the files of {self._model} ask for {prompt!r} before a {role.value}'s text; set "
            f"{models.PREFIX_VARIABLES[role]} to use it"
            for role, prompt in self.info.suggested_prefixes.items()
            if self._prefixes[role] != prompt
        ]

    def _final_dimensions(self) -> int:
        native, requested = self.info.dimensions, self._dimensions
        if native is not None:
            self._embedder.set_model_dimensions(native)
            if requested is not None and requested > native:
                raise ConfigurationError(
                    f"{self._model} has {native} dimensions, fewer than the {requested} asked for; set "
                    f"OMOP_EMB_DIMENSIONS to at most {native}"
                )
        dimensions = requested or native or self._embedder.received_dimensions
        if dimensions is not None:
            return dimensions
        result = self._embedder.embed(["aspirin"], EmbeddingRole.DOCUMENT, self._retries)
        if result.failures:
            raise TextRejectedError(next(iter(result.failures.values())))
        return int(result.vectors.shape[1])
