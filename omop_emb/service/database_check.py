"""Database check: every relation of ours is read once, and what must agree is compared."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy
from psycopg import sql

from omop_emb import config
from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.database.fetch import fetch_value
from omop_emb.database.relation_check import Damage, RelationCheck
from omop_emb.errors import DatabaseError
from omop_emb.indexing.verify import NORM_TOLERANCE
from omop_emb.records import IndexType, counted
from omop_emb.search import statements
from omop_emb.search.vector_indexes import VectorIndex, existing_indexes
from omop_emb.spaces import registry
from omop_emb.spaces.filters import ALL_ROWS
from omop_emb.spaces.registry import Space
from omop_emb.sql import read
from omop_emb.vocabulary import reader
from omop_emb.vocabulary.layout import LAYOUTS

# So that the planner has no other way than an HNSW index.
_BY_INDEX = {"enable_indexscan": "on", "enable_seqscan": "off", "enable_sort": "off"}
_PROBES = 50  # rows that are looked up in each HNSW index
_LEAST_FOUND = 0.8  # of them; a whole index finds nearly all

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class DatabaseCheck:
    """What was read, and what was found.

    Attributes:
        relations: how many tables, indexes and sequences were read.
        bytes: their size on disk.
        skipped_bytes: the size of those that were not read, because they are larger than was allowed.
        damages: what is damaged; empty where all is well.
        not_checked: what could not be done with this role or server, and why.
    """

    relations: int
    bytes: int
    skipped_bytes: int
    damages: tuple[Damage, ...]
    not_checked: tuple[str, ...]


def check_relations(
    engine: sqlalchemy.Engine,
    *,
    max_bytes: int | None = None,
    thorough: bool = True,
    on_progress: Progress | None = None,
) -> DatabaseCheck:
    """Read every table and index of the schema omop_emb, and a CDM's vocabulary that is used; only reads.

    Rows are counted by reading a table and by reading an index, and compared with what a vocabulary had when
    it was loaded, and a space's vectors with its texts: an empty page is valid, so rows can be lost without
    an error. A superuser's check also compares each entry of an index with its table (amcheck, pageinspect).

    Args:
        engine: the database.
        max_bytes: read the smallest tables until they are that large together; None reads all.
        thorough: compare the entries of large indexes with their tables too, which takes the most time.
        on_progress: called with the bytes read, all bytes, and the relation that is read next.

    Raises:
        DatabaseError: the database cannot be reached or used, or has no schema omop_emb.
    """
    with closing(RelationCheck(engine, thorough=thorough)) as check:
        relations = check.relations(_vocabulary_tables(engine))
        if not relations:
            raise DatabaseError("this database has no schema omop_emb: there is nothing to check")
        total, done, number = sum(relation.bytes for relation in relations), 0, 0
        for number, relation in enumerate(relations, 1):
            if max_bytes is not None and done + relation.bytes > max_bytes:
                number -= 1
                break
            if on_progress is not None:
                on_progress(done, total, relation.name)
            check.check(relation)
            done += relation.bytes
        _compare_counts(check)
        _compare_registry(check)
        for space in _spaces(check):
            _check_space(check, space)
        return DatabaseCheck(
            relations=number,
            bytes=done,
            skipped_bytes=total - done,
            damages=tuple(check.damages),
            not_checked=tuple(dict.fromkeys(check.not_checked)),
        )


def _vocabulary_tables(engine: sqlalchemy.Engine) -> list[str]:
    """The tables of a CDM that are used, named as the server reads them."""
    if config.variable("OMOP_EMB_VOCABULARY_SCHEMA") is None:
        return []
    with session_scope(engine) as session:
        connection = driver_connection(session)
        tables = reader.vocabulary_tables(connection)
        named = (getattr(tables, layout.name) for layout in LAYOUTS)
        return [table.as_string(connection) for table in named if table is not None]


def _compare_counts(check: RelationCheck) -> None:
    """Compare the rows of a release's tables with those that were loaded."""
    with check.reading_of("table", "omop_emb.vocabulary_file") as connection:
        for name, expected in connection.execute(read("check_recorded_counts")).fetchall():
            rows = check.row_counts.get(name, expected)
            if rows != expected:
                problem = f"{counted(expected, 'row')} were loaded, and {rows:,} can be read"
                check.add_damage("table", name, problem)


