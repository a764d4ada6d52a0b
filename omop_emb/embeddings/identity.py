"""What a client's model is: asked for once, put beside the settings, and told as a fingerprint."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from omop_emb.embeddings import models
from omop_emb.errors import ConfigurationError, TextRejectedError
from omop_emb.providers.base import Identity, Provider
from omop_emb.providers.calling import Caller
from omop_emb.providers.retrying import Patience, with_retries
from omop_emb.records import EmbeddingRole, Fingerprint

logger = logging.getLogger(__name__)


class ModelIdentity:
    """A model that may be asked what it is; nothing is asked before somebody wants to know.

    Args:
        provider: whose model it is.
        caller: asks it to embed, where nothing else tells its dimensions.
        prefixes: what is put before the texts of each role.
        dimensions: asked for; None takes the model's own.
        patience: with the model's answers.
        advise: whether prefixes that the model's own files ask for otherwise are warned of.
    """

    def __init__(
        self,
        provider: Provider,
        caller: Caller,
        *,
        prefixes: Mapping[EmbeddingRole, str],
        dimensions: int | None,
        patience: Patience,
        advise: bool,
    ) -> None:
        self._provider, self._caller, self._prefixes = provider, caller, prefixes
        self._dimensions, self._patience, self._advise = dimensions, patience, advise
        self._model = f"{provider.name}:{provider.model}"
        self._lock = threading.RLock()
        self._identity: Identity | None = None
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
                identity = self.identity
                tasks = self._provider.tasks
                self._fingerprint = Fingerprint(
                    provider=self._provider.name,
                    model=self._provider.model,
                    revision=identity.revision,
                    dimensions=self._final_dimensions(identity),
                    document_prefix=self._prefixes[EmbeddingRole.DOCUMENT],
                    query_prefix=self._prefixes[EmbeddingRole.QUERY],
                    document_task=tasks.get(EmbeddingRole.DOCUMENT, ""),
                    query_task=tasks.get(EmbeddingRole.QUERY, ""),
                )
            return self._fingerprint

    @property
    def identity(self) -> Identity:
        """What the provider says of its model.

        Raises:
            ProviderError: the model cannot be asked.
        """
        with self._lock:
            if self._identity is None:
                self._identity = with_retries(
                    lambda seconds: self._provider.identity(timeout_seconds=seconds), self._patience
                )
                for line in self.unlike_its_files() if self._advise else ():
                    logger.warning("%s", line)
            return self._identity

    def unlike_its_files(self) -> list[str]:
        """A line for each prefix that is not the one that the model's own files ask for."""
        return [
            f"the files of {self._model} ask for {prompt!r} before a {role.value}'s text; set "
            f"{models.PREFIX_VARIABLES[role]} to use it"
            for role, prompt in self.identity.suggested_prefixes.items()
            if self._prefixes[role] != prompt
        ]

    def _final_dimensions(self, identity: Identity) -> int:
        native, asked = identity.dimensions, self._dimensions
        if native is not None:
            self._caller.expect(native)
        if native is None and asked is None and self._caller.answered_dimensions is not None:
            return self._caller.answered_dimensions
        if native is None and asked is None:
            outcome = self._caller.embed(["aspirin"], EmbeddingRole.DOCUMENT, self._patience)
            if outcome.failures:
                raise TextRejectedError(next(iter(outcome.failures.values())))
            return int(outcome.vectors.shape[1])
        if native is not None and asked is not None and asked > native:
            raise ConfigurationError(
                f"{self._model} has {native} dimensions, fewer than the {asked} asked for; set "
                f"OMOP_EMB_DIMENSIONS to at most {native}"
            )
        return asked or native or 0
