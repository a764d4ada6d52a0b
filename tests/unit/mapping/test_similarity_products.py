"""Dense index: against brute force, in float32 and in integers, in every domain."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from omop_emb.mapping.retrieval import dense_index, similarity_products
from omop_emb.mapping.retrieval.dense_index import DenseIndex

CONCEPTS, DIMENSIONS = 9_000, 96


def lexicon() -> Any:
    ranges = {"Drug": (0, 4_000), "Condition": (4_000, CONCEPTS)}
    return SimpleNamespace(
        concept_id=np.arange(CONCEPTS),
        rows=lambda ids: np.asarray(ids),
        domain_range=lambda name: ranges.get(name, (0, 0)),
    )


def index(*, outlier: float = 1.0) -> tuple[DenseIndex, np.ndarray]:
    random = np.random.default_rng(1)
    owners = np.sort(random.integers(0, CONCEPTS, 20_000))
    owners = owners[owners != 17]  # a concept without a vector
    rows = random.standard_normal((len(owners), DIMENSIONS)).astype(np.float32)
    rows[:, 3] *= outlier
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries = rows[random.integers(0, len(rows), 40)] + 0.1 * random.standard_normal((40, DIMENSIONS))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    return DenseIndex(lexicon(), owners, rows), queries.astype(np.float32)


def truth(dense: DenseIndex, query: np.ndarray, domain: str | None, k: int) -> list[int]:
    best = np.full(CONCEPTS, -2.0, np.float32)
    np.maximum.at(best, dense.concept, dense.vectors.astype(np.float32) @ query)
    if domain is not None:
        start, stop = dense.lexicon.domain_range(domain)
        best[:start] = best[stop:] = -2
    order = np.lexsort((np.arange(CONCEPTS), -best))[:k]
    return [int(concept) for concept in order if best[concept] > -2]


def test_the_nearest_concepts_are_those_of_brute_force_in_every_domain() -> None:
    dense, queries = index()
    domains = [(None, ("Drug",), ("Condition",), ("Nothing",))[n % 4] for n in range(len(queries))]
    query, concept = dense.search(queries, domains, 10)
    for place, limits in enumerate(domains):
        expected = truth(dense, queries[place], limits[0] if limits else None, 10)
        if limits == ("Nothing",):
            expected = []
        assert concept[query == place].tolist() == expected


@pytest.mark.parametrize("rare", [3, 4_000])
def test_a_filter_is_applied_inside_the_search_in_every_domain(
    monkeypatch: pytest.MonkeyPatch, rare: int
) -> None:
    dense, queries = index()
    passing = np.zeros(CONCEPTS, bool)
    passing[:: CONCEPTS // rare] = True
    for domain in (None, "Drug"):
        _, all_concepts = dense.search(queries[:1], [(domain,) if domain else None], CONCEPTS)
        expected = all_concepts[passing[all_concepts]][:10]
        query, concept = dense.search(queries[:1], [(domain,) if domain else None], 10, passing)
        assert concept.tolist() == expected.tolist()
        assert (query == 0).all()
    assert [len(part) for part in dense.search(queries, [None] * 40, 5, np.zeros(CONCEPTS, bool))] == [0, 0]


@pytest.mark.parametrize("outlier", [1.0, 30.0])
def test_integers_find_what_floats_find_even_where_one_dimension_stands_out(
    monkeypatch: pytest.MonkeyPatch, outlier: float
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(similarity_products, "_MIN_INTEGER_ROWS", 0)
    dense, queries = index(outlier=outlier)
    assert isinstance(dense._products, similarity_products.IntegerProducts)
    query, concept = dense.search(queries, [None] * len(queries), 50)
    found = [
        len(set(concept[query == place].tolist()) & set(truth(dense, queries[place], None, 10)))
        for place in range(len(queries))
    ]
    assert sum(found) >= 0.99 * 10 * len(queries)


@pytest.mark.parametrize("least", [0, 50_000])
@pytest.mark.parametrize("processors", [2, 7])
def test_threads_that_share_the_rows_find_what_one_finds(
    monkeypatch: pytest.MonkeyPatch, processors: int, least: int
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(similarity_products, "_MIN_INTEGER_ROWS", least)
    dense, queries = index()
    domains: list[Any] = [(None, ("Drug",), ("Condition", "Drug"))[n % 3] for n in range(len(queries))]
    passing = np.arange(CONCEPTS) % 3 > 0
    monkeypatch.setattr(dense_index, "processors", lambda: 1)
    expected = [dense.search(queries, domains, 10, only) for only in (None, passing)]
    monkeypatch.setattr(dense_index, "processors", lambda: processors)
    monkeypatch.setattr(dense_index, "_THREAD_BLOCKS", 1)
    found = [dense.search(queries, domains, 10, only) for only in (None, passing)]
    for (query, concept), (expected_query, expected_concept) in zip(found, expected, strict=True):
        assert query.tolist() == expected_query.tolist()
        assert concept.tolist() == expected_concept.tolist()


def test_no_queries_and_no_rows_find_nothing() -> None:
    dense, queries = index()
    assert [len(part) for part in dense.search(queries[:0], [], 5)] == [0, 0]
    empty = DenseIndex(lexicon(), np.zeros(0, np.int64), np.zeros((0, DIMENSIONS), np.float16))
    assert [len(part) for part in empty.search(queries, [None] * len(queries), 5)] == [0, 0]
