"""Hashed words: a model of no cost, whose vectors are near where names share words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
from scipy import sparse

from omop_emb.providers.base import EmbeddingResponse, Limits, ModelInfo
from omop_emb.records import EmbeddingRole

_WORDS = 16_384
_DIMENSIONS = 384
_METADATA = "Metadata-Version: 2.1\nName: hashed-words\nVersion: 1\n"


class HashedWords:
    """A vector for each word, chosen by its checksum; a text has their sum."""

    name = "hashed"

    def __init__(
        self, model: str = "words", *, dimensions: int | None = None, tasks: Mapping[EmbeddingRole, str] = {}
    ) -> None:
        self.model, self.tasks = model, dict(tasks)
        self.limits = Limits(batch_texts=512)
        self._dimensions = dimensions or _DIMENSIONS
        self._words = np.random.default_rng(1).standard_normal((_WORDS, self._dimensions)).astype(np.float32)

    def embed_batch(
        self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        """The sum of each text's words, and a little of its whole, so that no text is without a vector."""
        words = [[*text.lower().split(), text] for text in texts]
        columns = [crc32(word.encode()) % _WORDS for of_text in words for word in of_text]
        offsets = np.concatenate([[0], np.cumsum([len(of_text) for of_text in words])])
        weights = np.ones(len(columns), np.float32)
        weights[offsets[1:] - 1] = 0.3
        counts = sparse.csr_matrix((weights, columns, offsets), shape=(len(texts), _WORDS))
        return EmbeddingResponse(counts @ self._words)

    def model_info(self, *, timeout_seconds: float) -> ModelInfo:
        """Its number of dimensions."""
        return ModelInfo(revision="1", dimensions=self._dimensions)


def install(folder: Path) -> str:
    """Make the model a plug-in of the processes whose PYTHONPATH is what is returned."""
    package = folder / "hashed_words-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text(_METADATA)
    (package / "entry_points.txt").write_text(
        "[omop_emb.providers]\nhashed = athena.hashed_words:HashedWords\n"
    )
    return f"{folder}:{Path(__file__).parents[1]}"
