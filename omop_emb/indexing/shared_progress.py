"""Shared progress: what all builders of a space have embedded since one of them began."""

from __future__ import annotations

import time

from omop_emb.indexing.builders import Builder
from omop_emb.indexing.connections import open_connection
from omop_emb.indexing.difference import BuildPlan

_SECONDS_BETWEEN_COUNTS = 5.0


class SharedProgress:
    """Counts texts and characters of a plan that are done, by whichever builder."""

    def __init__(self, builder: Builder, plan: BuildPlan) -> None:
        self._builder, self._plan = builder, plan
        self._counted_at = time.monotonic()
        self._counted = (0, 0)

    def done(self, own_texts: int, own_characters: int) -> tuple[int, int]:
        """Texts and characters; at least this builder's own, which include its unfinished chunk."""
        if time.monotonic() - self._counted_at >= _SECONDS_BETWEEN_COUNTS:
            self._counted = self._count()
            self._counted_at = time.monotonic()
        texts, characters = self._counted
        return max(own_texts, texts), max(own_characters, characters)

    def _count(self) -> tuple[int, int]:
        with open_connection(self._builder.engine) as connection:
            row = connection.execute(
                "select coalesce(sum(texts), 0)::bigint, coalesce(sum(characters), 0)::bigint "
                "from omop_emb.build_chunk where space_id = %s",
                (self._builder.space.space_id,),
            ).fetchone()
        assert row is not None  # noqa: S101 - an aggregate has one row
        return max(0, self._plan.distinct_texts - row[0]), max(0, self._plan.characters - row[1])
