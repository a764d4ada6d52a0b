"""Search: the nearest concepts of query vectors, exactly or through an index.

The planner chooses between SQL, a memory-mapped matrix and HNSW for a recall that was measured;
`SearchResult` holds matches and the plan that found them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.search.planner import SearchPlan as SearchPlan
    from omop_emb.search.search import SearchResult as SearchResult

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "planner": ("SearchPlan",),
        "search": ("SearchResult",),
    },
)
