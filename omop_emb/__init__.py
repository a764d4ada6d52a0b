"""Map local clinical terms to standard OMOP concepts with embeddings in PostgreSQL and pgvector."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omop_emb.database import database_engine
    from omop_emb.embeddings import EmbeddingClient
    from omop_emb.errors import OmopEmbError
    from omop_emb.frames import nearest_concepts_frame
    from omop_emb.interface import EmbeddingInterface
    from omop_emb.planner import SearchPlan
    from omop_emb.records import ConceptFilter, ConceptMatch, EmbeddingRole, IndexType, MetricType
    from omop_emb.search import SearchResult

__version__ = "0.1.0"

_HOME = {
    "ConceptFilter": "records",
    "ConceptMatch": "records",
    "EmbeddingClient": "embeddings",
    "EmbeddingInterface": "interface",
    "EmbeddingRole": "records",
    "IndexType": "records",
    "MetricType": "records",
    "OmopEmbError": "errors",
    "SearchPlan": "planner",
    "SearchResult": "search",
    "database_engine": "database",
    "nearest_concepts_frame": "frames",
}

__all__ = [
    "ConceptFilter",
    "ConceptMatch",
    "EmbeddingClient",
    "EmbeddingInterface",
    "EmbeddingRole",
    "IndexType",
    "MetricType",
    "OmopEmbError",
    "SearchPlan",
    "SearchResult",
    "database_engine",
    "nearest_concepts_frame",
]


def __getattr__(name: str) -> object:
    # Imported at first use: numpy and SQLAlchemy alone would make `omop-emb --help` slow.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
