"""How many rows of a space pass a filter: kept per combination of what is filtered by, summed up here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from omop_emb.spaces import filters
from omop_emb.spaces.registry import Space
from omop_emb.sql import read

# Counted up to here where nothing is kept: beyond, a search over the rows themselves is out of question.
COUNTED = 50_000


@dataclass(frozen=True)
class RowCount:
    """Rows of a space.

    Attributes:
        passing: how many pass the filter.
        total: how many there are.
        of_domains: how many are of the filter's domains; all, if it names none.
    """

    passing: int
    total: int
    of_domains: int = 0

    @property
    def share(self) -> float:
        """What share of the rows passes, 0 to 1."""
        return min(1.0, self.passing / self.total) if self.total else 1.0

    @property
    def share_of_domain(self) -> float:
        """What share of the rows of the filter's domains passes, 0 to 1."""
        return min(1.0, self.passing / self.of_domains) if self.of_domains else 1.0


def recount_rows(connection: psycopg.Connection[Any], space: Space) -> None:
    """Count a space's rows anew; nothing is committed."""
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
    """How many rows pass: as last counted; where that is no use, counted now up to COUNTED.

    Of all rows the server's own estimate does, if it has one.
    """
    kept = filters.without_concept_ids(condition)
    row = connection.execute(
        sql.SQL(read("space_count_passing")).format(
            condition=kept.text, domains=filters.domain_condition(kept).text
        ),
        {**kept.parameters, "space_id": space.space_id, "rows": f"omop_emb.space_{space.space_id}"},
    ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate gives a row
    passing, total, of_domains, estimated = row
    wanted = condition.parameters.get("concept_id")
    if total and total / 2 <= max(estimated, 0) <= total * 2 and wanted is None:
        return RowCount(passing, total, of_domains)
    if condition is filters.ALL_ROWS and estimated > 0:
        return RowCount(estimated, estimated, estimated)
    with connection.transaction(force_rollback=True):  # which gives back the lock on the rows
        row = connection.execute(
            sql.SQL("select count(*) from (select from {} {} limit {}) found").format(
                space.tables.rows, condition.where, sql.Literal(COUNTED)
            ),
            condition.parameters,
        ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate gives a row
    return RowCount(row[0], max(row[0], total, estimated), max(row[0], of_domains))
