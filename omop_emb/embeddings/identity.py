"""Model identity: what a client's model says of itself, asked once, and the fingerprint that follows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from omop_emb.embeddings import models
from omop_emb.errors import ConfigurationError, TextRejectedError
from omop_emb.providers.base import ModelInfo
from omop_emb.providers.batch_embedder import BatchEmbedder
from omop_emb.providers.retrying import RetryPolicy, call_with_retries
from omop_emb.records import EmbeddingRole, Fingerprint

logger = logging.getLogger(__name__)


@dataclass
class ModelIdentity:
    """The identity of a client's model, which is asked when it is first read.

    `warn` logs prefixes other than those that the model's own files ask for.
    """

    embedder: BatchEmbedder
    prefixes: Mapping[EmbeddingRole, str]
    retries: RetryPolicy
    warn: bool
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _info: ModelInfo | None = field(default=None, init=False)
    _fingerprint: Fingerprint | None = field(default=None, init=False)

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything that shapes the vectors; ConfigurationError if the model has too few dimensions."""
        with self._lock:
            if self._fingerprint is None:
                provider = self.embedder.provider
                self._fingerprint = Fingerprint(
                    provider=provider.name,
                    model=provider.model,
                    revision=self.info.revision,
                    dimensions=self._final_dimensions(),
                    document_prefix=self.prefixes[EmbeddingRole.DOCUMENT],
                    query_prefix=self.prefixes[EmbeddingRole.QUERY],
                    document_task=provider.tasks.get(EmbeddingRole.DOCUMENT, ""),
                    query_task=provider.tasks.get(EmbeddingRole.QUERY, ""),
                )
            return self._fingerprint

    @property
    def info(self) -> ModelInfo:
        """What the provider knows about its model; raises ProviderError if it cannot be asked."""
        with self._lock:
            if self._info is None:
                self._info = call_with_retries(
                    lambda seconds: self.embedder.provider.model_info(timeout_seconds=seconds), self.retries
                )
                for line in self.prefix_mismatches() if self.warn else ():
                    logger.warning("%s", line)
            return self._info

    def prefix_mismatches(self) -> list[str]:
        """A line for each prefix that differs from what the model's own files ask for."""
        return [
            f"the files of {self.embedder.source} ask for {prompt!r} before a {role.value}'s text; set "
            f"{models.PREFIX_VARIABLES[role]} to use it"
            for role, prompt in self.info.suggested_prefixes.items()
            if self.prefixes[role] != prompt
        ]

    def _final_dimensions(self) -> int:
        native, requested = self.info.dimensions, self.embedder.dimensions
        if native is not None:
            self.embedder.set_model_dimensions(native)
            if requested is not None and requested > native:
                raise ConfigurationError(
                    f"{self.embedder.source} has {native} dimensions, fewer than the requested "
                    f"{requested}; set OMOP_EMB_DIMENSIONS to at most {native}"
                )
        dimensions = requested or native or self.embedder.received_dimensions
        if dimensions is not None:
            return dimensions
        result = self.embedder.embed(["aspirin"], EmbeddingRole.DOCUMENT, self.retries)
        if result.failures:
            raise TextRejectedError(next(iter(result.failures.values())))
        return int(result.vectors.shape[1])
