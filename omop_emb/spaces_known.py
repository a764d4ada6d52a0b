"""The spaces of a database as they were read last, for as long as they are still so."""

from __future__ import annotations

from typing import Any

import psycopg

from omop_emb import spaces
from omop_emb.spaces import Space
from omop_emb.sql import read


class KnownSpaces:
    """Lists the spaces at each search: what they are is read once, that they are still so each time.

    May be shared by threads, and used for several databases by turns.
    """

    def __init__(self) -> None:
        self._last: tuple[Any, list[Space]] | None = None

    def listed(self, connection: psycopg.Connection[Any]) -> list[Space]:
        """What spaces.listed() gives."""
        if not spaces.exists(connection):
            return []
        state = connection.execute(read("spaces_state")).fetchall()
        last = self._last
        if last is not None and last[0] == state:
            return last[1]
        # The state is older than what is read now, if anything: then it is not met again.
        there = spaces.listed(connection)
        self._last = state, there
        return there
