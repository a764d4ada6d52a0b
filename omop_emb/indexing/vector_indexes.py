"""Which vector indexes a space has and should have, and how new ones take the place of others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from omop_emb.errors import ConfigurationError
from omop_emb.indexing.build_hnsw import make_index
from omop_emb.records import ConceptFilter, IndexType
from omop_emb.search import recall
from omop_emb.spaces import registry
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import SCHEMA, check_hnsw_dimensions
from omop_emb.sql import read

AUTO, NONE = "auto", "none"
# A rebuild is cheaper than inserting this share of a space's rows through the index, one by one.
REBUILD_SHARE = 0.3
# A domain of fewer rows is compared one by one in a few milliseconds; one of most rows is as well served
# by the index of all: it looks at two candidates to find one that passes.
AUTO_ROWS = 20_000
AUTO_SHARES = (0.05, 0.5)


@dataclass(frozen=True)
class IndexSettings:
    """What vector indexes a space should have.

    Attributes:
        first_pass: see Space.first_pass.
        partial: which domains have an index of their own: "auto" (see AUTO_SHARES), "none", or their names
            with commas between them.
    """

    first_pass: str = ""
    partial: str = AUTO

    @classmethod
    def asked(cls, space: Space, first_pass: str | None, partial: str | None) -> IndexSettings:
        """What is asked for; None is as the space is.

        Raises:
            ConfigurationError: a FLAT space is asked to have an index.
            SpaceError: the first pass is none.
        """
        if space.index_type is not IndexType.HNSW:
            if first_pass or partial:
                raise ConfigurationError(
                    "a first pass and partial indexes are for HNSW: leave them out for FLAT"
                )
            return cls()
        made = cls(
            space.first_pass if first_pass is None else "" if first_pass == NONE else first_pass,
            space.partial if partial is None else ",".join(_listed(partial)) or NONE,
        )
        check_hnsw_dimensions(space.fingerprint.dimensions, made.first_pass)
        return made

    @property
    def domains(self) -> ConceptFilter:
        """The domains that are named, as a filter that can be checked."""
        return ConceptFilter(domains=None if self.partial in (AUTO, NONE) else tuple(_listed(self.partial)))


def _listed(names: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


@dataclass(frozen=True)
class VectorIndex:
    """A vector index that is there.

    Attributes:
        domain: code of the domain whose rows it holds; None for all rows.
        is_valid: False if its creation was interrupted.
        bytes: on disk.
    """

    domain: int | None
    is_valid: bool
    bytes: int


def existing_indexes(connection: psycopg.Connection[Any], space: Space) -> list[VectorIndex]:
    """The vector indexes of a space, oldest first."""
    rows = connection.execute(read("space_indexes"), {"rows": f"{SCHEMA}.space_{space.space_id}"})
    prefix = space.tables.hnsw_name
    return [
        VectorIndex(None if name == prefix else int(name.removeprefix(f"{prefix}_")), is_valid, size)
        for name, is_valid, size in rows
    ]


def index_state(connection: psycopg.Connection[Any], space: Space) -> str:
    """The state of the index of all rows: "valid", "none", or "invalid" (its creation was interrupted)."""
    whole = [index for index in existing_indexes(connection, space) if index.domain is None]
    return "none" if not whole else "valid" if whole[0].is_valid else "invalid"


def drop_before_load(connection: psycopg.Connection[Any], space: Space, new_rows: int) -> bool:
    """Drop the indexes if so many rows are to come that making them again is faster; never a reader's.

    An invalid index is always dropped: it costs each write and serves nobody.
    """
    found = existing_indexes(connection, space)
    if not space.is_active and found:
        row = connection.execute(sql.SQL("select count(*) from {}").format(space.tables.rows)).fetchone()
        if row is not None and new_rows >= REBUILD_SHARE * (row[0] + new_rows):
            return _drop(connection, space, found)
    return _drop(connection, space, [index for index in found if not index.is_valid])


def desired_indexes(connection: psycopg.Connection[Any], space: Space, partial: str) -> dict[int | None, int]:
    """The vector indexes that a counted HNSW space should have: domain (None: all rows) to rows."""
    counted = connection.execute(read("space_domains"), {"space": space.space_id}).fetchall()
    rows_of = {name or "": rows for _, rows, _, name in counted}
    with_own = partial_index_domains(partial, rows_of)
    return {
        None: sum(rows_of.values()),
        **{code: rows for code, rows, _, name in counted if (name or "") in with_own},
    }


def partial_index_domains(partial: str, rows_of: Mapping[str, int]) -> list[str]:
    """The domains that should have an index of their own.

    Args:
        partial: see IndexSettings.
        rows_of: the space's rows in each domain; "" is none.
    """
    if partial != AUTO:
        return [name for name in _listed(partial) if name in rows_of]
    (least, most), total = AUTO_SHARES, sum(rows_of.values())
    return [
        name for name, rows in rows_of.items() if rows >= AUTO_ROWS and least * total <= rows <= most * total
    ]


def reconcile_indexes(connection: psycopg.Connection[Any], space: Space, settings: IndexSettings) -> bool:
    """Let a space have the indexes that it should, measured, in the caller's transaction.

    The space's rows must have been counted. Readers use what is there until the caller commits: what is to
    be replaced is dropped when the new one stands.

    Returns:
        Whether an index was made.
    """
    if space.index_type is not IndexType.HNSW:
        return False
    space = registry.space_by_name(connection, space.name)
    wanted = desired_indexes(connection, space, settings.partial)
    old = existing_indexes(connection, space)
    after = replace(space, first_pass=settings.first_pass)
    kept = {index.domain for index in old if index.is_valid and settings.first_pass == space.first_pass}
    made = [domain for domain in wanted if domain not in kept]
    for domain in made:
        make_index(connection, after, wanted[domain], domain=domain, name=_new_name(space, domain))
    _measure(connection, after, wanted, made)
    _drop(connection, space, [index for index in old if index.domain not in wanted or index.domain in made])
    for domain in made:
        connection.execute(
            sql.SQL("alter index {} rename to {}").format(
                sql.Identifier(SCHEMA, _new_name(space, domain)),
                sql.Identifier(space.tables.index_name(domain)),
            )
        )
    connection.execute(
        "update omop_emb.space set first_pass = %s, partial = %s where space_id = %s",
        (settings.first_pass, settings.partial, space.space_id),
    )
    return bool(made)


def _measure(
    connection: psycopg.Connection[Any],
    space: Space,
    wanted: dict[int | None, int],
    made: list[int | None],
) -> None:
    """Measure the recall of new indexes; of all of them if many rows are others than last time."""
    sample = recall.sample(connection, space)
    if recall.is_stale(connection, space, sample):
        made = list(wanted)
    found = {domain: recall.measure(connection, space, domain) for domain in made}
    partial = {
        code: found.get(code, space.partial_recall.get(code, ())) for code in wanted if code is not None
    }
    connection.execute(
        "update omop_emb.space set recall = %s, partial_recall = %s, "
        "recall_sample = case when %s then %s else recall_sample end where space_id = %s",
        (json.dumps(found.get(None, space.recall)), json.dumps(partial), bool(found), sample, space.space_id),
    )


def _new_name(space: Space, domain: int | None) -> str:
    return f"{space.tables.index_name(domain)}_new"


def _drop(connection: psycopg.Connection[Any], space: Space, indexes: list[VectorIndex]) -> bool:
    for index in indexes:
        name = sql.Identifier(SCHEMA, space.tables.index_name(index.domain))
        connection.execute(sql.SQL("drop index {}").format(name))
    return bool(indexes)
