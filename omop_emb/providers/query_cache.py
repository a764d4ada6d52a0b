"""Query cache: the vectors of earlier queries, in memory and, if there is one, in a lasting store."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from omop_emb.arrays import Vectors
from omop_emb.providers.parts import EmbeddingItem
from omop_emb.records import EmbeddingRole, Fingerprint


class VectorStore(Protocol):
    """A lasting store of vectors by key, such as a table."""

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """The values of those keys that it holds."""

    def put_many(self, values: Mapping[bytes, bytes]) -> None:
        """Store values; an existing key need not be overwritten."""


def vector_key(fingerprint: Fingerprint, role: EmbeddingRole, item: EmbeddingItem) -> bytes:
    """SHA-256 of the item and of everything that shapes its vector; the item cannot be read from it."""
    what = item if isinstance(item, str) else item.digest.hex()
    kind = role.value if isinstance(item, str) else f"{role.value} parts"
    return hashlib.sha256(f"{fingerprint.digest}\n{kind}\n{what}".encode()).digest()


class QueryCache:
    """The last used vectors of one client, at most `max_bytes` in memory, backed by a lasting store."""

    def __init__(self, *, max_bytes: int, store: VectorStore | None = None) -> None:
        self._max_bytes, self._store = max_bytes, store
        self._bytes = 0
        self._vectors: OrderedDict[bytes, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def get_many(self, keys: Sequence[bytes], dimensions: int) -> dict[bytes, Vectors]:
        """The (dimensions,) float32 vectors of those keys that are cached."""
        with self._lock:
            cached = {key: self._vectors[key] for key in keys if key in self._vectors}
            for key in cached:
                self._vectors.move_to_end(key)
        missing = [key for key in dict.fromkeys(keys) if key not in cached]
        if self._store is not None and missing:
            for key, value in self._store.get_many(missing).items():
                if len(value) == 4 * dimensions:
                    cached[key] = np.frombuffer(value, dtype="<f4")
                    self._remember(key, cached[key])
        return cached

    def put_many(self, vectors: Mapping[bytes, Vectors]) -> None:
        """Add vectors, in memory and in the store."""
        for key, vector in vectors.items():
            self._remember(key, vector.copy())
        if self._store is not None and vectors:
            self._store.put_many({key: vector.astype("<f4").tobytes() for key, vector in vectors.items()})

    def _remember(self, key: bytes, vector: Vectors) -> None:
        with self._lock:
            if key in self._vectors or vector.nbytes > self._max_bytes:
                return
            self._vectors[key] = vector
            self._bytes += vector.nbytes
            while self._bytes > self._max_bytes:
                _, oldest = self._vectors.popitem(last=False)
                self._bytes -= oldest.nbytes
