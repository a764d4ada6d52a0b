"""Published collection: the collection that a publication creates, fills, checks and gives its alias."""

from __future__ import annotations

import re
import time
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from omop_emb.arrays import HalfVectors
from omop_emb.errors import DatabaseError, SpaceError
from omop_emb.indexing.report import Phase, Progress, ProgressCallback
from omop_emb.records import counted
from omop_emb.search.qdrant import published_space
from omop_emb.search.qdrant.published_space import FULL, SMALL, PublishedSpace
from omop_emb.spaces.tables import KEY_COLUMNS

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_POINTS = 256  # of one request
_POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class UnusedCollection:
    """A collection of an earlier publication, which no alias names."""

    name: str
    rows: int  # that it holds
    is_complete: bool  # False: that publication was interrupted, or still runs


def create_collection(client: QdrantClient, collection: str, published: PublishedSpace) -> None:
    """Create a collection that says what it will hold; DatabaseError if the server cannot keep that."""
    parameters = published_space.vector_parameters(published.fingerprint.dimensions, published.small)
    client.create_collection(collection, vectors_config=parameters, metadata=published.metadata())
    try:
        published_space.read_published(client, collection)
    except SpaceError:
        raise DatabaseError(
            "this Qdrant server keeps no metadata of collections: it must be version 1.16 or later"
        ) from None
    for field_name, kind in published_space.INDEXED_FIELDS.items():
        client.create_payload_index(collection, field_name, field_schema=kind, wait=True)  # type: ignore[arg-type] # texts are taken too


def copy_rows(
    client: QdrantClient, collection: str, published: PublishedSpace, batches: Any, report: ProgressCallback
) -> None:
    """Write all rows into it, each request anew if it fails."""
    written = 0
    for columns, halves in batches:
        keys = (columns[name] for name in KEY_COLUMNS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a request that is tried again
            client.upload_collection(
                collection,
                vectors=_vectors(halves, published.small),
                payload=_payloads(columns),
                ids=list(map(published_space.point_id, *keys)),
                batch_size=_POINTS,
                max_retries=3,
                wait=True,
            )
        written += len(halves)
        report(Progress(Phase.COPY, fraction=min(1.0, written / published.rows)))


def _vectors(halves: HalfVectors, small: int | None) -> dict[str, Any]:
    full = halves.astype(np.float32)
    return {FULL: full} if small is None else {FULL: full, SMALL: full[:, :small]}


def _payloads(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    names = [name for name in columns if name != "invalid_reason"]
    rows = zip(*(columns[name] for name in names), strict=True)
    return [
        {**dict(zip(names, row, strict=True)), "valid": int(reason is None)}
        for row, reason in zip(rows, columns["invalid_reason"], strict=True)
    ]


def check_and_finish(
    client: QdrantClient, collection: str, published: PublishedSpace, report: ProgressCallback
) -> None:
    """Count the rows, wait for the server's index, and let the collection say that it is complete."""
    count = client.count(collection, exact=True).count
    if count != published.rows:
        raise SpaceError(
            f"the copy holds {counted(count, 'row')}, but the space {published.rows:,}: run the command again"
        )
    while True:
        time.sleep(_POLL_SECONDS)  # before the first look too: the server begins a moment after the last row
        info = client.get_collection(collection)
        if info.status == "red":
            raise DatabaseError("Qdrant could not index the copy: see the server's log")
        if info.status != "yellow":
            break
        vectors = published.rows  # each of the small ones, or each of the full ones, is indexed
        report(
            Progress(Phase.WAIT_FOR_QDRANT, fraction=min(1.0, (info.indexed_vectors_count or 0) / vectors))
        )
    client.update_collection(collection, metadata=replace(published, is_complete=True).metadata())


def switch_alias(client: QdrantClient, alias: str, collection: str, replaced: str | None) -> None:
    """Let the alias name a collection, instead of the one that it named."""
    from qdrant_client import models

    create = models.CreateAliasOperation(
        create_alias=models.CreateAlias(collection_name=collection, alias_name=alias)
    )
    if replaced is None:
        client.update_collection_aliases([create])
        return
    delete = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
    client.update_collection_aliases([delete, create])  # both or neither


def unused_collections(client: QdrantClient, alias: str) -> tuple[UnusedCollection, ...]:
    """Collections that publications under this alias have made, and that no alias names."""
    named = {entry.collection_name for entry in client.get_aliases().aliases}
    made = re.compile(re.escape(alias) + "-[0-9]{8}-[0-9]{6}-[0-9a-f]{4}")  # as publish_index() names them
    unused = []
    for entry in client.get_collections().collections:
        if made.fullmatch(entry.name) and entry.name not in named:
            try:
                published = published_space.read_published(client, entry.name)
            except SpaceError:
                continue
            rows = client.count(entry.name, exact=True).count
            unused.append(UnusedCollection(name=entry.name, rows=rows, is_complete=published.is_complete))
    return tuple(unused)
