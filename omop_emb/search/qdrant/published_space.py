"""Published space: how a Qdrant collection holds an embedding space, and what it says of itself."""

from __future__ import annotations

import struct
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any
from uuid import UUID

from omop_emb.errors import SpaceError
from omop_emb.records import ConceptFilter, Fingerprint

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

FULL, SMALL = "full", "small"
"""The named vectors: whole ones, and their first numbers, which are searched before them."""
FORMAT = 1
METADATA_KEY = "omop_emb"  # in the collection's metadata

# Every field that a filter looks at, with Qdrant's type.
INDEXED_FIELDS = {
    "concept_id": "integer",
    "domain_id": "keyword",
    "vocabulary_id": "keyword",
    "concept_class_id": "keyword",
    "standard_concept": "keyword",
    "valid": "integer",  # 1 or 0: filters of the engine in process take no booleans
}
_LIMITS = {
    "domain_id": "domains",
    "vocabulary_id": "vocabularies",
    "concept_class_id": "concept_classes",
    "concept_id": "concept_ids",
}


@dataclass(frozen=True, kw_only=True)
class PublishedSpace:
    """What a collection holds."""

    fingerprint: Fingerprint
    space: str  # its name where it was published
    vocabulary_release: str | None
    texts: str  # the recipe
    template: str
    rows: int
    small: int | None  # numbers of a small vector; None without one
    published: str  # when, in UTC, as ISO 8601 writes it
    is_complete: bool = False  # whether every row was written and counted

    def metadata(self) -> dict[str, Any]:
        """As the collection's metadata says it."""
        return {METADATA_KEY: {"format": FORMAT, **asdict(self)}}


def read_published(client: QdrantClient, collection: str) -> PublishedSpace:
    """What a collection says of itself.

    Raises:
        SpaceError: it does not say so as this version does.
    """
    metadata = client.get_collection(collection).config.metadata or {}
    said = metadata.get(METADATA_KEY)
    names = {entry.name for entry in fields(PublishedSpace)}
    try:
        if not isinstance(said, dict) or said["format"] != FORMAT:
            raise ValueError
        values = {name: said[name] for name in names}
        return PublishedSpace(**{**values, "fingerprint": Fingerprint(**values["fingerprint"])})
    except (ValueError, KeyError, TypeError):
        raise SpaceError(
            f"the Qdrant collection {collection!r} does not say which space it holds, or was written by "
            "another version: run omop-emb index publish NAME URL with a collection of its own"
        ) from None


def point_id(concept_id: int, text_kind: str, text_hash: int) -> str:
    """The id of a row: its key as a UUID, the same each time."""
    return str(UUID(bytes=struct.pack(">ic3xq", concept_id, text_kind.encode(), text_hash)))


def vector_parameters(dimensions: int, small: int | None) -> dict[str, models.VectorParams]:
    """The named vectors of a collection."""
    from qdrant_client import models

    half = models.Datatype.FLOAT16
    # For cosine Qdrant would normalise vectors and so alter them; products rank rows of unit length alike.
    # Whole vectors that only rank what the small ones have found need no graph.
    full = models.VectorParams(
        size=dimensions,
        distance=models.Distance.DOT,
        datatype=half,
        hnsw_config=None if small is None else models.HnswConfigDiff(m=0),
    )
    if small is None:
        return {FULL: full}
    cosine = models.Distance.COSINE  # the first numbers of a unit row are no unit row
    return {FULL: full, SMALL: models.VectorParams(size=small, distance=cosine, datatype=half)}


def passing_filter(concept_filter: ConceptFilter | None) -> models.Filter | None:
    """The filter as Qdrant's; None lets all rows through."""
    from qdrant_client import models

    if concept_filter is None or concept_filter.is_empty:
        return None
    conditions: list[models.Condition] = [
        models.FieldCondition(key=key, match=models.MatchAny(any=list(getattr(concept_filter, name))))
        for key, name in _LIMITS.items()
        if getattr(concept_filter, name) is not None
    ]
    if concept_filter.standard_only:
        standard = models.MatchValue(value="S")
        conditions.append(models.FieldCondition(key="standard_concept", match=standard))
    if concept_filter.valid_only:
        conditions.append(models.FieldCondition(key="valid", match=models.MatchValue(value=1)))
    return models.Filter(must=conditions)


def lets_nothing_through(concept_filter: ConceptFilter | None) -> bool:
    """Whether a limit of the filter is empty."""
    return concept_filter is not None and any(
        getattr(concept_filter, name) == () for name in _LIMITS.values()
    )
