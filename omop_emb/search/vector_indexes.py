"""Vector indexes: which a space has, which it should have, and how old ones are replaced."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from omop_emb.errors import ConfigurationError
from omop_emb.records import ConceptFilter, IndexType
from omop_emb.search import recall
from omop_emb.search.build_hnsw import create_index
from omop_emb.spaces import registry
from omop_emb.spaces.filters import coded_condition
from omop_emb.spaces.registry import Recall, Space
from omop_emb.spaces.row_counts import count_passing
from omop_emb.spaces.tables import SCHEMA, check_hnsw_dimensions
from omop_emb.sql import read

AUTO, NONE = "auto", "none"
# From this share of new rows on, building an index anew is faster than inserting them one by one.
REBUILD_SHARE = 0.3
# A domain with fewer rows is compared one by one in a few milliseconds. A domain with most of the rows gains
# nothing: through the index of all rows, every second candidate passes its filter.
AUTO_ROWS = 20_000
AUTO_SHARES = (0.05, 0.5)


@dataclass(frozen=True)
class IndexSettings:
    """Which vector indexes a space should have."""

    first_pass: str = ""  # see Space.first_pass
    partial: str = AUTO  # domains with an index of their own: "auto", "none", or names separated by commas

    @classmethod
    def resolve(cls, space: Space, first_pass: str | None, partial: str | None) -> IndexSettings:
        """The settings for a space; None leaves the space's own."""
        if space.index_type is not IndexType.HNSW:
            if first_pass or partial:
                raise ConfigurationError(
                    "a first pass and partial indexes are for HNSW: leave them out for FLAT"
                )
            return cls()
        settings = cls(
            space.first_pass if first_pass is None else "" if first_pass == NONE else first_pass,
            space.partial if partial is None else ",".join(_split_names(partial)) or NONE,
        )
        check_hnsw_dimensions(space.fingerprint.dimensions, settings.first_pass)
        return settings

    @property
    def domain_filter(self) -> ConceptFilter:
        """The named domains as a filter, so that unknown names can be found."""
        is_named = self.partial not in (AUTO, NONE)
        return ConceptFilter(domains=tuple(_split_names(self.partial)) if is_named else None)


