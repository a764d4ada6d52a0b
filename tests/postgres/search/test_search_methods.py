"""Search methods: each search runs as its plan says, and a plan for one method never serves another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from omop_emb import disk_cache
from omop_emb.records import (
    Concept,
    ConceptFilter,
    ConceptMatch,
    Fingerprint,
    IndexType,
    MetricType,
    TextKind,
)
from omop_emb.search import matrix, matrix_policy, planner, search
from omop_emb.search.options import SearchOptions
from omop_emb.search.planner import SearchMethod, SearchPlan
from omop_emb.spaces import lifecycle, row_counts, upsert
from omop_emb.spaces.registry import Space
from omop_emb.spaces.text_rows import TextRows

ROWS, DIMENSIONS = 3000, 16
RANDOM = np.random.default_rng(5)
VECTORS = RANDOM.normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
# One in three is a drug; one in a hundred is of RxNorm.
CONCEPTS = [
    Concept(
        number,
        f"concept {number}",
        domain_id="Drug" if number % 3 == 0 else "Condition",
        vocabulary_id="RxNorm" if number % 100 == 0 else "SNOMED",
    )
    for number in range(ROWS)
]
DRUGS = ConceptFilter(domains=("Drug",))
RXNORM = ConceptFilter(vocabularies=("RxNorm",))
QUERY = VECTORS[:1]


@pytest.fixture(scope="module")
def filled(shared_conninfo: str) -> dict[str, Space]:
    """A space of each kind, built as index build leaves it: counted, analysed, committed."""
    made = {}
    with psycopg.connect(shared_conninfo) as connection:
        for name, first_pass in (("flat", ""), ("hnsw", ""), ("8", "8"), ("binary", "binary")):
            space, _ = lifecycle.ensure_space(
                connection,
                Fingerprint(provider="test", model="methods", revision=name, dimensions=DIMENSIONS),
                IndexType.FLAT if name == "flat" else IndexType.HNSW,
                first_pass=first_pass,
            )
            texts = [concept.concept_name for concept in CONCEPTS]
            rows = TextRows.from_concepts(
                CONCEPTS, [TextKind.NAME] * ROWS, texts, upsert.text_hashes(texts), VECTORS
            )
            upsert.upsert_rows(connection, space, rows)
            row_counts.recount_rows(connection, space)
            if name == "hnsw":
                row = connection.execute(
                    "select code from omop_emb.label where kind = 'domain' and label = 'Drug'"
                ).fetchone()
                assert row is not None
                space.tables.create_hnsw(connection, m=16, ef_construction=64, domain=row[0])
                space = replace(space, partial_domains=(row[0],))
            made[name] = replace(space, recall=((10, 100, 0.99),))
        connection.commit()
        connection.autocommit = True
        for space in made.values():
            connection.execute(f"vacuum analyze omop_emb.space_{space.space_id}")
    return made


@pytest.fixture(autouse=True)
def no_matrix(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no matrix, and this process has not searched yet."""
    monkeypatch.setattr(matrix_policy, "_forgone", {})
    monkeypatch.setattr(matrix_policy, "_opened", {})


@pytest.fixture
def connection(shared_conninfo: str) -> Iterator[psycopg.Connection]:
    """A connection that prepares each statement at once, so that the server may keep its plan."""
    with psycopg.connect(shared_conninfo, prepare_threshold=0) as opened:
        yield opened


def found(
    connection: psycopg.Connection, space: Space, queries: NDArray[np.float32] = QUERY, **changes: Any
) -> tuple[list[list[ConceptMatch]], SearchPlan]:
    queries_in_all = changes.pop("queries_in_all", 0)
    options = SearchOptions(**{"k": 5, **changes})
    result = search.search(connection, space, queries, options, queries_in_all=queries_in_all, explain=True)
    return result.matches, result.plan


def nearest(query: NDArray[np.float32], concept_filter: ConceptFilter | None, k: int = 5) -> list[int]:
    """The ids that brute force finds."""
    stored = VECTORS.astype(np.float16).astype(np.float64)
    cosines = stored @ query.astype(np.float64) / np.linalg.norm(stored, axis=1)
    passing = [
        number
        for number, concept in enumerate(CONCEPTS)
        if concept.domain_id in ((concept_filter and concept_filter.domains) or ("Condition", "Drug"))
        and concept.vocabulary_id
        in ((concept_filter and concept_filter.vocabularies) or ("SNOMED", "RxNorm"))
    ]
    return sorted(passing, key=lambda number: (-cosines[number], number))[:k]


