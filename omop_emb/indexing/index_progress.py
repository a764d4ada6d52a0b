"""How far the creation of an index is, asked from a second connection while the first one waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Engine

from omop_emb.errors import OmopEmbError
from omop_emb.indexing.connections import open_connection
from omop_emb.indexing.report import Phase, Progress, ProgressCallback
from omop_emb.sql import read

logger = logging.getLogger(__name__)


@contextmanager
def report_index_progress(
    engine: Engine, connection: psycopg.Connection[Any], tell: ProgressCallback, *, seconds: float = 1.0
) -> Iterator[None]:
    """Within the block, tell every few seconds how far a CREATE INDEX of the connection is.

    Where it cannot be asked, nothing is told: that is no reason to end a build.
    """
    ended = threading.Event()
    pid = connection.info.backend_pid

    def ask() -> None:
        if ended.wait(seconds):
            return
        try:
            with open_connection(engine, autocommit=True) as asking:
                while not ended.wait(seconds):
                    row = asking.execute(read("index_progress"), {"pid": pid}).fetchone()
                    if row is not None and row[0] is not None:
                        tell(Progress(Phase.FINISH, fraction=row[0]))
        except (psycopg.Error, OmopEmbError) as error:
            logger.debug("how far the index is cannot be asked: %s", type(error).__name__)

    thread = threading.Thread(target=ask, name="omop-emb-index-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
