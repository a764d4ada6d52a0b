"""Index creation progress, read on a second connection while the first one waits for CREATE INDEX."""

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
    engine: Engine,
    connection: psycopg.Connection[Any],
    on_progress: ProgressCallback,
    *,
    seconds: float = 1.0,
) -> Iterator[None]:
    """Within the block, report every so many seconds how far a CREATE INDEX of the connection is.

    If that cannot be read, nothing is reported: the build goes on.
    """
    ended = threading.Event()
    pid = connection.info.backend_pid

    def watch() -> None:
        if ended.wait(seconds):
            return
        try:
            with open_connection(engine, autocommit=True) as watching:
                while not ended.wait(seconds):
                    row = watching.execute(read("index_progress"), {"pid": pid}).fetchone()
                    if row is not None and row[0] is not None:
                        on_progress(Progress(Phase.FINISH, fraction=row[0]))
        except (psycopg.Error, OmopEmbError) as error:
            logger.debug("the progress of the index cannot be read: %s", type(error).__name__)

    thread = threading.Thread(target=watch, name="omop-emb-index-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
