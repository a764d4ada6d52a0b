"""Retrieval: candidate concepts for terms.

A vocabulary and a space are loaded into indexes in memory (exact, lexical, dense), kept memory-mapped, and
asked for candidates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.retrieval.malloc import keep_freed_memory as keep_freed_memory

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "malloc": ("keep_freed_memory",),
    },
)
