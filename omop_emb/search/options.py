"""Search options: how many concepts, by which distance, of which kind, and how exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omop_emb.errors import InputError
from omop_emb.records import (
    ConceptFilter,
    IndexType,
    MetricType,
    shown_value,
    true_or_false,
    whole_number,
)


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
        object.__setattr__(self, "k", whole_number(self.k, "k"))
        if self.recall is not None:
            is_number = isinstance(self.recall, int | float | np.number) and not isinstance(self.recall, bool)
            if not is_number or not 0 < self.recall <= 1:
                found = shown_value(self.recall)
                raise InputError(f"recall must be a number above 0 and at most 1; found {found}")
            object.__setattr__(self, "recall", float(self.recall))
        object.__setattr__(self, "exact", true_or_false(self.exact, "exact"))

    @classmethod
    def parse(
        cls,
        index_type: IndexType | str | None,
        metric_type: MetricType | str,
        k: int,
        concept_filter: ConceptFilter | None,
        recall: float | None,
        exact: bool,
    ) -> SearchOptions:
        """The options of a caller, who may write an index type and a metric as text."""
        return cls(
            None if index_type is None else IndexType.parse(index_type, "index_type"),
            MetricType.parse(metric_type, "metric_type"),
            k,
            ConceptFilter.parse(concept_filter),
            recall,
            exact,
        )
