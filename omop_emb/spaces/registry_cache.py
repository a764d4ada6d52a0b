"""Registry cache: the spaces of a database as last read, for as long as they are unchanged."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.errors import UndefinedTable

from omop_emb.spaces import registry
from omop_emb.spaces.registry import Space
from omop_emb.sql import read


class RegistryCache:
    """Reads the registry once and, at each search, only whether it changed (decisions/0010).

    Threads may share it; it may serve several databases by turns.
    """

    def __init__(self) -> None:
        self._cached: tuple[Any, Any, list[Space]] | None = None

    def all_spaces(self, connection: psycopg.Connection[Any]) -> list[Space]:
        """As registry.all_spaces()."""
        database = connection.pgconn.host, connection.pgconn.port, connection.pgconn.db
        cached = self._cached
        # A registry that was read before still exists; if it was dropped, the transaction fails.
        if (cached is None or cached[0] != database) and not registry.registry_exists(connection):
            return []
        try:
            state = connection.execute(read("spaces_state")).fetchall()
        except UndefinedTable:
            self._cached = None
            return []
        if cached is not None and cached[:2] == (database, state):
            return cached[2]
        # Another session may commit between the two reads: then `state` is the older one, and never matches.
        spaces = registry.all_spaces(connection)
        self._cached = database, state, spaces
        return spaces
