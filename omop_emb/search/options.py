"""Search options: how many concepts, by which distance, of which kind, and how exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omop_emb.errors import InputError
from omop_emb.records import ConceptFilter, IndexType, MetricType


@dataclass(frozen=True)
class SearchOptions:
    """The keywords that every search shares, checked.

    Raises:
        InputError: a value is of another type or out of range.
    """

    # FLAT is exact; HNSW needs an HNSW space, and is exact where its index cannot serve (L1, or few rows that
    # pass the filter); None is the space's own
    index_type: IndexType | None = None
    metric_type: MetricType = MetricType.COSINE  # the distance that ranks and is reported
    k: int = 10  # how many concepts of each query; so many are returned whenever so many pass the filter
    concept_filter: ConceptFilter | None = None  # which concepts may be returned; None lets all through
    # the mean share of the true nearest that must be found, above 0 to 1; decides how far the index is
    # searched. None is 0.99 where the space was measured
    recall: float | None = None
    exact: bool = False  # find exactly the nearest, however long it takes

    def __post_init__(self) -> None:
        if not isinstance(self.metric_type, MetricType):
            raise InputError(f"metric_type must be a MetricType; found {self.metric_type!r}")
        if self.index_type is not None and not isinstance(self.index_type, IndexType):
            raise InputError(f"index_type must be an IndexType or None; found {self.index_type!r}")
        if isinstance(self.k, bool) or not isinstance(self.k, int | np.integer) or self.k < 1:
            raise InputError(f"k must be at least 1; found {self.k!r}")
        if self.recall is not None and not 0 < self.recall <= 1:
            raise InputError(f"recall must be above 0 and at most 1; found {self.recall!r}")
        object.__setattr__(self, "k", int(self.k))  # numpy's integers too
