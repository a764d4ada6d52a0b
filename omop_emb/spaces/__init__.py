"""Embedding spaces: which exist, which is active, their tables and rows.

`space_by_name()` looks one up, `activate_space()` switches readers to it, `QueryVectors` caches queries.
Searching is in `search`, building in `indexing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.spaces.lifecycle import activate_space as activate_space
    from omop_emb.spaces.query_vectors import QueryVectors as QueryVectors
    from omop_emb.spaces.registry import (
        build_command as build_command,
        check_complete as check_complete,
        space_by_name as space_by_name,
    )
    from omop_emb.spaces.release import (
        active_space_warning as active_space_warning,
        release_warning as release_warning,
    )

__getattr__, __dir__ = lazy_names(__name__)
