"""Embedding spaces: which exist, which is active, their tables and rows.

`by_name()` finds a space, `activate()` and `drop()` change which there are, `upsert` writes rows,
`QueryVectors` stores vectors of query texts. Searching them is in `search`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.spaces.lifecycle import (
        activate_space as activate_space,
        check_droppable as check_droppable,
        drop_space as drop_space,
    )
    from omop_emb.spaces.query_vectors import QueryVectors as QueryVectors
    from omop_emb.spaces.registry import (
        Space as Space,
        check_complete as check_complete,
        space_by_name as space_by_name,
    )

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "lifecycle": ("activate_space", "check_droppable", "drop_space"),
        "query_vectors": ("QueryVectors",),
        "registry": ("Space", "space_by_name", "check_complete"),
    },
)
