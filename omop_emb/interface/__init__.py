"""Interface: what ETL code calls to embed, store and search concepts.

`EmbeddingInterface` ties an `EmbeddingClient` to a space; `nearest_concepts_frame()` does it for pandas.
It writes in the caller's transaction and never commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.interface.frames import nearest_concepts_frame as nearest_concepts_frame
    from omop_emb.interface.interface import EmbeddingInterface as EmbeddingInterface

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "frames": ("nearest_concepts_frame",),
        "interface": ("EmbeddingInterface",),
    },
)
