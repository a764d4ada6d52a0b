"""The method that the planner chooses, at the borders between methods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from psycopg import sql

from omop_emb.records import Fingerprint, IndexType, MetricType
from omop_emb.search import planner, recall
from omop_emb.search.options import SearchOptions
from omop_emb.search.planner import SearchMethod, SearchPlan
from omop_emb.spaces.filters import ALL_ROWS, Condition
from omop_emb.spaces.registry import Space
from omop_emb.spaces.row_counts import RowCount

SPACE = Space(
    space_id=7,
    name="s",
    fingerprint=Fingerprint(provider="test", model="m", revision="1", dimensions=768),
    index_type=IndexType.HNSW,
    hnsw_m=16,
    hnsw_ef_construction=64,
    texts="name",
    template="",
    synonym_languages=(),
    vocabulary_release=None,
    is_active=True,
    has_index=True,
    recall=(
        MEASURED := ((10, 40, 0.95), (10, 100, 0.99), (10, 200, 0.999), (100, 100, 0.97), (100, 400, 0.99))
    ),
    standard_recall={None: MEASURED, 3: MEASURED},
)


def filtered(*domains: int) -> Condition:
    """The condition of a filter that was measured: standard and valid concepts, of domains or of all."""
    parameters: dict[str, Any] = {"domain": list(domains)} if domains else {}
    return Condition(sql.SQL("true"), {**parameters, "standard": "S", "valid": True})


def choose(
    count: RowCount | None = None, space: Space = SPACE, *, domains: tuple[int, ...] = (), **options: Any
) -> SearchPlan:
    """The plan of one query: filtered if rows are counted."""
    condition = ALL_ROWS if count is None else filtered(*domains)
    return planner.choose_method(space, SearchOptions(**options), condition, count, queries=1)


def choose_unfiltered(space: Space, rows: int, **options: Any) -> SearchPlan:
    count = RowCount(rows, rows)
    return planner.choose_method(space, SearchOptions(**options), ALL_ROWS, count, queries=1)


def needs_count(space: Space = SPACE, queries: int = 1, **options: Any) -> bool:
    return planner.needs_count(space, SearchOptions(**options), ALL_ROWS, queries=queries)


def test_an_unfiltered_search_uses_the_index_with_the_ef_search_that_its_recall_needs() -> None:
    assert (choose().method, choose().ef_search, choose().index) == (SearchMethod.INDEX, 100, "space_7_hnsw")
    assert choose(recall=0.9).ef_search == 40
    assert choose(recall=0.999).ef_search == 200
    assert choose(k=100).ef_search == 400
    assert choose(k=200).ef_search == 800


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exact": True}, "an exact search was requested"),
        ({"recall": 1.0}, "an exact search was requested"),
        ({"index_type": IndexType.FLAT}, "FLAT was requested"),
        ({"metric_type": MetricType.L1}, "cannot rank by L1"),
        ({"space": replace(SPACE, has_index=False)}, "not built yet"),
        ({"recall": 0.9999}, "no ef_search reaches"),
        ({"k": 1000}, "no ef_search reaches"),
        ({"space": replace(SPACE, recall=()), "recall": 0.9}, "was not measured"),
    ],
)
def test_what_the_index_cannot_serve_is_searched_exactly_and_says_why(
    changes: dict[str, Any], reason: str
) -> None:
    plan = choose(**changes)
    assert (plan.method, plan.ef_search) == (SearchMethod.EXACT, None)
    assert reason in plan.reason


def test_an_unmeasured_space_is_searched_exactly_unless_that_takes_too_long() -> None:
    space = replace(SPACE, recall=())
    assert needs_count(space)
    for rows, method, ef_search in (
        (100_000, SearchMethod.EXACT, None),
        (1_000_000, SearchMethod.INDEX, 100),
    ):
        plan = choose_unfiltered(space, rows)
        assert (plan.method, plan.ef_search) == (method, ef_search)
        assert "not measured" in plan.reason
    assert choose_unfiltered(space, 1_000_000, recall=0.9).method is SearchMethod.EXACT


# total, passing, of the domain's rows, the filter's parameters -> whether what was measured holds for it
MEASURED_FILTERS = [
    ("none", (400_000, 400_000, 400_000), {}, True),
    ("one that all rows pass", (400_000, 400_000, 400_000), {"vocabulary": [4]}, True),
    ("another that all rows pass", (400_000, 400_000, 400_000), {"valid": True}, True),
    ("a domain's rows, which all pass", (400_000, 300_000, 300_000), {"domain": [3], "valid": True}, True),
    ("a domain", (400_000, 300_000, 300_000), {"domain": [3]}, True),
    ("standard and valid", (400_000, 300_000, 400_000), {"standard": "S", "valid": True}, True),
    (
        "standard and valid, of a domain",
        (400_000, 250_000, 300_000),
        {"domain": [3], "standard": "S", "valid": True},
        True,
    ),
    ("standard", (400_000, 300_000, 400_000), {"standard": "S"}, False),
    ("valid", (400_000, 300_000, 400_000), {"valid": True}, False),
    ("a vocabulary", (400_000, 300_000, 400_000), {"vocabulary": [4]}, False),
    ("a concept class", (400_000, 300_000, 400_000), {"concept_class": [4]}, False),
    ("two domains", (400_000, 300_000, 300_000), {"domain": [3, 4]}, False),
    ("a domain that was not measured", (400_000, 300_000, 300_000), {"domain": [5]}, False),
    ("a domain and a vocabulary", (400_000, 250_000, 300_000), {"domain": [3], "vocabulary": [4]}, False),
    (
        "standard and valid, and a vocabulary",
        (400_000, 250_000, 400_000),
        {"standard": "S", "valid": True, "vocabulary": [4]},
        False,
    ),
]


@pytest.mark.parametrize(("name", "counts", "parameters", "is_measured"), MEASURED_FILTERS)
@pytest.mark.parametrize("has_index_of_its_own", [False, True])
def test_a_filter_goes_through_an_index_only_if_it_was_measured_unless_exact_takes_too_long(
    name: str,
    counts: tuple[int, int, int],
    parameters: dict[str, Any],
    is_measured: bool,
    has_index_of_its_own: bool,
) -> None:
    space = replace(SPACE, partial_recall={3: MEASURED}, partial_domains=(3,) if has_index_of_its_own else ())
    condition = Condition(sql.SQL("true"), parameters) if parameters else ALL_ROWS
    total, passing, of_domains = counts
    for factor, requested, by_index in (
        (1, None, is_measured),  # up to a fifth of a second is exact
        (20, None, True),
        (20, 0.95, is_measured),
    ):
        count = RowCount(passing * factor, total * factor, of_domains * factor)
        # An exact search of 400,000 rows takes longer than a fifth of a second on the planner's machine.
        count = count if factor > 1 else RowCount(passing // 2, total // 2, of_domains // 2)
        plan = planner.choose_method(space, SearchOptions(recall=requested), condition, count, queries=1)
        assert (plan.method is not SearchMethod.EXACT) == by_index, (name, factor, plan.reason)
        assert ("not measured" in plan.reason) == (not is_measured)


def test_few_passing_rows_are_compared_and_many_are_searched_through_the_index() -> None:
    total = 1_000_000

    def method(passing: int) -> SearchMethod:
        return choose(RowCount(passing, total)).method

    methods = [method(passing) for passing in (0, 10, 1000, 300_000, total)]
    assert methods == [SearchMethod.EXACT] * 3 + [SearchMethod.INDEX] * 2
    border = next(passing for passing in range(1000, 300_000, 100) if method(passing) is SearchMethod.INDEX)

    def index_is_cheaper(passing: int) -> bool:
        visited = 100 * total // passing
        return planner.exact_cost(RowCount(passing, total), 768) > 2 * planner.index_cost(visited, 768)

    assert not index_is_cheaper(border - 200)
    assert index_is_cheaper(border)


def test_all_rows_are_compared_where_that_is_cheaper_than_the_candidates_of_the_index() -> None:
    assert needs_count(k=100)  # 400 candidates
    assert not needs_count(k=10)
    few, many = (choose_unfiltered(SPACE, rows, k=100) for rows in (5_000, 15_000))
    assert (few.method, many.method) == (SearchMethod.EXACT, SearchMethod.INDEX)
    assert "comparing all 5,000 rows is faster than 400 candidates" in few.reason
    for rows, method in ((5_000, few.method), (15_000, many.method)):
        is_cheaper = planner.exact_cost(RowCount(rows, rows), 768) <= planner.index_cost(400, 768)
        assert is_cheaper == (method is SearchMethod.EXACT)


def test_between_two_measured_steps_ef_search_is_interpolated() -> None:
    assert choose(recall=0.97).ef_search == 70  # half way from 0.95 at 40 to 0.99 at 100
    assert choose(recall=0.9501).ef_search == 41
    assert choose(k=20, recall=0.98).ef_search == 250  # from 0.97 at 100 to 0.99 at 400
    assert "0.950 to 0.990 around it" in choose(recall=0.97).reason


def test_a_filter_makes_the_index_look_at_more_candidates() -> None:
    assert choose().candidates == 0
    for passing, ef_search in ((500_000, 200), (200_000, 500), (80_000, 1000)):
        plan = choose(RowCount(passing, 1_000_000))
        assert (plan.ef_search, plan.candidates) == (ef_search, 100)


def test_a_first_pass_may_need_more_candidates_than_ef_search_allows() -> None:
    space = replace(SPACE, first_pass="binary", recall=((10, 1000, 0.97), (10, 2500, 0.99)))
    assert (choose(space=space).ef_search, choose(space=space).candidates) == (1000, 2500)
    assert choose(space=space, recall=0.96).candidates == 1000


def test_where_the_index_finds_too_little_a_search_is_exact_unless_that_takes_too_long() -> None:
    space = replace(SPACE, recall=((10, 400, 0.93), (10, 1000, 0.97), (100, 1000, 0.9)))
    assert needs_count(space)
    assert not needs_count()
    assert needs_count(queries=planner.BULK_QUERIES)
    assert needs_count(exact=True)
    assert not needs_count(metric_type=MetricType.L1)
    assert choose_unfiltered(space, 100_000).method is SearchMethod.EXACT
    plan = choose_unfiltered(space, 1_000_000)
    assert (plan.method, plan.ef_search) == (SearchMethod.INDEX, 1000)
    assert "measured as 0.970, the most" in plan.reason
    assert choose_unfiltered(space, 1_000_000, recall=0.99).method is SearchMethod.EXACT


def test_a_domain_with_an_index_of_its_own_is_searched_through_it() -> None:
    space = replace(SPACE, partial_domains=(3,), partial_recall={3: ((10, 64, 0.995),)})
    plan = choose(RowCount(80_000, 1_000_000, 80_000), space, domains=(3,))
    assert (plan.method, plan.index, plan.ef_search) == (SearchMethod.PARTIAL_INDEX, "space_7_hnsw_3", 64)
    other = replace(space, standard_recall={3: ((10, 64, 0.995),)})  # half of its rows are standard and valid
    assert choose(RowCount(80_000, 1_000_000, 160_000), other, domains=(3,)).ef_search == 128
    assert choose(RowCount(400_000, 1_000_000), space, domains=(3, 4)).method is SearchMethod.INDEX
    assert choose(RowCount(400_000, 1_000_000), space, domains=(4,)).method is SearchMethod.INDEX
    assert choose(RowCount(1_000, 1_000_000), space, domains=(3,)).method is SearchMethod.EXACT


def matrix_cost(queries: int, method: SearchMethod, *, rows: int = 100_000) -> planner.MatrixCost:
    ef_search = 100 if method is SearchMethod.INDEX else None
    plan = SearchPlan(method=method, reason="", queries=queries, ef_search=ef_search)
    return planner.matrix_cost(plan, RowCount(rows, rows), 768)


def test_some_exact_searches_repay_building_the_matrix() -> None:
    for queries, is_repaid in ((1, False), (10, False), (100, True), (10_000, True)):
        cost = matrix_cost(queries, SearchMethod.EXACT)
        assert 0 < cost.saved
        assert (cost.saved > cost.build) == is_repaid
    assert matrix_cost(1, SearchMethod.EXACT, rows=500).saved < 0  # looking for it alone takes longer


def test_only_many_queries_are_cheaper_by_matrix_than_through_an_index() -> None:
    for queries, rows, is_repaid in ((100, 100_000, False), (100_000, 100_000, True), (10_000, 20_000, True)):
        cost = matrix_cost(queries, SearchMethod.INDEX, rows=rows)
        assert (cost.saved > cost.build) == is_repaid


def test_no_single_search_waits_for_the_matrix_of_millions_of_rows() -> None:
    assert matrix_cost(1, SearchMethod.EXACT, rows=400_000).is_quick_to_build
    assert not matrix_cost(1, SearchMethod.EXACT, rows=3_000_000).is_quick_to_build


def test_a_measured_recall_allows_for_the_error_of_its_sample() -> None:
    shares = np.ones(150)
    # One query more could have found nothing.
    assert recall.lower_confidence_bound(shares) == pytest.approx(1 - 1 / 151)
    shares[:15] = 0.9
    # Mean 0.99, standard error 0.0025: a larger sample could well have a lower mean.
    assert 0.984 < recall.lower_confidence_bound(shares) + 1 / 151 < 0.985
    assert recall.lower_confidence_bound(np.repeat(shares, 100)) > 0.989  # hardly so if it is large


def test_the_kind_of_queries_of_which_least_is_found_decides() -> None:
    easy, hard = np.ones(150), np.full(150, 0.9)
    assert recall.lower_confidence_bound(easy, hard) == pytest.approx(0.9 - 1 / 301)
    hard[:75] = 0.8  # a standard error of 0.0041
    assert recall.lower_confidence_bound(easy, hard) == pytest.approx(
        0.85 - 2.33 * hard.std(ddof=1) / np.sqrt(150) - 1 / 301
    )


@pytest.mark.parametrize(
    ("rows", "method"),
    [(2_000, SearchMethod.EXACT), (8_000, SearchMethod.EXACT), (40_000, SearchMethod.PARTIAL_INDEX)],
)
def test_where_a_matrix_takes_no_longer_than_the_index_a_filtered_search_is_exact(
    rows: int, method: SearchMethod
) -> None:
    space = replace(SPACE, partial_domains=(3,), partial_recall={3: ((10, 250, 0.995),)})
    assert choose(RowCount(rows, 100_000, rows), space, domains=(3,)).method is method
    cost = planner.index_cost(250, 768)
    assert (planner.matrix_search_cost(RowCount(rows, 100_000), 768, queries=1) <= cost) == (
        method is SearchMethod.EXACT
    )
    assert planner.exact_cost(RowCount(8_000, 100_000), 768) > 2 * cost
