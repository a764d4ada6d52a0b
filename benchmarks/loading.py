"""Bulk loads: the public interface beside the ORM and raw COPY BINARY, on the same vectors."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import sqlalchemy
import waiting_builder
from databases import clustered, database, driver, processor_seconds, timed
from pgvector.sqlalchemy import HALFVEC
from psycopg import sql
from ratios import Ratio
from sqlalchemy import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from omop_emb import EmbeddingInterface, IndexType
from omop_emb.spaces import registry
from omop_emb.spaces.tables import ROW_COLUMNS, TEXT_COLUMNS

_BLOCK_BYTES = 1_000_000
_DETAILS = {
    "domain_id": "Condition",
    "vocabulary_id": "SNOMED",
    "concept_class_id": "Clinical Finding",
    "standard_concept": "S",
}


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "orm_row"
    concept_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text_kind: Mapped[str] = mapped_column(primary_key=True)
    text_hash: Mapped[int] = mapped_column(sqlalchemy.BigInteger, primary_key=True)
    text: Mapped[str]
    domain_id: Mapped[str]
    vocabulary_id: Mapped[str]
    concept_class_id: Mapped[str]
    standard_concept: Mapped[str]
    embedding: Mapped[Any] = mapped_column(HALFVEC(768))


class _Loads:
    """The three ways to load the same vectors, each of which can be repeated."""

    def __init__(self, engine: Engine, conninfo: str, chosen: argparse.Namespace) -> None:
        self._engine, self._conninfo = engine, conninfo
        self._rows, self._orm_rows = chosen.rows, chosen.orm_rows
        self._vectors = clustered(2 * chosen.rows, chosen.dimensions)
        self._ids = np.arange(1, 2 * chosen.rows + 1)
        self._texts = [f"concept number {n} of the benchmark" for n in self._ids]
        self._interface = EmbeddingInterface(waiting_builder.client(dimensions=chosen.dimensions))
        Row.__table__.c.embedding.type = HALFVEC(chosen.dimensions)
        Base.metadata.create_all(engine)
        self._load(slice(0, 2 * chosen.rows))
        with driver(engine) as connection:
            tables = registry.active_space(connection).tables
            self._tables = {"rows": (tables.rows, ROW_COLUMNS), "texts": (tables.texts, TEXT_COLUMNS)}
            self._copies = {
                (name, part): _copy_blocks(connection, table, columns, start, start + chosen.rows)
                for name, (table, columns) in self._tables.items()
                for part, start in (("first", 1), ("second", chosen.rows + 1))
            }
            for name, (table, _) in self._tables.items():
                create = sql.SQL("create table {} (like {} including all)")
                connection.execute(create.format(sql.Identifier(f"raw_{name}"), table))

    def ours(self, part: str) -> None:
        """Load half of the vectors through the public interface."""
        self._load(slice(0, self._rows) if part == "first" else slice(self._rows, 2 * self._rows))

    def raw(self, part: str) -> None:
        """Load the same rows with COPY BINARY, from bytes that are already there."""
        with driver(self._engine) as connection:
            for name, (_, columns) in self._tables.items():
                statement = sql.SQL("copy {} ({}) from stdin (format binary)").format(
                    sql.Identifier(f"raw_{name}"), sql.SQL(", ").join(map(sql.Identifier, columns))
                )
                with connection.cursor() as cursor, cursor.copy(statement) as copy:
                    for block in self._copies[name, part]:
                        copy.write(block)

    def orm(self) -> None:
        """Insert some of the rows as objects of the ORM."""
        with Session(self._engine) as session:
            session.add_all(
                Row(
                    concept_id=int(self._ids[n]),
                    text_kind="n",
                    text_hash=n,
                    text=self._texts[n],
                    **_DETAILS,
                    embedding=self._vectors[n],
                )
                for n in range(self._orm_rows)
            )
            session.commit()

    def truncate(self) -> None:
        """Empty all tables, and write what earlier rounds left to be written."""
        tables = [table for table, _ in self._tables.values()]
        names = [*tables, *map(sql.Identifier, ("raw_rows", "raw_texts", "orm_row"))]
        with driver(self._engine) as connection:
            connection.execute(sql.SQL("truncate {}").format(sql.SQL(", ").join(names)))
        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            connection.execute("checkpoint")

    def _load(self, part: slice) -> None:
        with Session(self._engine) as session:
            self._interface.upsert_concept_embeddings(
                session=session,
                index_type=IndexType.FLAT,
                concept_ids=self._ids[part].tolist(),
                concept_texts=self._texts[part],
                embeddings=self._vectors[part],
            )
            session.commit()


def measure_loads(conninfo: str, chosen: argparse.Namespace) -> list[Ratio]:
    times: dict[str, list[float]] = {}
    with database(conninfo) as engine:
        loads = _Loads(engine, conninfo, chosen)
        steps: list[tuple[str, Callable[[], object]]] = [
            ("ours, empty", lambda: loads.ours("first")),
            ("ours, with rows", lambda: loads.ours("second")),
            ("ours, unchanged", lambda: loads.ours("first")),
            ("raw, empty", lambda: loads.raw("first")),
            ("raw, with rows", lambda: loads.raw("second")),
            ("orm", loads.orm),
        ]
        for number in range(chosen.rounds):
            loads.truncate()
            # The sides alternate in going first; within a side the order is fixed.
            for name, step in steps if number % 2 == 0 else [*steps[3:], *steps[:3]]:
                seconds = timed(step) if chosen.clock == "wall" else processor_seconds(engine, step)
                times.setdefault(name, []).append(seconds)
    rates = {name: chosen.rows / float(np.median(seconds)) for name, seconds in times.items()}
    rates["orm"] *= chosen.orm_rows / chosen.rows

    def ratio(name: str, ours: str, other: str, at_least: float) -> Ratio:
        detail = f"{rates[ours]:,.0f} over {rates[other]:,.0f} rows/s"
        return Ratio(name, rates[ours] / rates[other], at_least=at_least, detail=detail)

    size = f"{chosen.rows:,} x {chosen.dimensions}"
    return [
        ratio(f"bulk load of {size}, over ORM inserts", "ours, empty", "orm", 40),
        ratio("bulk load into an empty space, over raw COPY BINARY", "ours, empty", "raw, empty", 0.7),
        ratio(
            "bulk load into one with as many rows, over raw COPY", "ours, with rows", "raw, with rows", 0.55
        ),
        ratio("upsert where nothing changed, over the first load", "ours, unchanged", "ours, empty", 1.2),
    ]


def _copy_blocks(
    connection: psycopg.Connection[Any], table: sql.Identifier, columns: tuple[str, ...], low: int, end: int
) -> list[bytes]:
    """These concepts' rows as COPY BINARY reads them, in blocks of about a megabyte."""
    statement = sql.SQL(
        "copy (select {} from {} where concept_id >= {} and concept_id < {} order by concept_id) "
        "to stdout (format binary)"
    ).format(sql.SQL(", ").join(map(sql.Identifier, columns)), table, sql.Literal(low), sql.Literal(end))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        data = b"".join(copy)
    return [data[start : start + _BLOCK_BYTES] for start in range(0, len(data), _BLOCK_BYTES)]
