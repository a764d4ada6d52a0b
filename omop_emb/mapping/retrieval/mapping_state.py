"""Mapping state: what the resources of a mapping depend on in the database, to see whether it has changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from omop_emb.spaces import registry
from omop_emb.sql import read
from omop_emb.vocabulary import reader


def read_state(
    connection: psycopg.Connection[Any], site: str, also_spaces: Sequence[str] | None = None
) -> tuple[object, ...]:
    """What the active space's resources for a site depend on: equal ones mean that nothing has changed.

    Of a CDM's tables it may lag ten seconds behind, and never changes for views.

    also_spaces: further spaces that are searched; those of the site's rankers count in any case.
    """
    cursor = connection.cursor(row_factory=tuple_row)
    if not registry.registry_exists(connection):
        return ()
    state = cursor.execute(read("mapping_state")).fetchall()
    if state and state[0][-1]:
        state += cursor.execute(read("mapping_site_state"), {"site": site}).fetchall()
        names = list(also_spaces or ())
        state += cursor.execute(read("mapping_further_state"), {"site": site, "names": names}).fetchall()
    return (*state, *reader.schema_state(connection))


def differs_in_site_only(one: Sequence[object], other: Sequence[object]) -> bool:
    """Whether two states of read_state() differ in nothing but approvals and rankers of the site."""
    # The site's row follows the space's, which says at its end whether there is one.
    has_site = bool(one) and isinstance(one[0], tuple) and bool(one[0][-1])
    return has_site and len(one) == len(other) and (one[0], one[2:]) == (other[0], other[2:])