def _split_names(names: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


@dataclass(frozen=True)
class VectorIndex:
    """An existing vector index."""

    domain: int | None  # code of the domain whose rows it holds; None for all rows
    is_valid: bool  # False if its creation was interrupted
    bytes: int  # on disk


def existing_indexes(connection: psycopg.Connection[Any], space: Space) -> list[VectorIndex]:
    """The vector indexes of a space, oldest first."""
    rows = connection.execute(read("space_indexes"), {"rows": f"{SCHEMA}.space_{space.space_id}"})
    prefix = space.tables.index_name()
    return [
        VectorIndex(None if name == prefix else int(name.removeprefix(f"{prefix}_")), is_valid, size)
        for name, is_valid, size in rows
    ]


def index_state(connection: psycopg.Connection[Any], space: Space) -> str:
    """The state of the index of all rows: "valid", "none", or "invalid" (its creation was interrupted)."""
    for index in existing_indexes(connection, space):
        if index.domain is None:
            return "valid" if index.is_valid else "invalid"
    return "none"


def drop_indexes_before_load(connection: psycopg.Connection[Any], space: Space, new_rows: int) -> None:
    """Drop the indexes of a space that is not active if so many new rows make building them anew faster.

    Invalid indexes are always dropped: they cost every write and serve no search.
    """
    indexes = existing_indexes(connection, space)
    if not space.is_active and indexes:
        row = connection.execute(sql.SQL("select count(*) from {}").format(space.tables.rows)).fetchone()
        if row is not None and new_rows >= REBUILD_SHARE * (row[0] + new_rows):
            _drop(connection, space, indexes)
            return
    _drop(connection, space, [index for index in indexes if not index.is_valid])


def desired_indexes(connection: psycopg.Connection[Any], space: Space, partial: str) -> dict[int | None, int]:
    """The vector indexes that an HNSW space should have: domain (None: all rows) -> rows last counted."""
    counted = connection.execute(read("space_domains"), {"space": space.space_id}).fetchall()
    rows_by_domain = {name or "": rows for _, rows, _, name in counted}
    domains = partial_index_domains(partial, rows_by_domain)
    return {
        None: sum(rows_by_domain.values()),
        **{code: rows for code, rows, _, name in counted if (name or "") in domains},
    }


def partial_index_domains(partial: str, rows_by_domain: Mapping[str, int]) -> list[str]:
    """The domains that should have an index of their own; `partial` as in IndexSettings, "" is no domain."""
    if partial != AUTO:
        return [name for name in _split_names(partial) if name in rows_by_domain]
    (least, most), total = AUTO_SHARES, sum(rows_by_domain.values())
    return [
        name
        for name, rows in rows_by_domain.items()
        if rows >= AUTO_ROWS and least * total <= rows <= most * total
    ]


def reconcile_indexes(connection: psycopg.Connection[Any], space: Space, settings: IndexSettings) -> bool:
    """Create and drop indexes until a space has those it should have, and measure their recall.

    Runs in the caller's transaction, after the space's rows were counted; readers use the old indexes until
    the caller commits. Whether an index was created.
    """
    if space.index_type is not IndexType.HNSW:
        return False
    space = registry.space_by_name(connection, space.name)
    desired = desired_indexes(connection, space, settings.partial)
    existing = existing_indexes(connection, space)
    is_same_kind = settings.first_pass == space.first_pass
    usable = {index.domain for index in existing if index.is_valid and is_same_kind}
    missing = [domain for domain in desired if domain not in usable]
    target = replace(space, first_pass=settings.first_pass)
    for domain in missing:
        create_index(connection, target, desired[domain], domain=domain, name=_temporary_name(space, domain))
    obsolete = [index for index in existing if index.domain not in desired or index.domain in missing]
    _measure_recall(connection, target, desired, has_changed=bool(missing or obsolete))
    _drop(connection, space, obsolete)
    for domain in missing:
        connection.execute(
            sql.SQL("alter index {} rename to {}").format(
                sql.Identifier(SCHEMA, _temporary_name(space, domain)),
                sql.Identifier(space.tables.index_name(domain)),
            )
        )
    connection.execute(
        "update omop_emb.space set first_pass = %s, partial = %s where space_id = %s",
        (settings.first_pass, settings.partial, space.space_id),
    )
    return bool(missing)


def _measure_recall(
    connection: psycopg.Connection[Any], space: Space, desired: dict[int | None, int], *, has_changed: bool
) -> None:
    """Measure what searches find if an index has changed, or many rows since they were last measured.

    They are searches in all domains, in each large one, and in each with an index of its own; and the same
    for standard and valid concepts alone, where there are others.
    """
    sample = recall.row_sample(connection, space)
    if not has_changed and not recall.is_stale(connection, space, sample):
        return
    partial = [domain for domain in desired if domain is not None]
    space = replace(space, partial_domains=tuple(partial))
    counted = connection.execute(read("space_domains"), {"space": space.space_id}).fetchall()
    large = [code for code, rows, share, _ in counted if rows >= AUTO_ROWS and share >= AUTO_SHARES[0]]
    measured: dict[bool, dict[int | None, Recall]] = {False: {}, True: {}}
    for domain in (None, *dict.fromkeys(partial + large)):
        condition = coded_condition(domain, standard_and_valid=False)
        measured[False][domain] = recall.measure_recall(connection, space, condition)
        condition = coded_condition(domain, standard_and_valid=True)
        count = count_passing(connection, space, condition)
        if count.passing < (count.total if domain is None else count.of_domains):
            measured[True][domain] = recall.measure_recall(connection, space, condition)
    connection.execute(
        "update omop_emb.space set recall = %s, partial_recall = %s, standard_recall = %s, "
        "recall_sample = %s where space_id = %s",
        (
            json.dumps(measured[False].pop(None)),
            json.dumps(measured[False]),
            json.dumps({"" if code is None else code: steps for code, steps in measured[True].items()}),
            sample,
            space.space_id,
        ),
    )


def _temporary_name(space: Space, domain: int | None) -> str:
    return f"{space.tables.index_name(domain)}_new"


def _drop(connection: psycopg.Connection[Any], space: Space, indexes: list[VectorIndex]) -> None:
    for index in indexes:
        name = sql.Identifier(SCHEMA, space.tables.index_name(index.domain))
        connection.execute(sql.SQL("drop index {}").format(name))