def _compare_registry(check: RelationCheck) -> None:
    """Compare the tables of spaces and releases with the registries."""
    names = {"tables": [layout.name for layout in LAYOUTS]}
    with check.reading_of("table", "omop_emb.space") as connection:
        for name, problem in connection.execute(read("check_registry"), names).fetchall():
            check.add_damage("table", name, problem)


def _spaces(check: RelationCheck) -> list[Space]:
    spaces: list[Space] = []
    with check.reading_of("table", "omop_emb.space") as connection:
        spaces = registry.all_spaces(connection)
    return spaces


def _check_space(check: RelationCheck, space: Space) -> None:
    """Compare a space's vectors with its texts, and look some of them up in its indexes."""
    rows, texts = f"omop_emb.space_{space.space_id}", f"omop_emb.space_{space.space_id}_text"
    if not {rows, texts} <= check.row_counts.keys():
        return  # damaged, closed to this role, or not read
    with check.reading_of("table", rows) as connection:
        _, without_vector, without_text = _query(connection, space, "verify_keys")
        if without_vector:
            check.add_damage("table", rows, f"{counted(without_vector, 'text')} of {texts} lack their vector")
        if without_text:
            check.add_damage("table", texts, f"{counted(without_text, 'vector')} of {rows} lack their text")
        invalid = sum(_query(connection, space, "verify_vectors"))
        if invalid:
            check.add_damage(
                "table", rows, f"{counted(invalid, 'vector')} without their length or dimensions"
            )
    if space.index_type is IndexType.HNSW:
        indexes: list[VectorIndex] = []
        with check.reading_of("table", rows) as connection:
            indexes = existing_indexes(connection, space)
        for index in indexes:
            name = f"omop_emb.{space.tables.index_name(index.domain)}"
            is_damaged = any(damage.name == name for damage in check.damages)
            if index.is_valid and not is_damaged:
                with check.reading_of("index", name) as connection:
                    _probe(check, connection, space, index.domain)


def _probe(
    check: RelationCheck, connection: psycopg.Connection[Any], space: Space, domain: int | None
) -> None:
    """Look some rows up in an HNSW index, which leads to pages all over it."""
    name = f"omop_emb.{space.tables.index_name(domain)}"
    parts = {
        "rows": space.tables.rows,
        "where": sql.SQL("" if domain is None else "where domain = {}").format(sql.Literal(domain)),
        "nearest": sql.SQL(statements.index_statement(space, ALL_ROWS, partial_domain=domain)),
        "vector": sql.Identifier(space.vector_schema),
    }
    sample = sql.SQL("select embedding::text from {rows} {where} order by text_hash limit {limit}")
    rows = connection.execute(sample.format(**parts, limit=sql.Literal(_PROBES))).fetchall()
    for setting, value in _BY_INDEX.items():
        connection.execute("select set_config(%s, %s, true)", (setting, value))
    nearest = sql.SQL(
        "select count(*) from ({nearest}) nearest"
        " where embedding operator({vector}.=) cast(%(query)s as {vector}.halfvec)"
    ).format(**parts)
    found = sum(
        fetch_value(connection, nearest, {"query": vector, "limit": 10, "candidates": 100}) > 0
        for (vector,) in rows
    )
    if found < _LEAST_FOUND * len(rows):
        check.add_damage("index", name, f"it leads to {found} of {counted(len(rows), 'row')}")


def _query(connection: psycopg.Connection[Any], space: Space, name: str) -> tuple[int, ...]:
    statement = sql.SQL(read(name)).format(
        texts=space.tables.texts,
        rows=space.tables.rows,
        vector=sql.Identifier(space.vector_schema),
        dimensions=sql.Literal(space.fingerprint.dimensions),
        tolerance=sql.Literal(NORM_TOLERANCE),
    )
    row: tuple[int, ...] | None = connection.execute(statement).fetchone()
    assert row is not None  # noqa: S101 - aggregates have one row
    return row
