"""The promise of recall: searches that no measurement has seen find on average what was said, filtered too.

Brute force is numpy in float64, on the vectors as the database stores them, in half precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from omop_emb.records import Concept, ConceptFilter, Fingerprint, IndexType, TextKind
from omop_emb.search import planner, recall, search, vector_indexes
from omop_emb.search.options import SearchOptions
from omop_emb.search.planner import SearchMethod
from omop_emb.search.vector_indexes import IndexSettings
from omop_emb.spaces import lifecycle, registry, row_counts, upsert
from omop_emb.spaces.registry import Space
from omop_emb.spaces.text_rows import TextRows

pytestmark = pytest.mark.usefixtures("own_cache")

Connection = psycopg.Connection[Any]
Rows = NDArray[np.float32]
ROWS, DIMENSIONS = 3000, 24
QUERIES = 60  # of each kind
DRUGS = ("Drug",)


def unit(vectors: NDArray[Any]) -> Rows:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def clustered(random: np.random.Generator, count: int) -> Rows:
    centres = np.random.default_rng(1).normal(size=(150, DIMENSIONS))
    return unit(centres[random.integers(0, 150, count)] + 0.5 * random.normal(size=(count, DIMENSIONS)))


def of_high_dimension(random: np.random.Generator, count: int) -> Rows:
    return unit(random.normal(size=(count, DIMENSIONS)))


def near_duplicates(random: np.random.Generator, count: int) -> Rows:
    originals = np.random.default_rng(1).normal(size=(200, DIMENSIONS))
    return unit(originals[random.integers(0, 200, count)] + 0.05 * random.normal(size=(count, DIMENSIONS)))


DATA: dict[str, Callable[[np.random.Generator, int], Rows]] = {
    "clustered": clustered,
    "of high dimension": of_high_dimension,
    "near duplicates": near_duplicates,
}
FILTERS: dict[str, ConceptFilter | None] = {
    "none": None,
    "a domain": ConceptFilter(domains=DRUGS),
    "a domain, standard and valid": ConceptFilter(domains=DRUGS, standard_only=True, valid_only=True),
    "standard and valid": ConceptFilter(standard_only=True, valid_only=True),
    "a vocabulary": ConceptFilter(vocabularies=("SNOMED",)),
    "two domains": ConceptFilter(domains=("Drug", "Device")),
    "a domain and a vocabulary": ConceptFilter(domains=DRUGS, vocabularies=("SNOMED",)),
}


@pytest.fixture(autouse=True)
def few_rows_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index is used where it was measured, although so few rows could be compared in no time."""
    monkeypatch.setattr(planner, "exact_cost", lambda count, dimensions: 150_000.0)
    monkeypatch.setattr(planner, "_is_exact_as_fast", lambda *_: False)
    monkeypatch.setattr(planner, "matrix_cost", lambda *_: planner.MatrixCost(saved=-1.0, build=1.0))
    monkeypatch.setattr(vector_indexes, "AUTO_ROWS", 300)


def concepts_of(vectors: Rows) -> list[Concept]:
    """Concepts of one or, every fourth, of three texts; a domain lies on one side, the rest is anywhere."""
    random = np.random.default_rng(3)
    ids = np.cumsum(random.random(len(vectors)) < 0.66)
    ids[1:][ids[1:] % 4 != 0] = np.arange(10**6, 10**6 + (ids[1:] % 4 != 0).sum())
    described: dict[int, Concept] = {}
    for concept_id, vector in zip(ids.tolist(), vectors, strict=True):
        drawn = random.random(4)
        described[concept_id] = described.get(concept_id) or Concept(
            concept_id,
            f"concept {concept_id}",
            "Drug" if vector[0] > 0.06 else "Device" if drawn[0] < 0.1 else "Condition",
            "SNOMED" if drawn[1] < 0.6 else "RxNorm",
            standard_concept="S" if drawn[2] < 0.8 else None,
            invalid_reason="D" if drawn[3] < 0.1 else None,
        )
    return [described[concept_id] for concept_id in ids.tolist()]


def passes(concept: Concept, wanted: ConceptFilter | None) -> bool:
    return wanted is None or (
        (wanted.domains is None or concept.domain_id in wanted.domains)
        and (wanted.vocabularies is None or concept.vocabulary_id in wanted.vocabularies)
        and (not wanted.standard_only or concept.standard_concept == "S")
        and (not wanted.valid_only or concept.invalid_reason is None)
    )


