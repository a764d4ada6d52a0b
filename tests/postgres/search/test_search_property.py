"""Searches of generated rows: exact methods find what brute force finds, the others nearly all of it.

Brute force is numpy in float64, on the vectors as the database stores them, in half precision. Both stores
are searched: PostgreSQL, and Qdrant's engine over the official client with what was published from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from numpy.typing import NDArray
from sqlalchemy import Engine

from omop_emb import database_engine
from omop_emb.errors import InputError
from omop_emb.indexing import publish, published_collection
from omop_emb.records import (
    Concept,
    ConceptFilter,
    ConceptMatch,
    Fingerprint,
    IndexType,
    MetricType,
    TextKind,
)
from omop_emb.search import planner
from omop_emb.search.options import SearchOptions
from omop_emb.search.planner import SearchMethod
from omop_emb.search.qdrant import qdrant_store
from omop_emb.search.qdrant.qdrant_server import QdrantAddress
from omop_emb.search.qdrant.qdrant_store import QdrantStore
from omop_emb.search.search import SearchResult
from omop_emb.search.stores import PostgresStore, Store
from omop_emb.spaces import lifecycle, row_counts, upsert
from omop_emb.spaces.registry import Space
from omop_emb.spaces.text_rows import TextRows
from tests.conftest import as_url
from tests.qdrant_server import QdrantServer, qdrant_server

pytestmark = pytest.mark.usefixtures("own_cache")

DIMENSIONS = 12
DOMAINS = ("Condition", "Drug", "Measurement")
VOCABULARIES = ("SNOMED", "RxNorm")
# Name of a kind -> its index type, its first pass, and whether one domain has an index of its own.
KINDS: dict[str, tuple[IndexType, str, bool]] = {
    "flat": (IndexType.FLAT, "", False),
    "hnsw": (IndexType.HNSW, "", False),
    "hnsw, a partial index": (IndexType.HNSW, "", True),
    "hnsw, 6 dimensions first": (IndexType.HNSW, "6", False),
    "hnsw, signs first": (IndexType.HNSW, "binary", False),
    "qdrant": (IndexType.HNSW, "", False),
    "qdrant, 6 dimensions first": (IndexType.HNSW, "", False),
}
# How many numbers come first in Qdrant.
SMALL = {"qdrant": None, "qdrant, 6 dimensions first": 6}
# A model that may be cut.
MODEL = {"provider": "ollama", "model": "nomic-embed-text:v1.5"}


@dataclass(frozen=True)
class Case:
    """What is stored, and how it is searched."""

    seed: int
    rows: int
    distinct_vectors: int
    concepts: int
    on_a_grid: bool
    k: int
    queries: int
    metric_type: MetricType
    concept_filter: ConceptFilter | None
    recount: bool


FILTERS = st.sampled_from([None, ConceptFilter(domains=("Drug",))]) | st.builds(
    ConceptFilter,
    domains=st.none() | st.lists(st.sampled_from(DOMAINS), max_size=2).map(tuple),
    vocabularies=st.none() | st.sampled_from([(name,) for name in VOCABULARIES]),
    concept_ids=st.none() | st.lists(st.integers(1, 60), max_size=30).map(tuple),
    standard_only=st.booleans(),
    valid_only=st.booleans(),
)
CASES = st.builds(
    Case,
    seed=st.integers(0, 2**32 - 1),
    rows=st.sampled_from([300, 200, 100, 30]) | st.integers(0, 40),
    distinct_vectors=st.sampled_from([300, 100, 20, 3, 1]) | st.integers(1, 40),
    concepts=st.sampled_from([250, 100, 40]) | st.integers(1, 20),
    on_a_grid=st.booleans(),
    k=st.integers(1, 15),
    queries=st.integers(1, 4),
    metric_type=st.sampled_from(MetricType),
    concept_filter=FILTERS,
    recount=st.booleans(),
)


@pytest.fixture(scope="module")
def connection(shared_conninfo: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(shared_conninfo) as opened:
        # With so few rows the server would ignore every index.
        opened.execute("set enable_seqscan = off")
        opened.execute("set enable_bitmapscan = off")
        # An index scan gives up as early as it otherwise would among millions of rows.
        opened.execute("set hnsw.max_scan_tuples = 1")
        yield opened


@pytest.fixture(scope="module")
def spaces(connection: psycopg.Connection) -> dict[str, Space]:
    """A space of each kind; every domain and vocabulary has a code."""
    spaces = {}
    for name, (index_type, first_pass, has_partial) in KINDS.items():
        space, _ = lifecycle.ensure_space(
            connection,
            Fingerprint(**MODEL, revision=name, dimensions=DIMENSIONS),
            index_type,
            # A poor graph, of which a search sees only a part.
            hnsw_m=4,
            hnsw_ef_construction=8,
            first_pass=first_pass,
        )
        fill(connection, space, Stored.of(Case(1, 200, 200, 200, False, 1, 1, MetricType.L1, None, True)))
        if has_partial:
            (code,) = connection.execute(
                "select code from omop_emb.label where kind = 'domain' and label = 'Drug'"
            ).fetchone() or (0,)
            space.tables.create_hnsw(connection, m=4, ef_construction=8, domain=code)
            space = replace(space, partial_domains=(code,))
        if index_type is IndexType.HNSW:
            # No other index for filters, and so few candidates that something is left out.
            connection.execute(
                f"drop index omop_emb.space_{space.space_id}_domain_vocabulary_concept_class_idx"
            )
            space = replace(space, recall=((10, 16, 0.99), (100, 24, 0.99)))
        spaces[name] = space
    connection.commit()
    return spaces


@dataclass(frozen=True)
class Stores:
    """Both stores, and how what PostgreSQL holds gets into Qdrant."""

    engine: Engine
    qdrant: QdrantServer

    def of(self, name: str, space: Space) -> Store:
        """The store of a kind of space, which holds its rows as they are now."""
        if name not in SMALL:
            return PostgresStore()
        self.qdrant.reset()
        self.qdrant.graph = (4, 8)
        publish.publish_index(self.engine, space.name, self.qdrant.address, small=SMALL[name])
        self.qdrant.optimize("omop_emb")
        return QdrantStore(QdrantAddress.parse(self.qdrant.address))


@pytest.fixture(scope="module")
def stores(shared_conninfo: str) -> Iterator[Stores]:
    engine = database_engine(as_url(shared_conninfo))
    with qdrant_server() as server:
        yield Stores(engine, server)
    engine.dispose()


@dataclass(frozen=True)
class Stored:
    """Rows of a space: texts of concepts; several may belong to one concept, and several may be equal."""

    concepts: list[Concept]
    texts: list[str]
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]

    @classmethod
    def of(cls, case: Case) -> Stored:
        random = np.random.default_rng(case.seed)

        def units(count: int) -> NDArray[np.float32]:
            drawn: NDArray[Any] = (
                random.integers(-1, 2, (count, DIMENSIONS)).astype(float)
                if case.on_a_grid
                else random.normal(size=(count, DIMENSIONS))
            )
            drawn[~drawn.any(axis=1), 0] = 1.0
            return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)

        pool = units(case.distinct_vectors)
        described = [
            Concept(
                number,
                f"concept {number}",
                domain_id=[*DOMAINS, None][random.integers(4)],
                vocabulary_id=VOCABULARIES[random.integers(2)],
                standard_concept=["S", "C", None][random.integers(3)],
                invalid_reason=[None, "D"][random.integers(2)],
            )
            for number in range(1, case.concepts + 1)
        ]
        vectors = pool[random.integers(0, case.distinct_vectors, case.rows)]
        queries = units(case.queries)
        # Some queries are stored vectors, some point away from one.
        for number in range(case.queries):
            if case.rows and number % 3:
                queries[number] = vectors[random.integers(case.rows)] * (1 if number % 3 == 1 else -1)
        return cls(
            [described[index] for index in random.integers(0, case.concepts, case.rows)],
            [f"text {number}" for number in range(case.rows)],
            vectors,
            queries,
        )


def fill(connection: psycopg.Connection, space: Space, stored: Stored) -> None:
    """Let a space hold these rows and no others."""
    connection.execute(f"truncate omop_emb.space_{space.space_id}, omop_emb.space_{space.space_id}_text")
    connection.execute("insert into omop_emb.space_write (space_id) values (%s)", (space.space_id,))
    upsert.upsert_rows(
        connection,
        space,
        TextRows.from_concepts(
            stored.concepts,
            [TextKind.SYNONYM] * len(stored.texts),
            stored.texts,
            upsert.text_hashes(stored.texts),
            stored.vectors,
        ),
    )
    connection.commit()


def passes(concept: Concept, concept_filter: ConceptFilter | None) -> bool:
    if concept_filter is None:
        return True
    return (
        (concept_filter.domains is None or concept.domain_id in concept_filter.domains)
        and (concept_filter.vocabularies is None or concept.vocabulary_id in concept_filter.vocabularies)
        and (concept_filter.concept_ids is None or concept.concept_id in concept_filter.concept_ids)
        and (not concept_filter.standard_only or concept.standard_concept == "S")
        and (not concept_filter.valid_only or concept.invalid_reason is None)
    )


@dataclass(frozen=True)
class Truth:
    """The nearest text of a concept: its distance, its vector."""

    distance: float
    vector: bytes


def brute_force(stored: Stored, query: NDArray[np.float32], case: Case) -> dict[int, Truth]:
    halves = stored.vectors.astype(np.float16)
    rows, exact_query = halves.astype(np.float64), query.astype(np.float64)
    products = rows @ exact_query
    distances = {
        MetricType.COSINE: 1 - products / np.linalg.norm(rows, axis=1) / np.linalg.norm(exact_query),
        MetricType.L2: np.linalg.norm(rows - exact_query, axis=1),
        MetricType.INNER_PRODUCT: -products,
        MetricType.L1: np.abs(rows - exact_query).sum(axis=1),
    }[case.metric_type]
    truth: dict[int, Truth] = {}
    for concept, distance, half in zip(stored.concepts, distances.tolist(), halves, strict=True):
        if passes(concept, case.concept_filter):
            best = truth.get(concept.concept_id)
            if best is None or distance < best.distance - 1e-12:
                truth[concept.concept_id] = Truth(distance, half.tobytes())
    return truth


def check_shape(matches: list[ConceptMatch], truth: dict[int, Truth], k: int) -> None:
    """What holds for every method: k matches if k concepts pass, each once, nearest first."""
    ids = [match.concept_id for match in matches]
    distances = [match.distance for match in matches]
    assert len(ids) == min(k, len(truth))
    assert len(set(ids)) == len(ids)
    assert set(ids) <= set(truth)
    assert sorted(distances) == distances
    for match in matches:
        assert match.distance >= truth[match.concept_id].distance - 1e-9
        assert -1 <= match.similarity <= 1


def check_exact(matches: list[ConceptMatch], truth: dict[int, Truth], k: int) -> None:
    check_shape(matches, truth, k)
    best = sorted(entry.distance for entry in truth.values())[:k]
    assert [match.distance for match in matches] == pytest.approx(best, abs=1e-9)
    ids = [match.concept_id for match in matches]
    # Of concepts with the very same vector, the lower ids come first and none of them is left out.
    equal: dict[bytes, list[int]] = {}
    for concept_id in sorted(truth):
        equal.setdefault(truth[concept_id].vector, []).append(concept_id)
    for group in equal.values():
        returned = [concept_id for concept_id in ids if concept_id in group]
        assert returned == group[: len(returned)]


def found_share(matches: list[ConceptMatch], truth: dict[int, Truth], k: int) -> float:
    best = sorted(entry.distance for entry in truth.values())[:k]
    if not best:
        return 1.0
    return sum(truth[match.concept_id].distance <= best[-1] + 1e-9 for match in matches) / len(best)


def found(
    store: Store,
    connection: psycopg.Connection,
    space: Space,
    queries: NDArray[np.float32],
    case: Case,
    **options: Any,
) -> SearchResult:
    keywords: dict[str, Any] = {
        "metric_type": case.metric_type,
        "k": case.k,
        "concept_filter": case.concept_filter,
    }
    return store.search(connection, space, queries, SearchOptions(**keywords, **options))


BY_INDEX = (SearchMethod.INDEX, SearchMethod.PARTIAL_INDEX, SearchMethod.QDRANT)


def run(
    connection: psycopg.Connection, spaces: dict[str, Space], stores: Stores, name: str, case: Case
) -> list[float]:
    """One case in one kind of space; the share of the nearest that was found, for each search by an index."""
    space, stored = spaces[name], Stored.of(case)
    fill(connection, space, stored)
    if case.recount:  # otherwise the counts of other rows remain
        row_counts.recount_rows(connection, space)
        connection.commit()
    truths = [brute_force(stored, query, case) for query in stored.queries]
    shares = []
    store = stores.of(name, space)
    if name in SMALL and case.metric_type is MetricType.L1:
        with pytest.raises(InputError, match="cannot rank by L1"):
            found(store, connection, space, stored.queries, case)
        return []
    result = found(store, connection, space, stored.queries, case)
    for matches, truth in zip(result.matches, truths, strict=True):
        if result.plan.method in BY_INDEX:
            check_shape(matches, truth, case.k)
            shares.append(found_share(matches, truth, case.k))
        else:
            check_exact(matches, truth, case.k)
    if space.index_type is IndexType.HNSW:
        forced = found(store, connection, space, stored.queries, case, exact=True)
        assert forced.plan.method is (SearchMethod.QDRANT if name in SMALL else SearchMethod.EXACT)
        for matches, truth in zip(forced.matches, truths, strict=True):
            check_exact(matches, truth, case.k)
    elif case.metric_type is not MetricType.L1:
        repeated = np.repeat(stored.queries, 100, axis=0)
        many = found(store, connection, space, repeated, case)
        assert many.plan.method is SearchMethod.MATRIX
        assert many.matches[::100] == result.matches
        assert many.matches[99::100] == result.matches
    connection.rollback()
    return shares


def run_all(
    connection: psycopg.Connection,
    spaces: dict[str, Space],
    stores: Stores,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    **options: Any,
) -> None:
    # Filtered searches use the index too, although so few rows pass.
    monkeypatch.setattr(planner, "_is_exact_as_fast", lambda *_: False)
    monkeypatch.setattr(planner, "MAX_EXACT_MICROSECONDS", -1.0)
    monkeypatch.setattr(planner, "MAX_EF_SEARCH", 24)
    monkeypatch.setattr(qdrant_store, "_MIN_CANDIDATES", 24)
    monkeypatch.setattr(qdrant_store, "_CANDIDATES_PER_ROW", 1)
    monkeypatch.setattr(published_collection, "_POLL_SECONDS", 0)
    shares: list[float] = []

    @settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), **options)
    @given(CASES)
    # More rows at one distance than are fetched at first.
    @example(Case(1, 300, 1, 250, False, 15, 2, MetricType.COSINE, None, True))
    def all_cases(case: Case) -> None:
        shares.extend(run(connection, spaces, stores, name, case))

    try:
        all_cases()
    finally:
        connection.rollback()
    if name != "flat":
        assert len(shares) > 10
        # About 0.95: levels of the graph are random, and the graph is built to be poor.
        assert np.mean(shares) >= 0.8


@pytest.mark.parametrize("name", KINDS)
def test_every_method_agrees_with_brute_force(
    connection: psycopg.Connection,
    spaces: dict[str, Space],
    stores: Stores,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The same cases each time: only a change can break this test.
    run_all(connection, spaces, stores, name, monkeypatch, max_examples=40, derandomize=True)


@pytest.mark.long
@pytest.mark.parametrize("name", KINDS)
def test_every_method_agrees_with_brute_force_on_cases_never_seen(
    connection: psycopg.Connection,
    spaces: dict[str, Space],
    stores: Stores,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_all(connection, spaces, stores, name, monkeypatch, max_examples=300)
