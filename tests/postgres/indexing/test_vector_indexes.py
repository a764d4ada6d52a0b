"""Vector indexes of a space: of all rows, of single domains, over a first pass; and their measured recall."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine

from omop_emb import IndexType
from omop_emb.database import binary_format
from omop_emb.database.engine import driver_connection
from omop_emb.errors import ConfigurationError, SpaceError, UnknownValueError
from omop_emb.records import Concept, ConceptFilter, ConceptMatch, Fingerprint, TextKind
from omop_emb.search import measured_recall, planner, recall, search, statements, vector_indexes
from omop_emb.search.options import SearchOptions
from omop_emb.search.planner import SearchMethod
from omop_emb.search.search import SearchResult
from omop_emb.search.vector_indexes import AUTO, NONE, IndexSettings
from omop_emb.spaces import filters, lifecycle, registry, row_counts, upsert
from omop_emb.spaces.registry import Space
from omop_emb.spaces.text_rows import TextRows
from tests.builds import build_with
from tests.small_vocabulary import ConceptRow, SmallVocabulary, counting_client, five_concepts

Connection = psycopg.Connection[Any]
ROWS, DIMENSIONS = 3000, 32
DRUGS = ConceptFilter(domains=("Drug",))


def _vectors() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Clustered rows and queries whose first dimensions hold most, as a Matryoshka model's do."""
    random = np.random.default_rng(5)
    falling = 1 / np.sqrt(1 + np.arange(DIMENSIONS) / 4)
    centres = random.normal(size=(80, DIMENSIONS))
    every = (
        centres[random.integers(0, 80, ROWS + 30)] + random.normal(size=(ROWS + 30, DIMENSIONS))
    ) * falling
    every = (every / np.linalg.norm(every, axis=1, keepdims=True)).astype(np.float32)
    return every[:ROWS], every[ROWS:]


VECTORS, QUERIES = _vectors()


