"""Search benchmark data: vectors, spaces built from them, and exact answers."""

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
from omop_emb.providers.base import Limits, ModelInfo
from omop_emb.search import planner, vector_indexes
from omop_emb.search.vector_indexes import IndexSettings
from omop_emb.spaces import lifecycle, registry, row_counts, upsert
from omop_emb.spaces.copy_rows import copy_block
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import ROW_DTYPE

K = 10
SHARES = {"half": 0.5, "tenth": 0.1, "hundredth": 0.01, "thousandth": 0.001}


@dataclass(frozen=True)
class Data:
    """Unit rows and unit queries, float32; and the cluster of each, -1 where it has none."""

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
    """A mixture of 2,000 Gaussians in 48 latent dimensions, with falling scales and noise in all dimensions.

    Half of the queries are drawn from the mixture, like a user's; half lie between two rows, which is harder.
    """
    random = np.random.default_rng(seed)
    latent, clusters = 48, 2000
    centres = random.normal(size=(clusters, latent))
    spread = random.normal(size=(latent, dimensions)) / (1 + np.arange(dimensions) / 100) ** 0.5

    def draw(count: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        cluster = random.integers(0, clusters, count)
        vectors = (centres[cluster] + 0.5 * random.normal(size=(count, latent))) @ spread
        return unit(vectors + 0.6 * random.normal(size=vectors.shape)), cluster

    # In pieces, as float64 takes much memory.
    pieces = [draw(min(100_000, rows - start)) for start in range(0, rows, 100_000)]
    all_rows, row_clusters = (np.concatenate(part) for part in zip(*pieces, strict=True))
    all_queries, query_clusters = draw(queries)
    hard = random.integers(0, rows, (queries // 2, 2))
    all_queries[: queries // 2] = unit(
        all_rows[hard[:, 0]] + all_rows[hard[:, 1]] + 0.02 * random.normal(size=dimensions)
    )
    query_clusters[: queries // 2] = row_clusters[hard[:, 0]]
    return Data(f"{rows // 1000}k x {dimensions}", all_rows, all_queries, row_clusters, query_clusters)


def real(path: Path, queries: Path, rows: int | None, count: int, seed: int = 1) -> Data:
    """Vectors of a model, (n, dimensions) float32 in .npy files: of names, and of the terms to search for."""
    random = np.random.default_rng(seed)
    names = np.load(path, mmap_mode="r")
    chosen = np.arange(len(names)) if rows is None else np.sort(random.permutation(len(names))[:rows])
    terms = np.load(queries)
    terms = terms[random.permutation(len(terms))[:count]]
    no_cluster = np.full(len(chosen), -1)
    return Data(
        f"{len(chosen) // 1000}k real x {names.shape[1]}",
        unit(np.asarray(names[chosen], np.float32)),
        unit(np.asarray(terms, np.float32)),
        no_cluster,
        no_cluster[: len(terms)],
    )


class VectorsOnly:
    """A provider that embeds no texts: the benchmarks have vectors."""

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
        """Let one core search: processor_seconds() does not see parallel workers."""
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
    """A space of the data, written, indexed, measured and committed: concept n is row n."""
    engine: Engine = database_engine(_url(conninfo))
    try:
        with Session(engine) as session:
            connection = driver_connection(session)
            migrations.migrate(connection)
            client = EmbeddingClient(
                provider=VectorsOnly(data.name, data.dimensions), document_prefix="", query_prefix=""
            )
            settings = settings or IndexSettings(partial="none")
            space, created = lifecycle.ensure_space(
                connection,
                client.fingerprint,
                index_type,
                with_index=False,
                first_pass=settings.first_pass,
                hnsw_ef_construction=ef_construction,
            )
            if created:
                _write(connection, space, data, domains, vocabularies)
                connection.execute(sql.SQL("analyze {}, {}").format(space.tables.rows, space.tables.texts))
                row_counts.recount_rows(connection, space)
            began = time.perf_counter()
            if created:
                vector_indexes.reconcile_indexes(connection, space, settings)
            seconds = time.perf_counter() - began
            session.commit()
            space = registry.space_by_name(driver_connection(session), space.name)
            yield Searched(space, EmbeddingInterface(client), session, seconds)
    finally:
        engine.dispose()


@contextmanager
def by_sql() -> Iterator[None]:
    """No search in the block uses or builds a matrix: exact ones compare rows in the database."""
    none = planner.MatrixCost(saved=-1.0, build=1.0)
    with mock.patch.object(planner, "matrix_cost", return_value=none):
        yield


def rebuilt(built: Searched, settings: IndexSettings) -> Searched:
    """The same space with other indexes."""
    connection = driver_connection(built.session)
    began = time.perf_counter()
    vector_indexes.reconcile_indexes(connection, built.space, settings)
    seconds = time.perf_counter() - began
    built.session.commit()
    space = registry.space_by_name(driver_connection(built.session), built.space.name)
    return Searched(space, built.interface, built.session, seconds)


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
    """(queries, K) the exact nearest of the passing rows, by the vectors that the database stores."""
    rows = np.arange(len(data.rows)) if passing is None else passing
    products = np.empty((len(queries), len(rows)), np.float32)
    for start in range(0, len(rows), 20_000):
        block = unit(data.rows[rows[start : start + 20_000]].astype(np.float16).astype(np.float32))
        products[:, start : start + 20_000] = queries @ block.T
    return rows[np.argsort(-products, axis=1)[:, :K]]


def recall(found: list[list[ConceptMatch]], truth: NDArray[np.intp]) -> float:
    """The share of the nearest that were found; each query must have all of its matches."""
    assert [len(of_query) for of_query in found] == [truth.shape[1]] * len(truth)
    pairs = zip(found, truth, strict=True)
    return (
        sum(len({m.concept_id for m in of_query} & set(right.tolist())) for of_query, right in pairs)
        / truth.size
    )


def processor_seconds(session: Session | None) -> float:
    """Processor time that this process and the server process of a session have used so far.

    On a shared machine a wall clock mostly measures waiting for others: a search by SQL waits for each of its
    statements, a library in the same process never does.
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
