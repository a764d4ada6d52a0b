"""A bare load: the same files by COPY and the same indexes, without anything else."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from omop_emb.sql import read
from omop_emb.vocabulary.layout import LAYOUTS

from .measured_process import server_processor_seconds

_BLOCK_BYTES = 1 << 20


def seconds(conninfo: str, folder: Path, data_dir: Path) -> tuple[float, float]:
    """(clock, processor) seconds of a load into a database of its own, which is dropped afterwards."""
    with psycopg.connect(conninfo, autocommit=True) as server:
        server.execute("create database bare_load template template0")
        try:
            began = time.perf_counter(), _processor_seconds(data_dir)
            _load(psycopg.conninfo.make_conninfo(conninfo, dbname="bare_load"), folder)
            return time.perf_counter() - began[0], _processor_seconds(data_dir) - began[1]
        finally:
            server.execute("drop database bare_load with (force)")


def _processor_seconds(data_dir: Path) -> float:
    return time.process_time() + server_processor_seconds(data_dir)


def _load(conninfo: str, folder: Path) -> None:
    with psycopg.connect(conninfo) as connection:
        tables = {layout.name: Identifier(layout.name) for layout in LAYOUTS}
        for layout in LAYOUTS:
            connection.execute(layout.create(tables[layout.name]))
            statement = SQL("copy {} from stdin (format text, header, null '')").format(tables[layout.name])
            file = folder / f"{layout.name.upper()}.csv"
            with file.open("rb") as source, connection.cursor().copy(statement) as copy:
                while block := source.read(_BLOCK_BYTES):
                    copy.write(block)
        for layout in LAYOUTS:
            if layout.key:
                key = SQL(", ").join(map(Identifier, layout.key))
                connection.execute(
                    SQL("alter table {} add primary key ({})").format(tables[layout.name], key)
                )
        connection.execute(SQL(read("vocabulary_create_indexes")).format(**tables))
        connection.execute("create extension pg_trgm")
        connection.execute(
            "create index on concept using gin (lower(concept_name) gin_trgm_ops) "
            "where standard_concept = 'S' and invalid_reason is null"
        )
