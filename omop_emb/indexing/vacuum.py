"""VACUUM after a build: what left the space makes room, and reads need not ask whether a row is visible."""

from __future__ import annotations

import logging

import psycopg
from psycopg import sql
from sqlalchemy import Engine

from omop_emb.errors import DatabaseError
from omop_emb.indexing.connections import open_connection
from omop_emb.spaces.registry import Space

logger = logging.getLogger(__name__)


def vacuum(engine: Engine, space: Space) -> None:
    """Vacuum a space's tables; searches and writes go on meanwhile.

    A build is done without it: where it cannot be, or another is at it, the server's own will come.
    """
    try:
        with open_connection(engine, autocommit=True) as connection:
            for table in (space.tables.rows, space.tables.texts):
                connection.execute(sql.SQL("vacuum (skip_locked) {}").format(table))
    except (psycopg.Error, DatabaseError) as error:
        logger.debug("space %s was not vacuumed: %s", space.name, type(error).__name__)