@pytest.fixture(autouse=True)
def few_rows_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches go through an index that would compare so few rows one by one."""
    monkeypatch.setattr(planner, "exact_cost", lambda count, dimensions: 1e9)
    monkeypatch.setattr(planner, "MAX_EXACT_MICROSECONDS", 1e9)
    monkeypatch.setattr(recall, "_QUERIES", 30)
    monkeypatch.setattr(measured_recall, "DEFAULT_RECALL", 0.95)  # so few queries cannot vouch for more


@pytest.fixture
def space(connection: Connection) -> Space:
    """An HNSW space without an index: two fifths of its rows are drugs, every 40th is a device."""
    fingerprint = Fingerprint(provider="test", model="m", revision="1", dimensions=DIMENSIONS)
    made = lifecycle.ensure_space(connection, fingerprint, IndexType.HNSW, with_index=False)[0]
    concepts = [
        Concept(n, f"concept {n}", "Device" if n % 40 == 0 else "Drug" if n % 5 < 2 else "Condition")
        for n in range(ROWS)
    ]
    texts = [concept.concept_name for concept in concepts]
    hashes = upsert.text_hashes(texts)
    upsert.upsert_rows(
        connection, made, TextRows.from_concepts(concepts, [TextKind.NAME] * ROWS, texts, hashes, VECTORS)
    )
    connection.execute("analyze")
    row_counts.recount_rows(connection, made)
    return made


def bring_about(connection: Connection, space: Space, **settings: str) -> Space:
    vector_indexes.reconcile_indexes(connection, space, IndexSettings(**settings))
    return registry.space_by_name(connection, space.name)


def found(connection: Connection, space: Space, **options: Any) -> SearchResult:
    return search.search(connection, space, QUERIES, SearchOptions(**options))


def ids(matches: list[list[ConceptMatch]]) -> list[set[int]]:
    return [{match.concept_id for match in of_query} for of_query in matches]


def share_found(connection: Connection, space: Space, **options: Any) -> float:
    """Recall at 10 against the exact way, for which each query must have its ten."""
    some, every = found(connection, space, **options), found(connection, space, exact=True, **options)
    assert {len(of_query) for of_query in some.matches} == {10}
    pairs = zip(ids(some.matches), ids(every.matches), strict=True)
    return sum(len(one & other) for one, other in pairs) / (10 * len(QUERIES))


def explained(connection: Connection, statement: str, parameters: dict[str, Any]) -> str:
    with binary_format.binary_cursor(connection) as cursor:
        cursor.execute("select set_config('plan_cache_mode', 'force_custom_plan', true)")
        cursor.execute("select set_config('enable_seqscan', 'off', true)")
        rows = cursor.execute(
            "explain " + statement, {"query": binary_format.encode_half_vector(QUERIES[0]), **parameters}
        ).fetchall()
        cursor.execute("select set_config('enable_seqscan', 'on', true)")
    return "\n".join(str(line) for (line,) in rows)


def indexes(connection: Connection, space: Space) -> dict[str, str]:
    rows = connection.execute(
        "select indexname, indexdef from pg_indexes where tablename = %s and indexdef like '%%hnsw%%'",
        (f"space_{space.space_id}",),
    )
    return dict(rows.fetchall())


def code(connection: Connection, domain: str) -> int:
    row = connection.execute(
        "select code from omop_emb.label where kind = 'domain' and label = %s", (domain,)
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("first_pass", ["", "16", "binary"])
def test_an_index_reaches_the_requested_recall_by_its_measured_recall(
    connection: Connection, space: Space, first_pass: str
) -> None:
    space = bring_about(connection, space, first_pass=first_pass)
    assert space.has_index
    assert space.first_pass == first_pass
    statement = statements.index_statement(space, filters.ALL_ROWS, partial_domain=None)
    plan = explained(connection, statement, {"limit": 34, "candidates": 100})
    assert f"Index Scan using space_{space.space_id}_hnsw on" in plan
    measured = min(0.99, max(share for k, _, share in space.recall if k == 10))
    assert found(connection, space, recall=measured).plan.method is SearchMethod.INDEX
    assert share_found(connection, space, recall=measured) >= measured - 0.03
    either = ConceptFilter(domains=("Drug", "Device"))
    assert share_found(connection, space, recall=measured, concept_filter=either) >= measured - 0.03
    assert (
        share_found(connection, space) >= 0.98
    )  # where the index finds less of so few rows, they are compared


def test_a_domains_own_index_serves_searches_in_that_domain(connection: Connection, space: Space) -> None:
    space = bring_about(connection, space, partial="Drug")
    drug = code(connection, "Drug")
    assert space.partial_domains == (drug,)
    assert space.partial_recall[drug]
    condition = filters.filter_condition(connection, DRUGS)
    statement = statements.index_statement(space, condition, partial_domain=drug)
    plan = explained(connection, statement, {"limit": 34, **condition.parameters})
    assert f"Index Scan using space_{space.space_id}_hnsw_{drug} on" in plan
    used = found(connection, space, concept_filter=DRUGS).plan.index
    assert used == f"space_{space.space_id}_hnsw_{drug}"
    assert share_found(connection, space, concept_filter=DRUGS) >= 0.98


def test_a_plan_that_was_cached_for_one_method_serves_no_other(connection: Connection, space: Space) -> None:
    space = bring_about(connection, space, partial="Drug")
    connection.prepare_threshold = 0  # every statement is prepared, and its plan may be cached at once
    for _ in range(8):  # past the five custom plans after which PostgreSQL considers a generic one
        found(connection, space)
        found(connection, space, concept_filter=DRUGS)
    exact = found(connection, space, concept_filter=DRUGS, exact=True)
    lengths = VECTORS.astype(np.float16).astype(np.float64)
    lengths /= np.linalg.norm(lengths, axis=1, keepdims=True)
    drugs = np.array([n for n in range(ROWS) if n % 5 < 2 and n % 40])
    nearest = drugs[np.argsort(-(QUERIES @ lengths[drugs].T), axis=1)[:, :10]]
    assert ids(exact.matches) == [set(row) for row in nearest.tolist()]


def test_large_domains_that_are_not_most_get_an_index_automatically(
    connection: Connection, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bring_about(connection, space).partial_domains == ()  # 3,000 rows are compared in no time
    monkeypatch.setattr(vector_indexes, "AUTO_ROWS", 90)
    space = bring_about(connection, space)  # devices are too few, conditions most
    assert space.partial_domains == (code(connection, "Drug"),)


def test_indexes_that_are_no_longer_requested_are_dropped(connection: Connection, space: Space) -> None:
    name = f"space_{space.space_id}_hnsw"
    bring_about(connection, space, partial="Drug,Device")
    drug, device = code(connection, "Drug"), code(connection, "Device")
    assert set(indexes(connection, space)) == {name, f"{name}_{drug}", f"{name}_{device}"}
    before = indexes(connection, space)
    assert not vector_indexes.reconcile_indexes(connection, space, IndexSettings(partial="Device,Drug"))
    assert indexes(connection, space) == before
    after = bring_about(connection, space, partial=NONE)
    assert (set(indexes(connection, space)), after.partial_recall) == ({name}, {})


def test_another_first_pass_rebuilds_every_index(connection: Connection, space: Space) -> None:
    before = bring_about(connection, space, partial="Drug")
    after = bring_about(connection, space, partial="Drug", first_pass="16")
    assert len(indexes(connection, space)) == 2
    assert all("subvector(embedding, 1, 16)" in text for text in indexes(connection, space).values())
    assert after.recall != before.recall
    bring_about(connection, space, first_pass="")
    assert not any("subvector" in text for text in indexes(connection, space).values())


def test_measured_recall_rises_with_ef_search_and_is_measured_again_when_many_rows_change(
    connection: Connection, space: Space
) -> None:
    measured = bring_about(connection, space).recall
    assert {k for k, _, _ in measured} == {10, 100}
    for wanted in (10, 100):
        shares = [share for k, _, share in measured if k == wanted]
        assert shares == sorted(shares)
        assert shares[-1] >= 0.93
    connection.execute("update omop_emb.space set recall = '[[10, 77, 0.5]]'")
    delete = f"delete from omop_emb.space_{space.space_id} where concept_id %% 40 = %s"  # noqa: S608 - a number of ours
    connection.execute(delete, (0,))
    assert bring_about(connection, space).recall == ((10, 77, 0.5),)
    for rest in range(1, 12):
        connection.execute(delete, (rest,))
    assert len(bring_about(connection, space).recall) > 1


def test_recall_counts_equally_near_rows_as_hits(connection: Connection, space: Space) -> None:
    # The same text under many concepts: which of its rows are given is chance, and no loss. Without an index,
    # the measured statement finds the true nearest.
    connection.execute(
        f"update omop_emb.space_{space.space_id} r set embedding = (select embedding "  # noqa: S608 - a number of ours
        f"from omop_emb.space_{space.space_id} where concept_id = r.concept_id / 3 * 3)"
    )
    assert {share for _, _, share in recall.measure_recall(connection, space)} == {
        round(1 - 1 / 31, 4),
        round(1 - 1 / 16, 4),  # of fewer queries, at 100
    }


def test_few_rows_are_not_measured(connection: Connection, space: Space) -> None:
    connection.execute(f"delete from omop_emb.space_{space.space_id} where concept_id >= 900")  # noqa: S608 - a number of ours
    assert bring_about(connection, space, partial="Drug").recall == ()


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as opened:
        yield driver_connection(opened)


def built(engine: Engine, **options: Any) -> dict[str, str]:
    """The indexes after a build."""
    report = build_with(engine, counting_client(), index_type=IndexType.HNSW, **options)
    with connected(engine) as connection:
        return indexes(connection, registry.space_by_name(connection, report.space_name))


def test_builds_keep_the_requested_indexes_through_releases(engine: Engine, tmp_path: Path) -> None:
    vocabulary: SmallVocabulary = five_concepts(engine, tmp_path)
    assert len(built(engine)) == 1
    first = built(engine, partial="Condition", first_pass="4")
    assert len(first) == 2
    assert all("subvector(embedding, 1, 4)" in text for text in first.values())
    vocabulary.load(ConceptRow(9, "Gout"), *(ConceptRow(n, f"Disease {n}") for n in range(20, 40)))
    assert built(engine) == first
    with connected(engine) as connection:
        space = registry.active_space(connection)
        assert (space.partial, space.first_pass, len(space.partial_domains)) == ("Condition", "4", 1)
    assert len(built(engine, partial="none")) == 1
    assert "subvector" not in str(built(engine, first_pass="none"))


def test_invalid_settings_are_refused_before_anything_is_created(engine: Engine, tmp_path: Path) -> None:
    five_concepts(engine, tmp_path)
    with pytest.raises(UnknownValueError, match="did you mean 'Condition'"):
        built(engine, partial="condition")
    for first_pass in ("0", "8", "half"):
        with pytest.raises(SpaceError, match="a number of dimensions below 8; found"):
            built(engine, first_pass=first_pass)
    with pytest.raises(ConfigurationError, match="leave them out for FLAT"):
        build_with(engine, counting_client(), index_type=IndexType.FLAT, partial=AUTO)
    with connected(engine) as connection:
        assert registry.all_spaces(connection) == []