def prefer_indexes(connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use an index although there are so few rows: our planner never compares all, the server never sorts."""
    monkeypatch.setattr(planner, "_is_exact_as_fast", lambda *_: False)
    monkeypatch.setattr(planner, "MAX_EXACT_MICROSECONDS", -1.0)
    connection.execute("set enable_sort = off")


def ids(matches: list[ConceptMatch]) -> list[int]:
    return [match.concept_id for match in matches]


@pytest.mark.parametrize("name", ["hnsw", "8", "binary"])
def test_an_unfiltered_search_reads_the_vector_index_and_few_rows(
    connection: psycopg.Connection, filled: dict[str, Space], name: str
) -> None:
    space = filled[name]
    matches, plan = found(connection, space)
    assert (plan.method, plan.index) == (SearchMethod.INDEX, f"space_{space.space_id}_hnsw")
    assert plan.scan == f"Index Scan using space_{space.space_id}_hnsw"
    assert plan.scanned is not None
    assert plan.scanned <= 200
    assert matches[0][0].concept_id == 0


def test_a_domain_with_its_own_index_is_read_through_it(
    connection: psycopg.Connection, filled: dict[str, Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    prefer_indexes(connection, monkeypatch)
    space = filled["hnsw"]
    _, plan = found(connection, space, concept_filter=DRUGS)
    assert (plan.method, plan.index) == (
        SearchMethod.PARTIAL_INDEX,
        f"space_{space.space_id}_hnsw_{space.partial_domains[0]}",
    )
    assert plan.scan == f"Index Scan using {plan.index}"
    # Another filter beside the domain is looked at row by row.
    both = replace(DRUGS, vocabularies=("SNOMED",))
    matches, plan = found(connection, space, concept_filter=both)
    assert plan.method is SearchMethod.PARTIAL_INDEX
    assert ids(matches[0]) == nearest(QUERY[0], both)


def test_an_exact_search_reads_no_vector_index(
    connection: psycopg.Connection, filled: dict[str, Space]
) -> None:
    for name, space in filled.items():
        for concept_filter in (None, DRUGS, RXNORM):
            for metric_type in MetricType:
                _, plan = found(
                    connection, space, concept_filter=concept_filter, metric_type=metric_type, exact=True
                )
                assert plan.method is SearchMethod.EXACT, name
                assert plan.scan is not None
                assert "hnsw" not in plan.scan
    _, plan = found(connection, filled["flat"])
    assert (plan.scan, plan.scanned) == ("Seq Scan", ROWS)


def test_few_passing_rows_are_compared_and_no_others_are_read(
    connection: psycopg.Connection, filled: dict[str, Space]
) -> None:
    matches, plan = found(connection, filled["hnsw"], concept_filter=ConceptFilter(concept_ids=(7, 9, 8)))
    assert (plan.method, plan.scanned, plan.rows) == (SearchMethod.EXACT, 3, 3)
    assert sorted(ids(matches[0])) == [7, 8, 9]


def test_a_plan_that_the_server_caches_serves_no_other_method(
    connection: psycopg.Connection, filled: dict[str, Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL may settle on one plan for a prepared statement after five runs, whatever is set later."""
    prefer_indexes(connection, monkeypatch)
    monkeypatch.setattr(planner, "matrix_cost", lambda *_: planner.MatrixCost(saved=-1.0, build=1.0))
    space = filled["hnsw"]
    alternating: list[tuple[dict[str, Any], SearchMethod]] = [
        ({"exact": True}, SearchMethod.EXACT),
        ({}, SearchMethod.INDEX),
        ({"concept_filter": RXNORM}, SearchMethod.INDEX),
        ({"concept_filter": RXNORM, "exact": True}, SearchMethod.EXACT),
        ({"concept_filter": DRUGS}, SearchMethod.PARTIAL_INDEX),
        ({"concept_filter": DRUGS, "index_type": IndexType.FLAT}, SearchMethod.EXACT),
    ]
    # Eight queries each: more than the server needs to settle on a plan, which the next options must not get.
    for options, method in alternating * 3:
        matches, plan = found(connection, space, VECTORS[:8], **options)
        assert plan.method is method
        assert plan.scan is not None
        if method is SearchMethod.EXACT:
            assert "hnsw" not in plan.scan
            assert [ids(of_query) for of_query in matches] == [
                nearest(query, options.get("concept_filter")) for query in VECTORS[:8]
            ]
        else:
            assert plan.scan == f"Index Scan using {plan.index}"
        assert [len(of_query) for of_query in matches] == [5] * 8


def test_settings_end_with_the_search_on_a_connection_that_commits_each_statement(
    connection: psycopg.Connection, filled: dict[str, Space]
) -> None:
    connection.autocommit = True
    found(connection, filled["hnsw"])
    assert connection.execute(
        "select current_setting('hnsw.ef_search'), current_setting('hnsw.iterative_scan'), "
        "current_setting('plan_cache_mode')"
    ).fetchone() == ("40", "off", "auto")


@pytest.mark.parametrize(
    "options",
    [{}, {"exact": True}, {"exact": True, "queries_in_all": 10**6}],
    ids=["index", "exact", "matrix"],
)
def test_a_search_leaves_neither_settings_nor_locks_in_the_callers_transaction(
    connection: psycopg.Connection, filled: dict[str, Space], options: dict[str, Any]
) -> None:
    connection.execute("set local hnsw.ef_search = 77")
    found(connection, filled["hnsw"], **options)
    assert connection.execute(
        "select current_setting('hnsw.ef_search'), current_setting('hnsw.iterative_scan'), "
        "current_setting('plan_cache_mode'), current_setting('jit')"
    ).fetchone() == ("77", "off", "auto", "off")
    held = connection.execute(
        "select relation::regclass::text from pg_locks where pid = pg_backend_pid() and relation is not null"
    ).fetchall()
    assert [name for (name,) in held if re.search(r"space_\d", name)] == []


@pytest.fixture
def repaid_by_the_third(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix saves each search two fifths of what it takes to build it."""
    monkeypatch.setattr(planner, "matrix_cost", lambda *_: planner.MatrixCost(saved=10.0, build=25.0))


def methods(connection: psycopg.Connection, space: Space, count: int, **changes: Any) -> list[SearchMethod]:
    """The methods of so many single searches, all of which found what brute force finds."""
    used = []
    for query in VECTORS[:count]:
        [matches], plan = found(connection, space, query[None], **changes)
        assert ids(matches) == nearest(query, changes.get("concept_filter"))
        used.append(plan.method)
    return used


@pytest.mark.usefixtures("repaid_by_the_third")
def test_single_exact_searches_build_the_matrix_once_they_would_have_repaid_it(
    connection: psycopg.Connection, filled: dict[str, Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [SearchMethod.EXACT, SearchMethod.EXACT, SearchMethod.MATRIX, SearchMethod.MATRIX]
    assert methods(connection, filled["flat"], 4) == first
    assert methods(connection, filled["flat"], 2, concept_filter=DRUGS) == [SearchMethod.MATRIX] * 2
    # Another process finds it in the cache.
    monkeypatch.setattr(matrix_policy, "_forgone", {})
    monkeypatch.setattr(matrix_policy, "_opened", {})
    assert methods(connection, filled["flat"], 1) == [SearchMethod.MATRIX]
    assert methods(connection, filled["hnsw"], 4, exact=True) == first
    assert found(connection, filled["flat"], metric_type=MetricType.L1)[1].method is SearchMethod.EXACT


@pytest.mark.usefixtures("repaid_by_the_third")
def test_a_matrix_serves_single_searches_only_in_its_own_state(
    connection: psycopg.Connection, filled: dict[str, Space]
) -> None:
    space = filled["flat"]
    assert methods(connection, space, 3)[-1] is SearchMethod.MATRIX
    upsert.record_write(connection, space)
    assert methods(connection, space, 4) == [SearchMethod.EXACT] * 4  # not committed
    connection.commit()
    assert methods(connection, space, 3) == [SearchMethod.EXACT, SearchMethod.EXACT, SearchMethod.MATRIX]
    disk_cache.clear()
    assert methods(connection, space, 4) == [
        SearchMethod.EXACT,
        SearchMethod.EXACT,
        SearchMethod.MATRIX,
        SearchMethod.MATRIX,
    ]


def test_two_threads_that_search_two_spaces_never_get_each_others_matrix(
    connection: psycopg.Connection, filled: dict[str, Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = planner.MatrixCost(saved=1.0, build=1.0)
    mine, others = filled["flat"], filled["hnsw"]
    for space in (others, mine):
        assert matrix_policy.matrix_if_repaid(connection, space, cost) is not None
    find = disk_cache.cached_folder

    def interrupted(name: str) -> Path | None:
        found = find(name)
        monkeypatch.setattr(disk_cache, "cached_folder", find)
        matrix_policy.matrix_if_repaid(connection, others, cost)  # what another thread does at this moment
        return found

    monkeypatch.setattr(disk_cache, "cached_folder", interrupted)
    rows = matrix_policy.matrix_if_repaid(connection, mine, cost)
    assert rows is not None
    assert rows.state == matrix.committed_state(connection, mine)


@pytest.mark.usefixtures("repaid_by_the_third")
def test_an_index_is_not_left_for_a_matrix_that_happens_to_exist(
    connection: psycopg.Connection, filled: dict[str, Space]
) -> None:
    assert methods(connection, filled["hnsw"], 3, exact=True)[-1] is SearchMethod.MATRIX
    for count in (1, planner.BULK_QUERIES):
        assert found(connection, filled["hnsw"], VECTORS[:count])[1].method is SearchMethod.INDEX


def test_a_single_search_does_not_wait_for_a_matrix_that_takes_long(
    connection: psycopg.Connection, filled: dict[str, Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "matrix_cost", lambda *_: planner.MatrixCost(saved=6e6, build=6e6))
    assert methods(connection, filled["flat"], 3) == [SearchMethod.EXACT] * 3
    monkeypatch.setattr(planner, "matrix_cost", lambda *_: planner.MatrixCost(saved=10.0, build=10.0))
    with disk_cache.build_folder("another", 1):
        _, plan = found(connection, filled["flat"])
        assert plan.method is SearchMethod.EXACT
        assert "no matrix: another process is building one" in plan.reason
    assert methods(connection, filled["flat"], 2) == [SearchMethod.EXACT] * 2  # nor does it try again
    matrix.open_matrix(connection, filled["flat"])
    assert methods(connection, filled["flat"], 1) == [SearchMethod.MATRIX]


def test_a_statement_timeout_while_a_matrix_is_built_does_not_end_the_search(
    connection: psycopg.Connection, filled: dict[str, Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "matrix_cost", lambda *_: planner.MatrixCost(saved=7e6, build=6e6))
    monkeypatch.setattr(matrix, "_copy_out", lambda connection, *_: connection.execute("select pg_sleep(9)"))
    connection.execute("set statement_timeout = '200ms'")
    _, plan = found(connection, filled["flat"])
    assert plan.method is SearchMethod.EXACT
    assert "no matrix: reading all rows takes longer than statement_timeout" in plan.reason
    assert ids(found(connection, filled["flat"])[0][0]) == nearest(QUERY[0], None)


def test_queries_that_repay_a_matrix_wait_for_it_but_leave_an_index_only_if_they_are_many(
    connection: psycopg.Connection, filled: dict[str, Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    prefer_indexes(connection, monkeypatch)
    monkeypatch.setattr(planner, "matrix_cost", lambda *_: planner.MatrixCost(saved=7e6, build=6e6))
    assert methods(connection, filled["flat"], 1) == [SearchMethod.MATRIX]
    for count, method in (
        (planner.BULK_QUERIES - 1, SearchMethod.INDEX),
        (planner.BULK_QUERIES, SearchMethod.MATRIX),
    ):
        _, plan = found(connection, filled["hnsw"], VECTORS[:count], concept_filter=RXNORM)
        assert plan.method is method


@pytest.mark.usefixtures("own_cache")
def test_a_part_of_many_queries_is_searched_by_the_method_for_all(
    connection: psycopg.Connection, filled: dict[str, Space]
) -> None:
    _, alone = found(connection, filled["flat"], VECTORS[:3])
    _, part = found(connection, filled["flat"], VECTORS[:3], queries_in_all=100_000)
    assert (alone.method, part.method, part.queries) == (SearchMethod.EXACT, SearchMethod.MATRIX, 3)
