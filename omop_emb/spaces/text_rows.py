"""TextRows: texts of concepts with their vectors, on their way into a space."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omop_emb.errors import InputError
from omop_emb.records import Concept, TextKind

_BLOCK_ROWS = 500  # a megabyte or two: a block stays in the processor's cache


@dataclass(frozen=True)
class TextRows:
    """Texts of concepts with their vectors, one row each."""

    concept_ids: NDArray[np.int32]  # (n,)
    kinds: NDArray[np.bytes_]  # (n,) S1, the values of TextKind
    texts: Sequence[str]  # as shown
    text_hashes: NDArray[np.int64]  # (n,) upsert.text_hash() of the texts as embedded, in their template
    vectors: NDArray[np.float32] | NDArray[np.float16]  # (n, dimensions); float16 are values as stored
    concepts: Mapping[int, Concept | str]  # by id; a name alone for one that no vocabulary describes
    lengths: NDArray[np.float32] | None = None  # (n,) of the vectors; None where they have unit length

    @classmethod
    def from_concepts(
        cls,
        concepts: Sequence[Concept],
        kinds: Sequence[TextKind],
        texts: Sequence[str],
        text_hashes: NDArray[np.int64],
        vectors: NDArray[np.float32] | NDArray[np.float16],
    ) -> TextRows:
        """Rows of unit length, with the concept of each."""
        return cls(
            np.fromiter((concept.concept_id for concept in concepts), np.int32, len(concepts)),
            np.array([kind.value for kind in kinds], "S1"),
            texts,
            text_hashes,
            vectors,
            {concept.concept_id: concept for concept in concepts},
        )

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def keys(self) -> dict[str, NDArray[np.generic]]:
        """The primary key: concept_id, text_kind and text_hash, each (n,)."""
        return {"concept_id": self.concept_ids, "text_kind": self.kinds, "text_hash": self.text_hashes}

    def half_blocks(self) -> Iterator[tuple[slice, NDArray[np.float16]]]:
        """The vectors as stored, of unit length in half precision, in blocks of some hundred rows."""
        scratch = np.empty((min(_BLOCK_ROWS, len(self)), self.vectors.shape[1]), np.float32)
        for part in row_slices(len(self)):
            vectors = self.vectors[part]
            if self.lengths is not None:
                lengths = self.lengths[part, None]
                vectors = np.divide(vectors, lengths, out=scratch[: len(vectors)])
            yield part, vectors.astype("<f2", copy=False).view(np.float16)

    def take(self, positions: NDArray[np.int64]) -> TextRows:
        """The rows at these positions."""
        return TextRows(
            self.concept_ids[positions],
            self.kinds[positions],
            [self.texts[position] for position in positions],
            self.text_hashes[positions],
            self.vectors[positions],
            self.concepts,
            None if self.lengths is None else self.lengths[positions],
        )

    def without_duplicates(self) -> TextRows:
        """Each text of a concept once; raises InputError if one has two different vectors."""
        if (np.diff(self.concept_ids.astype(np.int64)) > 0).all():
            return self  # the usual case: sorted, one text each
        order = np.lexsort(tuple(self.keys.values()))
        repeats = np.ones(max(len(self) - 1, 0), bool)
        for values in self.keys.values():
            repeats &= values[order[1:]] == values[order[:-1]]
        if not repeats.any():
            return self
        # lexsort is stable: of equal keys, the earlier row of the call comes first.
        for earlier, later in zip(order[:-1][repeats], order[1:][repeats], strict=True):
            if not np.array_equal(self.vectors[earlier], self.vectors[later]):
                raise InputError(
                    f"concept {self.concept_ids[later]} has one text with two different vectors, at "
                    f"positions {earlier} and {later}: give each text of a concept once"
                )
        return self.take(np.delete(np.arange(len(self)), order[1:][repeats]))


def vector_hashes(halves: NDArray[np.float16]) -> NDArray[np.int64]:
    """(n,) hashes of vectors as stored; two different vectors share one with probability 2**-48.

    Sums of the 16-bit values, each multiplied by a 64-bit number of its own (multilinear hashing).
    """
    factors = np.frombuffer(hashlib.shake_256(b"omop-emb").digest(8 * halves.shape[1]), "<u8")
    hashes: NDArray[np.uint64] = np.einsum("ij,j->i", halves.view("<u2").astype(np.uint64), factors)
    return hashes.view(np.int64)


def row_slices(count: int) -> Iterator[slice]:
    """Consecutive slices that together cover `count` rows."""
    return (slice(first, first + _BLOCK_ROWS) for first in range(0, count, _BLOCK_ROWS))
