"""Space removal: a space is dropped with the batch jobs that still run for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine

from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import OmopEmbError
from omop_emb.indexing.batch_jobs import cancel_jobs
from omop_emb.indexing.connections import open_connection
from omop_emb.indexing.status import SpaceStatus, space_status
from omop_emb.spaces import lifecycle, registry


@dataclass(frozen=True)
class DropReport:
    """What drop_index() did."""

    rows: int  # embedded texts that were deleted
    cancelled_jobs: int = 0
    cancel_error: str = ""  # why batch jobs could not be cancelled, so that they go on and cost


def drop_index(
    engine: Engine, name: str, *, approve: Callable[[SpaceStatus], None] | None = None
) -> DropReport:
    """Cancel a space's batch jobs and delete the space with all its vectors.

    `approve` is called with the space's state before anything is done, and ends it by raising.

    Raises:
        SpaceNotFoundError: there is no such space.
        SpaceError: it is the active one.
    """
    with open_connection(engine) as connection:
        space = registry.space_by_name(connection, name)
        lifecycle.check_droppable(space)
        status = space_status(connection, space)
    if approve is not None:
        approve(status)
    cancelled, error = 0, ""
    if status.batch_jobs:
        try:
            client = EmbeddingClient.for_fingerprint(space.fingerprint)
            cancelled, _ = cancel_jobs(engine, client, index_type=space.index_type, keep_results=False)
        except OmopEmbError as failure:
            error = str(failure)
    with open_connection(engine) as connection:
        lifecycle.drop_space(connection, registry.space_by_name(connection, name))
        connection.commit()
    return DropReport(status.rows, cancelled, error)
