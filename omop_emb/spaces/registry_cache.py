"""The spaces of a database as they were read last, for as long as they are still so."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.errors import UndefinedTable

from omop_emb.spaces import registry
from omop_emb.spaces.registry import Space
from omop_emb.sql import read


class KnownSpaces:
    """Lists the spaces at each search: what they are is read once, that they are still so each time.

    May be shared by threads, and used for several databases by turns.
    """

    def __init__(self) -> None:
        self._last: tuple[Any, Any, list[Space]] | None = None

    def listed(self, connection: psycopg.Connection[Any]) -> list[Space]:
        """What spaces.listed() gives."""
        database = connection.pgconn.host, connection.pgconn.port, connection.pgconn.db
        last = self._last
        # Where there was a registry there is one still; should it have gone, the transaction fails.
        if (last is None or last[0] != database) and not registry.registry_exists(connection):
            return []
        try:
            state = connection.execute(read("spaces_fingerprint")).fetchall()
        except UndefinedTable:
            self._last = None
            return []
        if last is not None and last[:2] == (database, state):
            return last[2]
        # The state is older than what is read now, if anything: then it is not met again.
        there = registry.all_spaces(connection)
        self._last = database, state, there
        return there
