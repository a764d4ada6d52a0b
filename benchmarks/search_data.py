"""Spaces of given vectors for the search benchmarks: data, a provider of no texts, and exact answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import sqlalchemy
from numpy.typing import NDArray
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from omop_emb import ConceptFilter, ConceptMatch, EmbeddingClient, EmbeddingInterface, IndexType
from omop_emb.database import migrations
from omop_emb.database.engine import database_engine, driver_connection
from omop_emb.indexing import vector_indexes
from omop_emb.indexing.vector_indexes import IndexSettings
from omop_emb.providers.base import Limits, ModelInfo
from omop_emb.search import planner
from omop_emb.spaces import lifecycle, registry, row_counts, upsert
from omop_emb.spaces.copy_rows import copy_block
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import ROW_DTYPE

K = 10
SHARES = {"half": 0.5, "tenth": 0.1, "hundredth": 0.01, "thousandth": 0.001}


@dataclass(frozen=True)
class Data:
    """Unit rows and unit queries, float32; and which cluster each comes from, -1 where none is known."""

    name: str
    rows: NDArray[np.float32]
    queries: NDArray[np.float32]
    row_clusters: NDArray[np.intp]
    query_clusters: NDArray[np.intp]

    @property
    def dimensions(self) -> int:
        return int(self.rows.shape[1])


def unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def clustered(rows: int, dimensions: int, queries: int, seed: int = 1) -> Data:
    """A mixture of 2,000 gaussians in 48 latent dimensions, with falling scales and noise in all dimensions.

    Half of the queries are of the mixture, as a user's are; half lie between two rows, which is harder.
    """
    random = np.random.default_rng(seed)
    latent, clusters = 48, 2000
    centres = random.normal(size=(clusters, latent))
    spread = random.normal(size=(latent, dimensions)) / (1 + np.arange(dimensions) / 100) ** 0.5

    def drawn(count: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        cluster = random.integers(0, clusters, count)
        made = (centres[cluster] + 0.5 * random.normal(size=(count, latent))) @ spread
        return unit(made + 0.6 * random.normal(size=made.shape)), cluster

    # Piece by piece, as float64 takes much memory.
    pieces = [drawn(min(100_000, rows - start)) for start in range(0, rows, 100_000)]
    every, row_clusters = (np.concatenate(part) for part in zip(*pieces, strict=True))
    wanted, query_clusters = drawn(queries)
    hard = random.integers(0, rows, (queries // 2, 2))
    wanted[: queries // 2] = unit(
        every[hard[:, 0]] + every[hard[:, 1]] + 0.02 * random.normal(size=dimensions)
    )
    query_clusters[: queries // 2] = row_clusters[hard[:, 0]]
    return Data(f"{rows // 1000}k x {dimensions}", every, wanted, row_clusters, query_clusters)


def real(path: Path, queries: Path, rows: int | None, count: int, seed: int = 1) -> Data:
    """Vectors of a model, (n, dimensions) float32 in .npy files: of names, and of what is searched for."""
    random = np.random.default_rng(seed)
    every = np.load(path, mmap_mode="r")
    chosen = np.arange(len(every)) if rows is None else np.sort(random.permutation(len(every))[:rows])
    wanted = np.load(queries)
    wanted = wanted[random.permutation(len(wanted))[:count]]
    nowhere = np.full(len(chosen), -1)
    return Data(
        f"{len(chosen) // 1000}k real x {every.shape[1]}",
        unit(np.asarray(every[chosen], np.float32)),
        unit(np.asarray(wanted, np.float32)),
        nowhere,
        nowhere[: len(wanted)],
    )


class Given:
    """A provider of no texts: the benchmarks give vectors."""

    name = "given"

    def __init__(self, model: str, dimensions: int) -> None:
        self.model, self._dimensions = model, dimensions
        self.limits, self.tasks = Limits(batch_texts=1), {}

    def embed_batch(self, texts: Sequence[str], role: object, *, timeout_seconds: float) -> Any:
        raise NotImplementedError

    def model_info(self, *, timeout_seconds: float) -> ModelInfo:
        return ModelInfo(revision="1", dimensions=self._dimensions)


@dataclass(frozen=True)
class Searched:
    """A built space, ready to be searched through the public API in one session."""

    space: Space
    interface: EmbeddingInterface
    session: Session
    seconds: float

    def __call__(
        self, queries: NDArray[np.float32], concept_filter: ConceptFilter | None = None, **options: Any
    ) -> list[list[ConceptMatch]]:
        return self.interface.get_nearest_concepts(
            session=self.session,
            index_type=options.pop("index_type", self.space.index_type),
            query_embeddings=queries,
            k=K,
            concept_filter=concept_filter,
            **options,
        )

    def without_workers(self) -> None:
        """Let one core search, as against one thread: processor_seconds() does not see what helpers do."""
        driver_connection(self.session).execute("set max_parallel_workers_per_gather = 0")


@contextmanager
def searched(
    conninfo: str,
    data: Data,
    index_type: IndexType,
    *,
    domains: NDArray[np.str_] | None = None,
    vocabularies: NDArray[np.str_] | None = None,
    settings: IndexSettings | None = None,
    ef_construction: int = 64,
) -> Iterator[Searched]:
    """A space of the data: concept n is row n. Written, indexed, measured and committed."""
    engine: Engine = database_engine(_url(conninfo))
    try:
        with Session(engine) as session:
            connection = driver_connection(session)
            migrations.migrate(connection)
            client = EmbeddingClient(
                provider=Given(data.name, data.dimensions), document_prefix="", query_prefix=""
            )
            settings = settings or IndexSettings(partial="none")
            space, made = lifecycle.ensure_space(
                connection,
                client.fingerprint,
                index_type,
                with_index=False,
                first_pass=settings.first_pass,
                hnsw_ef_construction=ef_construction,
            )
            if made:
                _write(connection, space, data, domains, vocabularies)
                connection.execute(sql.SQL("analyze {}, {}").format(space.tables.rows, space.tables.texts))
                row_counts.recount_rows(connection, space)
            began = time.perf_counter()
            if made:
                vector_indexes.reconcile_indexes(connection, space, settings)
            seconds = time.perf_counter() - began
            session.commit()
            space = registry.space_by_name(driver_connection(session), space.name)
            yield Searched(space, EmbeddingInterface(client), session, seconds)
    finally:
        engine.dispose()


@contextmanager
def by_sql() -> Iterator[None]:
    """No search in the block uses a matrix, or makes one: exact ones compare in the database."""
    none = planner.MatrixCost(saved=-1.0, build=1.0)
    with mock.patch.object(planner, "matrix_price", return_value=none):
        yield


def rebuilt(there: Searched, settings: IndexSettings) -> Searched:
    """The same space with other indexes."""
    connection = driver_connection(there.session)
    began = time.perf_counter()
    vector_indexes.reconcile_indexes(connection, there.space, settings)
    seconds = time.perf_counter() - began
    there.session.commit()
    space = registry.space_by_name(driver_connection(there.session), there.space.name)
    return Searched(space, there.interface, there.session, seconds)


def _url(conninfo: str) -> str:
    parts = {name: str(value) for name, value in conninfo_to_dict(conninfo).items() if value}
    user, database = parts.pop("user", None), parts.pop("dbname", None)
    return sqlalchemy.URL.create("postgresql", user, database=database, query=parts).render_as_string()


def _write(
    connection: Any,
    space: Space,
    data: Data,
    domains: NDArray[np.str_] | None,
    vocabularies: NDArray[np.str_] | None,
) -> None:
    count = len(data.rows)
    keys = np.zeros(count, ROW_DTYPE)
    keys["concept_id"] = keys["text_hash"] = np.arange(count)
    keys["text_kind"], keys["standard"], keys["valid"] = b"n", b"S", True
    for kind, labels in (("domain", domains), ("vocabulary", vocabularies)):
        for label in [] if labels is None else np.unique(labels):
            connection.execute(
                "insert into omop_emb.label (kind, label) values (%s, %s) on conflict do nothing",
                (kind, label),
            )
        codes = dict(
            connection.execute("select label, code from omop_emb.label where kind = %s", (kind,)).fetchall()
        )
        if labels is not None:
            keys[kind] = [codes[label] for label in labels]
    for start in range(0, count, 20_000):
        part = slice(start, start + 20_000)
        copy_block(connection, space, keys[part], data.rows[part], space.tables.rows)
    connection.execute(
        sql.SQL(
            "insert into {} (concept_id, text_kind, text_hash, text, concept_name) "
            "select concept_id, text_kind, text_hash, 'concept', 'concept ' || concept_id from {}"
        ).format(space.tables.texts, space.tables.rows)
    )
    upsert.record_write(connection, space)


def nearest(
    data: Data, queries: NDArray[np.float32], passing: NDArray[np.intp] | None = None
) -> NDArray[np.intp]:
    """(queries, K) the exact nearest rows, of those that pass, of what the database stores of them."""
    kept = np.arange(len(data.rows)) if passing is None else passing
    products = np.empty((len(queries), len(kept)), np.float32)
    for start in range(0, len(kept), 20_000):
        block = unit(data.rows[kept[start : start + 20_000]].astype(np.float16).astype(np.float32))
        products[:, start : start + 20_000] = queries @ block.T
    return kept[np.argsort(-products, axis=1)[:, :K]]


def recall(found: list[list[ConceptMatch]], truth: NDArray[np.intp]) -> float:
    """The share of the nearest that were found; each query must have as many as there are."""
    assert [len(of_query) for of_query in found] == [truth.shape[1]] * len(truth)
    pairs = zip(found, truth, strict=True)
    return (
        sum(len({m.concept_id for m in of_query} & set(right.tolist())) for of_query, right in pairs)
        / truth.size
    )


def processor_seconds(session: Session | None) -> float:
    """Processor time that this process has used so far, and with it the server's process of a session.

    On a machine that is shared, a wall clock mostly shows how long others let one wait: a search through SQL
    waits for each of its statements, a library in the same process never does.
    """
    used = time.process_time()
    if session is not None:
        backend = driver_connection(session).info.backend_pid
        used += int(Path(f"/proc/{backend}/schedstat").read_text().split()[0]) / 1e9
    return used


def seconds_each(one: Callable[[int], object], count: int) -> list[float]:
    """The seconds of one(0) to one(count - 1)."""
    times = []
    for number in range(count):
        began = time.perf_counter()
        one(number)
        times.append(time.perf_counter() - began)
    return times
