"""Map local clinical terms to standard OMOP concepts with embeddings in PostgreSQL and pgvector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names
from omop_emb.version import __version__ as __version__

if TYPE_CHECKING:
    from omop_emb.database.engine import database_engine as database_engine
    from omop_emb.embeddings.client import EmbeddingClient as EmbeddingClient
    from omop_emb.errors import OmopEmbError as OmopEmbError
    from omop_emb.interface.frames import nearest_concepts_frame as nearest_concepts_frame
    from omop_emb.interface.interface import EmbeddingInterface as EmbeddingInterface
    from omop_emb.mapping.mapper import map_terms as map_terms
    from omop_emb.mapping.term_frames import to_frame as to_frame
    from omop_emb.providers.parts import Part as Part
    from omop_emb.records import (
        ConceptFilter as ConceptFilter,
        ConceptMatch as ConceptMatch,
        EmbeddingRole as EmbeddingRole,
        IndexType as IndexType,
        MetricType as MetricType,
    )
    from omop_emb.search.planner import SearchPlan as SearchPlan
    from omop_emb.search.search import SearchResult as SearchResult
    from omop_emb.service.concept_finder import find_concepts as find_concepts

__all__: list[str]
__getattr__, __dir__ = lazy_names(__name__)
