"""Query vectors kept for the next time: in memory, and where a caller offers it, in a store that lasts."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from omop_emb.records import EmbeddingRole, Fingerprint
from omop_emb.vectors import Matrix


class VectorStore(Protocol):
    """A lasting store of vectors by key, such as a table; handed to EmbeddingClient from above."""

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """The values of those keys that are there."""
        ...

    def put_many(self, values: Mapping[bytes, bytes]) -> None:
        """Keep values; a key that is there already may be left as it is."""
        ...


def vector_key(fingerprint: Fingerprint, role: EmbeddingRole, text: str) -> bytes:
    """SHA-256 of everything that shapes a vector, and of the text; the text cannot be read from it."""
    return hashlib.sha256(f"{fingerprint.digest}\n{role.value}\n{text}".encode()).digest()


class QueryCache:
    """The least recently used vectors of one client, and before giving up, those of a lasting store.

    Args:
        most_bytes: of vectors held in memory.
        store: asked for what memory does not hold, and given what is new.
    """

    def __init__(self, *, most_bytes: int, store: VectorStore | None = None) -> None:
        self._most_bytes, self._store = most_bytes, store
        self._bytes = 0
        self._vectors: OrderedDict[bytes, Matrix] = OrderedDict()
        self._lock = threading.Lock()

    def get_many(self, keys: Sequence[bytes], dimensions: int) -> dict[bytes, Matrix]:
        """The (dimensions,) float32 vectors of those keys that are known."""
        found: dict[bytes, Matrix] = {}
        with self._lock:
            for key in keys:
                vector = self._vectors.get(key)
                if vector is not None:
                    self._vectors.move_to_end(key)
                    found[key] = vector
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        if self._store is not None and missing:
            for key, value in self._store.get_many(missing).items():
                if len(value) == 4 * dimensions:
                    found[key] = np.frombuffer(value, dtype="<f4")
                    self._keep(key, found[key])
        return found

    def put_many(self, vectors: Mapping[bytes, Matrix]) -> None:
        """Keep vectors, in memory and in the store."""
        for key, vector in vectors.items():
            self._keep(key, vector.copy())
        if self._store is not None and vectors:
            self._store.put_many({key: vector.astype("<f4").tobytes() for key, vector in vectors.items()})

    def _keep(self, key: bytes, vector: Matrix) -> None:
        with self._lock:
            if key in self._vectors or vector.nbytes > self._most_bytes:
                return
            self._vectors[key] = vector
            self._bytes += vector.nbytes
            while self._bytes > self._most_bytes:
                _, oldest = self._vectors.popitem(last=False)
                self._bytes -= oldest.nbytes
