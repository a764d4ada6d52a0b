"""What a site has approved, searchable: source names as further texts of their target concepts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex, best, hashes
from omop_emb.mapping.terms.words import normal


class MemoryIndex:
    """Approved source names and the concepts that they were mapped to.

    Args:
        lexical: the vocabulary's index, whose grams are used.
        names: (m,) approved source names; a name with several targets stands several times.
        concepts: (m,) concept rows.
        vectors: (m, dimensions) unit rows of the names; None without a dense index.
        codes: (m,) source codes of the names, "" for none; None: none has one.
    """

    def __init__(
        self,
        lexical: LexicalIndex,
        names: Sequence[str],
        concepts: Ints,
        vectors: Floats | None = None,
        codes: Sequence[str] | None = None,
    ) -> None:
        self.names = list(names)
        self.codes = list(codes) if codes is not None else [""] * len(self.names)
        texts = [normal(name) for name in names]
        self.concept = np.asarray(concepts, np.int64)
        self.hash = hashes(texts)
        self._by_hash = np.argsort(self.hash, kind="stable")
        self._sorted_hash = self.hash[self._by_hash]
        self.rows = lexical.encode(texts)
        self.columns = self.rows.T.tocsr()
        self.vectors = vectors
        self._order = np.argsort(self.concept, kind="stable")

    def __len__(self) -> int:
        return len(self.names)

    def search(
        self, grams: sparse.csr_matrix, form_hash: npt.NDArray[np.uint64], vectors: Floats | None, k: int = 10
    ) -> tuple[Ints, Ints]:
        """(form, approved name) of all that read like a form, and of the k nearest by 3-grams and vectors."""
        # by its hash first: jargon may have no 3-gram that the vocabulary knows
        left = np.searchsorted(self._sorted_hash, form_hash, "left")
        sizes = np.searchsorted(self._sorted_hash, form_hash, "right") - left
        form = np.repeat(np.arange(len(form_hash)), sizes)
        offset = np.arange(len(form)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        near, name, _ = best((grams @ self.columns).tocsr(), k)
        forms, names = [form, near], [self._by_hash[np.repeat(left, sizes) + offset], name]
        if vectors is not None and self.vectors is not None:
            for at in range(0, len(vectors), 1024):
                scores = vectors[at : at + 1024] @ self.vectors.T
                size = min(k, scores.shape[1])
                top = np.argpartition(-scores, size - 1, axis=1)[:, :size]
                forms.append(np.repeat(np.arange(len(scores)) + at, size))
                names.append(top.ravel())
        return np.concatenate(forms), np.concatenate(names)

    def of(self, concepts: Ints, hidden: frozenset[int] = frozenset()) -> tuple[Ints, Ints]:
        """(place in concepts, approved name) of every approved name of the given concepts."""
        ordered = self.concept[self._order]
        left, right = np.searchsorted(ordered, concepts), np.searchsorted(ordered, concepts, "right")
        sizes = right - left
        place = np.repeat(np.arange(len(concepts)), sizes)
        begin = np.repeat(np.cumsum(sizes) - sizes, sizes)
        name = self._order[np.repeat(left, sizes) + np.arange(len(place)) - begin]
        if hidden:
            kept = ~np.isin(name, list(hidden))
            place, name = place[kept], name[kept]
        return place, name
