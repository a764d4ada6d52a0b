"""Row counts: how many rows of a space pass a filter, from counts per combination of filter columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from omop_emb.database.fetch import fetch_value
from omop_emb.spaces import filters
from omop_emb.spaces.registry import Space
from omop_emb.sql import read

# Where no counts help, rows are counted up to here: with more, an exact search is out of the question.
MAX_COUNTED_ROWS = 50_000


@dataclass(frozen=True)
class RowCount:
    """Rows of a space."""

    passing: int  # the filter
    total: int
    of_domains: int = 0  # rows of the filter's domains; all, if it names none

    @property
    def share(self) -> float:
        """The share of the rows that passes, 0 to 1."""
        return min(1.0, self.passing / self.total) if self.total else 1.0

    @property
    def share_of_domain(self) -> float:
        """The share of the rows of the filter's domains that passes, 0 to 1."""
        return min(1.0, self.passing / self.of_domains) if self.of_domains else 1.0


def recount_rows(connection: psycopg.Connection[Any], space: Space) -> None:
    """Count a space's rows again; nothing is committed."""
    # Two at a time would insert the same combinations: the second waits for the first to commit.
    connection.execute(
        "select pg_advisory_xact_lock(hashtext('omop_emb.space_count'), %s)", (space.space_id,)
    )
    connection.execute("delete from omop_emb.space_count where space_id = %s", (space.space_id,))
    connection.execute(
        sql.SQL(read("space_count_rows")).format(rows=space.tables.rows), {"space_id": space.space_id}
    )


def count_passing(
    connection: psycopg.Connection[Any], space: Space, condition: filters.Condition
) -> RowCount:
    """How many rows pass: as last counted, or, where that is outdated, counted now up to MAX_COUNTED_ROWS.

    For all rows the server's own estimate is enough, if it has one.
    """
    counted = filters.restrict(condition, condition.parameters.keys() - {"concept_id"})
    ((passing, total, of_domains, estimated),) = connection.execute(
        sql.SQL(read("space_count_passing")).format(
            condition=counted.text, domains=filters.restrict(condition, {"domain"}).text
        ),
        {**counted.parameters, "space_id": space.space_id, "rows": f"omop_emb.space_{space.space_id}"},
    )
    is_current = total and total / 2 <= max(estimated, 0) <= total * 2
    if is_current and "concept_id" not in condition.parameters:
        return RowCount(passing, total, of_domains)
    if condition is filters.ALL_ROWS and estimated > 0:
        return RowCount(estimated, estimated, estimated)
    with connection.transaction(force_rollback=True):  # which releases the lock on the rows
        count = sql.SQL("select count(*) from (select from {} {} limit {}) passing").format(
            space.tables.rows, condition.where, sql.Literal(MAX_COUNTED_ROWS)
        )
        passing = fetch_value(connection, count, condition.parameters)
    return RowCount(passing, max(passing, total, estimated), max(passing, of_domains))
