"""Retrieval: candidate concepts for source terms.

Indexes of a vocabulary and a space (exact, lexical, dense, memory) and the retrievers that search them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.retrieval.malloc import keep_freed_memory as keep_freed_memory

__getattr__, __dir__ = lazy_names(__name__)
