"""Encoded term: a query's part of a batch, as the feature modules read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from omop_emb.arrays import Floats, Mask, Vectors
from omop_emb.mapping.retrieval.queries import Query

Columns = Mapping[str, npt.NDArray[np.generic] | float]
"""Feature -> its values for all candidates of a term, or one value for all of them; others stay 0."""


@dataclass(frozen=True, eq=False)
class EncodedTerm:
    """A query with its v variants and p candidates."""

    query: Query
    grams: sparse.csr_matrix  # (v, grams) TF-IDF rows
    words: Floats  # (words, v) ones for each variant's words
    word_total: Floats  # (v,) sum of the words' idf
    hashes: npt.NDArray[np.uint64]  # (v,) hashes of the normal texts
    vectors: Vectors | None  # (v, dimensions) unit rows; None without a dense index
    key_hash: np.uint64  # of the original's text key
    exact_hash: np.uint64  # of the unchanged original
    found_by: Mapping[str, Mask]  # name of a retriever -> (p,) whether it found each candidate

    @property
    def original(self) -> str:
        """The term."""
        return self.query.variants[0].text
