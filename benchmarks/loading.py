"""The public bulk path beside the ORM and raw COPY BINARY, on the same vectors."""

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
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from omop_emb import EmbeddingInterface, IndexType
from omop_emb.spaces import registry
from omop_emb.spaces.tables import ROW_COLUMNS, TEXT_COLUMNS

_PIECE_BYTES = 1_000_000
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


def measure_loads(conninfo: str, chosen: argparse.Namespace) -> list[Ratio]:
    rows, dimensions = chosen.rows, chosen.dimensions
    vectors = clustered(2 * rows, dimensions)
    ids = np.arange(1, 2 * rows + 1)
    texts = [f"concept number {n} of the benchmark" for n in ids]
    client = waiting_builder.client(dimensions=dimensions)
    interface = EmbeddingInterface(client)
    Row.__table__.c.embedding.type = HALFVEC(dimensions)
    with database(conninfo) as engine:

        def load(part: slice) -> None:
            with Session(engine) as session:
                interface.upsert_concept_embeddings(
                    session=session,
                    index_type=IndexType.FLAT,
                    concept_ids=ids[part].tolist(),
                    concept_texts=texts[part],
                    embeddings=vectors[part],
                )
                session.commit()

        first, second = slice(0, rows), slice(rows, 2 * rows)
        load(slice(0, 2 * rows))
        with driver(engine) as connection:
            space = registry.active_space(connection)
            tables = {"rows": (space.tables.rows, ROW_COLUMNS), "texts": (space.tables.texts, TEXT_COLUMNS)}
            halves = {
                (name, half): _bytes_of(connection, table, columns, low, low + rows)
                for name, (table, columns) in tables.items()
                for half, low in (("first", 1), ("second", rows + 1))
            }
            for name, (table, _) in tables.items():
                connection.execute(
                    sql.SQL("create table {} (like {} including all)").format(
                        sql.Identifier(f"raw_{name}"), table
                    )
                )
        Base.metadata.create_all(engine)

        def emptied(*names: sql.Identifier) -> None:
            with driver(engine) as connection:
                connection.execute(sql.SQL("truncate {}").format(sql.SQL(", ").join(names)))
            with psycopg.connect(conninfo, autocommit=True) as connection:
                connection.execute("checkpoint")

        def raw(half: str) -> None:
            with driver(engine) as connection:
                for name, (_, columns) in tables.items():
                    statement = sql.SQL("copy {} ({}) from stdin (format binary)").format(
                        sql.Identifier(f"raw_{name}"), sql.SQL(", ").join(map(sql.Identifier, columns))
                    )
                    with connection.cursor() as cursor, cursor.copy(statement) as copy:
                        for block in halves[name, half]:
                            copy.write(block)

        def by_orm() -> None:
            with Session(engine) as session:
                session.add_all(
                    Row(
                        concept_id=int(ids[n]),
                        text_kind="n",
                        text_hash=n,
                        text=texts[n],
                        **_DETAILS,
                        embedding=vectors[n],
                    )
                    for n in range(chosen.orm_rows)
                )
                session.commit()

        times: dict[str, list[float]] = {}
        for number in range(chosen.rounds):
            steps: list[tuple[str, Callable[[], object]]] = [
                ("ours, empty", lambda: load(first)),
                ("ours, with rows", lambda: load(second)),
                ("ours, unchanged", lambda: load(first)),
                ("raw, empty", lambda: raw("first")),
                ("raw, with rows", lambda: raw("second")),
                ("orm", by_orm),
            ]
            emptied(space.tables.rows, space.tables.texts)
            emptied(sql.Identifier("raw_rows"), sql.Identifier("raw_texts"))
            emptied(sql.Identifier("orm_row"))
            # Either side goes first in every second round; within a side the order is given.
            for name, step in steps if number % 2 == 0 else [*steps[3:], *steps[:3]]:
                taken = timed(step) if chosen.clock == "wall" else processor_seconds(engine, step)
                times.setdefault(name, []).append(taken)
    median = {name: float(np.median(values)) for name, values in times.items()}
    rate = {name: rows / seconds for name, seconds in median.items()}
    rate["orm"] = chosen.orm_rows / median["orm"]

    def detail(ours: str, other: str) -> str:
        return f"{rate[ours]:,.0f} over {rate[other]:,.0f} rows/s"

    size = f"{rows:,} x {dimensions}"
    return [
        Ratio(
            f"bulk load of {size}, over ORM inserts",
            rate["ours, empty"] / rate["orm"],
            at_least=40,
            detail=detail("ours, empty", "orm"),
        ),
        Ratio(
            "bulk load into an empty space, over raw COPY BINARY",
            rate["ours, empty"] / rate["raw, empty"],
            at_least=0.7,
            detail=detail("ours, empty", "raw, empty"),
        ),
        Ratio(
            "bulk load into one with as many rows, over raw COPY",
            rate["ours, with rows"] / rate["raw, with rows"],
            at_least=0.55,
            detail=detail("ours, with rows", "raw, with rows"),
        ),
        Ratio(
            "upsert where nothing changed, over the first load",
            rate["ours, unchanged"] / rate["ours, empty"],
            at_least=1.2,
            detail=detail("ours, unchanged", "ours, empty"),
        ),
    ]


def _bytes_of(
    connection: psycopg.Connection[Any], table: sql.Identifier, columns: tuple[str, ...], low: int, end: int
) -> list[bytes]:
    """What COPY BINARY needs to load these concepts' rows, in pieces of about a megabyte."""
    statement = sql.SQL(
        "copy (select {} from {} where concept_id >= {} and concept_id < {} order by concept_id) "
        "to stdout (format binary)"
    ).format(sql.SQL(", ").join(map(sql.Identifier, columns)), table, sql.Literal(low), sql.Literal(end))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        whole = b"".join(copy)
    return [whole[start : start + _PIECE_BYTES] for start in range(0, len(whole), _PIECE_BYTES)]
