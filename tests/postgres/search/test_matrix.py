"""The vector matrix: of one committed state, built once, limited in size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from omop_emb import disk_cache
from omop_emb.records import Concept, Fingerprint, IndexType, MetricType, TextKind
from omop_emb.search import matrix, matrix_search
from omop_emb.spaces import lifecycle, tables, upsert
from omop_emb.spaces.registry import Space
from omop_emb.spaces.text_rows import TextRows

Connection = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def cache(own_cache: Path) -> Path:
    return own_cache / "matrices"


@pytest.fixture
def space(connection: Connection) -> Space:
    opened, _ = lifecycle.ensure_space(
        connection, Fingerprint(provider="test", model="m", revision="1", dimensions=3), IndexType.FLAT
    )
    return opened


def write(connection: Connection, space: Space, vectors: dict[int, tuple[float, float, float]]) -> None:
    rows: NDArray[np.float32] = np.array(list(vectors.values()), np.float32)
    upsert.upsert_rows(
        connection,
        space,
        TextRows.from_concepts(
            [Concept(concept_id, f"concept {concept_id}") for concept_id in vectors],
            [TextKind.NAME] * len(vectors),
            [f"concept {concept_id}" for concept_id in vectors],
            upsert.text_hashes(f"concept {concept_id}" for concept_id in vectors),
            rows / np.linalg.norm(rows, axis=1, keepdims=True),
        ),
    )


def is_cached(connection: Connection, space: Space) -> bool:
    name = matrix.committed_state(connection, space)
    return name is not None and disk_cache.cached_folder(name) is not None


def test_a_matrix_holds_what_was_committed(connection: Connection, space: Space) -> None:
    write(connection, space, {1: (1, 0, 0), -2: (0, 0.6, 0.8)})
    connection.commit()
    opened = matrix.open_matrix(connection, space)
    order = np.argsort(opened.concept_ids)
    assert opened.concept_ids[order].tolist() == [-2, 1]
    assert opened.vectors[order].tolist() == [[0, np.float16(0.6), np.float16(0.8)], [1, 0, 0]]
    assert opened.keys["text_kind"].tolist() == [b"n", b"n"]
    assert 0 < opened.deviation < 5e-4


def test_a_matrix_is_built_once_per_state(connection: Connection, space: Space, cache: Path) -> None:
    write(connection, space, {1: (1, 0, 0)})
    connection.commit()
    assert not is_cached(connection, space)
    matrix.open_matrix(connection, space)
    assert is_cached(connection, space)
    first = {path: path.stat().st_ino for path in cache.glob("*/vectors")}
    matrix.open_matrix(connection, space)
    assert {path: path.stat().st_ino for path in cache.glob("*/vectors")} == first


def test_a_committed_write_needs_another_matrix(connection: Connection, space: Space) -> None:
    write(connection, space, {1: (1, 0, 0)})
    connection.commit()
    matrix.open_matrix(connection, space)
    write(connection, space, {2: (0, 1, 0)})
    connection.commit()
    assert not is_cached(connection, space)
    assert sorted(matrix.open_matrix(connection, space).concept_ids) == [1, 2]


def test_no_matrix_is_built_from_uncommitted_rows(connection: Connection, space: Space, cache: Path) -> None:
    write(connection, space, {1: (1, 0, 0)})
    connection.commit()
    write(connection, space, {2: (0, 1, 0)})
    assert matrix.committed_state(connection, space) is None
    with pytest.raises(matrix.MatrixUnavailableError, match="commit first"):
        matrix.open_matrix(connection, space)
    assert not list(cache.glob("*/"))


def test_uncommitted_rows_of_another_transaction_are_not_in_the_matrix(
    connection: Connection, space: Space, database_url: str
) -> None:
    write(connection, space, {1: (1, 0, 0)})
    connection.commit()
    with psycopg.connect(database_url) as other:
        write(other, space, {2: (0, 1, 0)})
        assert matrix.open_matrix(connection, space).concept_ids.tolist() == [1]
        other.commit()
    assert sorted(matrix.open_matrix(connection, space).concept_ids) == [1, 2]


def test_a_write_while_the_rows_are_copied_out_starts_the_copy_again(
    connection: Connection, space: Space, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(connection, space, {1: (1, 0, 0)})
    connection.commit()
    copy_out = matrix._copy_out

    def interrupted(connection: Connection, space: Space, folder: Path) -> None:
        monkeypatch.setattr(matrix, "_copy_out", copy_out)
        with psycopg.connect(database_url) as other:
            write(other, space, {2: (0, 1, 0)})
        copy_out(connection, space, folder)

    monkeypatch.setattr(matrix, "_copy_out", interrupted)
    assert sorted(matrix.open_matrix(connection, space).concept_ids) == [1, 2]
    assert len(list(disk_cache.folder().glob("*/"))) == 1


def test_an_unfinished_matrix_leaves_nothing(
    connection: Connection, space: Space, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(connection, space, {1: (1, 0, 0)})
    connection.commit()

    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(matrix, "_copy_out", fail)
        with pytest.raises(matrix.MatrixUnavailableError, match="No space left"):
            matrix.open_matrix(connection, space)
    assert not list(cache.glob("*/"))
    assert len(matrix.open_matrix(connection, space)) == 1


def test_the_leftovers_of_a_killed_process_are_removed_before_the_next_matrix(
    connection: Connection, space: Space, cache: Path
) -> None:
    (cache / "abc.part").mkdir(parents=True)
    write(connection, space, {1: (1, 0, 0)})
    connection.commit()
    matrix.open_matrix(connection, space)
    assert not list(cache.glob("*.part"))


def test_the_cache_is_limited_and_removes_the_least_recently_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(name: str, size: int) -> None:
        with disk_cache.build_folder(name, size) as folder:
            assert folder is not None
            (folder / "vectors").write_bytes(bytes(size))

    monkeypatch.setattr(disk_cache, "limit_bytes", lambda: 25_000)
    make("old", 10_000)
    make("used", 10_000)
    os.utime(cache / "old", (1, 1))
    os.utime(cache / "used", (2, 2))
    assert disk_cache.cached_folder("old") is not None
    make("new", 10_000)
    assert sorted(path.name for path in cache.glob("*/")) == ["new", "old"]
    with pytest.raises(OSError, match="OMOP_EMB_CACHE_GB"):
        make("huge", 30_000)
    assert 20_000 <= disk_cache.clear() < 22_000
    assert disk_cache.clear() == 0


def test_a_reader_keeps_its_matrix_when_the_cache_is_cleared(connection: Connection, space: Space) -> None:
    write(connection, space, {1: (1, 0, 0)})
    connection.commit()
    opened = matrix.open_matrix(connection, space)
    disk_cache.clear()
    assert opened.vectors.tolist() == [[1, 0, 0]]


def test_half_precision_is_widened_exactly() -> None:
    from omop_emb.database.binary_format import halves_to_float32

    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    every = every[np.isfinite(every)]
    np.testing.assert_array_equal(halves_to_float32(every), every.astype(np.float32))


@pytest.mark.parametrize("metric_type", [MetricType.COSINE, MetricType.L2, MetricType.INNER_PRODUCT])
@pytest.mark.parametrize("seed", range(4))
def test_a_matrix_search_finds_what_sorting_all_rows_finds(
    metric_type: MetricType, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(seed)
    monkeypatch.setattr(matrix_search, "_ROWS", 64)
    monkeypatch.setattr(matrix_search, "QUERIES", 16)
    vectors = random.standard_normal((700, 5)).astype(np.float32)
    vectors[100:200] = vectors[0]  # ties, more than are kept at first
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    keys = np.zeros(len(vectors), tables.ROW_DTYPE)
    keys["concept_id"] = random.permutation(700) // 2  # two texts a concept
    keys["text_hash"] = np.arange(700)
    keys["text_kind"] = b"n"
    opened = matrix.VectorMatrix(keys, vectors, 5e-4, "state")
    queries = random.standard_normal((40, 5)).astype(np.float32)
    queries[:3] = vectors[:3]
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    passing = np.flatnonzero(random.random(700) < 0.5) if seed % 2 else None
    found = matrix_search.search_matrix(opened, queries, metric_type=metric_type, k=10, passing=passing)
    chosen = np.arange(700) if passing is None else passing
    for query, hits in zip(queries, found, strict=True):
        stored = vectors[chosen].astype(np.float64)
        products, lengths = stored @ query.astype(np.float64), np.linalg.norm(stored, axis=1)
        distances = {
            MetricType.COSINE: 1 - products / lengths / np.linalg.norm(query.astype(np.float64)),
            MetricType.L2: np.linalg.norm(stored - query, axis=1),
            MetricType.INNER_PRODUCT: -products,
        }[metric_type]
        truth: dict[int, float] = {}
        for concept_id, distance in zip(keys["concept_id"][chosen].tolist(), distances.tolist(), strict=True):
            truth[concept_id] = min(distance, truth.get(concept_id, 9.0))
        best = sorted(truth, key=lambda concept_id: (round(truth[concept_id], 12), concept_id))[:10]
        assert hits.concept_ids.tolist() == best
        np.testing.assert_allclose(hits.distances, [truth[concept_id] for concept_id in best], atol=1e-12)