def built(
    connection: Connection, name: str, vectors: Rows, concepts: list[Concept], **settings: str
) -> Space:
    """A space as index build leaves it."""
    fingerprint = Fingerprint(provider="test", model="promise", revision=name, dimensions=DIMENSIONS)
    space, _ = lifecycle.ensure_space(connection, fingerprint, IndexType.HNSW, with_index=False)
    texts = [f"text {number}" for number in range(len(vectors))]
    rows = TextRows.from_concepts(
        concepts, [TextKind.SYNONYM] * len(texts), texts, upsert.text_hashes(texts), vectors
    )
    upsert.upsert_rows(connection, space, rows)
    connection.execute("analyze")
    row_counts.recount_rows(connection, space)
    vector_indexes.reconcile_indexes(connection, space, IndexSettings(**settings))
    return registry.space_by_name(connection, space.name)


def unseen_queries(draw: Callable[[np.random.Generator, int], Rows], vectors: Rows) -> Rows:
    """Queries that lie among the rows, farther out, and between them."""
    random = np.random.default_rng(77)
    some, others, more = (vectors[random.integers(0, ROWS, QUERIES)] for _ in range(3))
    direction = unit(random.normal(size=some.shape))
    kinds = [
        draw(random, QUERIES),
        some + 0.7 * direction,
        some + 1.5 * direction,
        some + others,
        some + others + more,
        2 * some + others,
    ]
    return unit(np.concatenate(kinds))


def nearest_concepts(
    queries: Rows, vectors: Rows, concepts: list[Concept], wanted: ConceptFilter | None, k: int
) -> list[set[int]]:
    stored = vectors.astype(np.float16).astype(np.float64)
    passing = np.array([passes(concept, wanted) for concept in concepts])
    ids = np.array([concept.concept_id for concept in concepts])[passing]
    similarities = queries @ (stored[passing] / np.linalg.norm(stored[passing], axis=1, keepdims=True)).T
    order = np.argsort(-similarities, axis=1, kind="stable")
    return [set(list(dict.fromkeys(ids[row].tolist()))[:k]) for row in order]


def check(
    connection: Connection, name: str, *, partial: str, requested: tuple[float, ...], k: int = 10
) -> set[SearchMethod]:
    """Search one kind of data with every filter; how it was searched."""
    vectors = DATA[name](np.random.default_rng(2), ROWS)
    concepts = concepts_of(vectors)
    space = built(connection, f"{name} {partial}", vectors, concepts, partial=partial)
    methods = set()
    queries = unseen_queries(DATA[name], vectors)
    for filter_name, wanted in FILTERS.items():
        truth = nearest_concepts(queries, vectors, concepts, wanted, k)
        for said in requested:
            options = SearchOptions(k=k, concept_filter=wanted, recall=said)
            result = search.search(connection, space, queries, options)
            methods.add(result.plan.method)
            shares = [
                len({match.concept_id for match in matches} & nearest) / len(nearest)
                for matches, nearest in zip(result.matches, truth, strict=True)
            ]
            # Which graph pgvector builds is chance, and so is which queries it loses: less than said is a
            # fault where chance explains it once in a hundred times at most.
            error = np.std(shares, ddof=1) / np.sqrt(len(shares))
            assert np.mean(shares) + 2.33 * error >= said, (name, filter_name, result.plan)
    return methods


@pytest.mark.parametrize(("name", "partial"), [("clustered", "Drug"), ("near duplicates", "none")])
def test_searches_find_what_was_said_with_every_filter(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, name: str, partial: str
) -> None:
    monkeypatch.setattr(recall, "_KS", (10,))
    methods = check(connection, name, partial=partial, requested=(0.97,))
    assert SearchMethod.INDEX in methods
    assert (SearchMethod.PARTIAL_INDEX in methods) == (partial == "Drug")


@pytest.mark.long
@pytest.mark.parametrize("partial", ["Drug", "none", "auto"])
@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("k", [1, 10, 30, 100])
def test_searches_find_what_was_said_for_every_k_data_and_recall(
    connection: Connection, name: str, partial: str, k: int
) -> None:
    check(connection, name, partial=partial, requested=(0.8, 0.9, 0.95, 0.99), k=k)
