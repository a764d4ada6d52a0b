"""Benchmark databases: created for a block, with our schema, on the embedded server of ratios.py."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Engine

from omop_emb import database_engine
from omop_emb.database import migrations
from omop_emb.database.engine import driver_connection
from omop_emb.spaces import lifecycle, registry


def clustered(rows: int, dimensions: int, seed: int = 1) -> NDArray[np.float32]:
    """(rows, dimensions) unit rows around 2,000 centres, like texts of a vocabulary."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((2000, dimensions), np.float32)
    vectors = centres[random.integers(0, 2000, rows)]
    vectors += 0.7 * random.standard_normal((rows, dimensions), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@contextmanager
def database(conninfo: str) -> Iterator[Engine]:
    """A new database with our schema, which is dropped after the block."""
    name = f"bench_{time.time_ns()}"
    identifier = sql.Identifier(name)
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    query = "&".join(f"{key}={value}" for key, value in parts.items() if key not in ("dbname", "user"))
    with psycopg.connect(conninfo, autocommit=True) as server:
        server.execute(sql.SQL("create database {} template template0").format(identifier))
        engine = database_engine(f"postgresql://{parts['user']}@/{name}?{query}")
        try:
            with driver(engine) as connection:
                migrations.migrate(connection)
            yield engine
        finally:
            engine.dispose()
            server.execute(sql.SQL("drop database {} with (force)").format(identifier))


@contextmanager
def driver(engine: Engine) -> Iterator[psycopg.Connection[Any]]:
    with engine.connect() as connection:
        opened = driver_connection(connection)
        yield opened
        opened.commit()


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def processor_seconds(engine: Engine, work: Callable[[], object]) -> float:
    """Processor time of this process and of its only database session while it works.

    On a busy machine that is steadier than a clock, and counts in full what both do at the same time.
    """
    with driver(engine) as connection:
        stat = Path(f"/proc/{connection.info.backend_pid}/stat")

    def used() -> float:
        user, system = stat.read_text().rpartition(")")[2].split()[11:13]
        return time.process_time() + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    began = used()
    work()
    return used() - began


def drop_spaces(engine: Engine) -> None:
    """Drop every space, the active one too."""
    with driver(engine) as connection:
        connection.execute("update omop_emb.space set is_active = false")
        for space in registry.all_spaces(connection):
            lifecycle.drop_space(connection, space)
