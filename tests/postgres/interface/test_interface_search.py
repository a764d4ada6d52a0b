"""Searching through EmbeddingInterface: many texts, similar concepts, and how a search tells what it did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from omop_emb import (
    ConceptFilter,
    EmbeddingClient,
    EmbeddingInterface,
    EmbeddingRole,
    IndexType,
    MetricType,
)
from omop_emb.errors import InputError, TextRejectedError
from omop_emb.interface import query_texts
from omop_emb.search.planner import SearchMethod

pytestmark = pytest.mark.usefixtures("own_cache")

CONCEPTS = {
    316866: "Hypertensive disorder",
    201826: "Type 2 diabetes mellitus",
    201254: "Type 1 diabetes mellitus",
    4329847: "Myocardial infarction",
    1503297: "Metformin",
}
QUERIES = ["heart attack", "high blood pressure", "heart attack", "metformin 500 mg", "diabetes"]


@pytest.fixture(scope="module")
def client() -> EmbeddingClient:
    return EmbeddingClient("local:all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def interface(client: EmbeddingClient) -> EmbeddingInterface:
    return EmbeddingInterface(client)


@pytest.fixture
def filled(interface: EmbeddingInterface, session: Session) -> Session:
    for index_type in IndexType:
        interface.embed_and_upsert_concepts(
            session=session,
            index_type=index_type,
            concept_ids=list(CONCEPTS),
            concept_texts=list(CONCEPTS.values()),
        )
    return session


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_texts, "BATCH_TEXTS", 2)


def test_the_iterator_gives_what_the_list_gives(
    interface: EmbeddingInterface, filled: Session, small_parts: None
) -> None:
    listed = interface.get_nearest_concepts_from_query_texts(session=filled, query_texts=QUERIES, k=2)
    one_by_one = interface.iter_nearest_concepts_from_query_texts(
        session=filled, query_texts=iter(QUERIES), k=2
    )
    assert list(one_by_one) == listed
    assert [len(matches) for matches in listed] == [2] * len(QUERIES)
    assert listed[0] == listed[2]
    assert listed[0] is not listed[2]


def test_texts_are_read_as_needed_and_the_caller_may_commit_in_between(
    interface: EmbeddingInterface, filled: Session, small_parts: None
) -> None:
    read = []

    def texts() -> Iterator[str]:
        for query in QUERIES:
            read.append(query)
            yield query

    found = interface.iter_nearest_concepts_from_query_texts(session=filled, query_texts=texts(), k=1)
    assert read == []
    assert next(found)[0].concept_id == 4329847
    assert len(read) == 2
    filled.commit()
    assert [matches[0].concept_id for matches in found][:3] == [316866, 4329847, 1503297]


def test_each_distinct_text_is_embedded_and_searched_once(
    interface: EmbeddingInterface, filled: Session, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = []
    original = query_texts.matches_of_texts

    def counting(texts: Any, client: Any, search: Any, **options: Any) -> Any:
        def counted(queries: Any, in_all: int) -> Any:
            searched.append((len(queries), in_all))
            return search(queries, in_all)

        return original(texts, client, counted, **options)

    monkeypatch.setattr("omop_emb.interface.concept_search.matches_of_texts", counting)
    interface.get_nearest_concepts_from_query_texts(session=filled, query_texts=QUERIES * 3, k=1)
    assert sum(count for count, _ in searched) == 4
    assert {in_all for _, in_all in searched} == {4}


def test_all_parts_of_many_texts_are_searched_by_the_method_that_is_cheapest_for_all(
    interface: EmbeddingInterface, filled: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omop_emb import disk_cache
    from omop_emb.search import search

    filled.commit()
    used: list[SearchMethod] = []
    original = search.search

    def watched(*arguments: Any, **options: Any) -> Any:
        found = original(*arguments, **options)
        used.append(found.plan.method)
        return found

    monkeypatch.setattr(search, "search", watched)
    monkeypatch.setattr(query_texts, "BATCH_TEXTS", 100)
    texts = [f"term {n}" for n in range(130)]
    whole = interface.get_nearest_concepts_from_query_texts(
        session=filled, index_type=IndexType.FLAT, query_texts=texts, k=3
    )
    assert used == [SearchMethod.MATRIX] * 2
    disk_cache.clear()
    single = interface.get_nearest_concepts_from_query_texts(
        session=filled, index_type=IndexType.FLAT, query_texts=texts[:5], k=3
    )
    assert single == whole[:5]
    assert used[2:] == [SearchMethod.EXACT]


@pytest.mark.parametrize("bad", ["", " \n", None, 5])
def test_an_invalid_text_is_named_by_its_position_among_all(
    interface: EmbeddingInterface, filled: Session, small_parts: None, bad: Any
) -> None:
    texts = ["gout", "gout", "asthma", bad]
    found = interface.iter_nearest_concepts_from_query_texts(session=filled, query_texts=texts, k=1)
    with pytest.raises(InputError, match="text 3 "):
        list(found)
    with pytest.raises(InputError, match="text 3 "):
        interface.get_nearest_concepts_from_query_texts(session=filled, query_texts=texts, k=1)


def test_a_single_text_instead_of_a_sequence_is_refused(
    interface: EmbeddingInterface, filled: Session
) -> None:
    with pytest.raises(InputError, match="query_texts must be a sequence of texts; found one str"):
        interface.get_nearest_concepts_from_query_texts(session=filled, query_texts="gout")


def test_a_text_that_the_provider_rejects_is_named_by_its_position_among_all() -> None:
    class Rejecting:
        def embeddings(self, texts: list[str], *, embedding_role: EmbeddingRole, combine: str) -> Any:
            if "bad" in texts:
                position = texts.index("bad")
                raise TextRejectedError(f"text {position} cannot be embedded: too long", positions=[position])
            return np.eye(len(texts), 3, dtype=np.float32)

    texts = ["a", "b", "a", "a", "b", "bad"]
    client: Any = Rejecting()
    found = query_texts.matches_of_texts(texts, client, lambda queries, _: [[] for _ in queries])
    with pytest.raises(TextRejectedError, match="text 5 cannot be embedded: too long") as caught:
        list(found)
    assert caught.value.positions == (5,)


@pytest.mark.parametrize("index_type", list(IndexType), ids=lambda index_type: index_type.value)
def test_similar_concepts_are_those_nearest_to_a_concepts_name_without_itself(
    client: EmbeddingClient, filled: Session, index_type: IndexType
) -> None:
    interface = EmbeddingInterface(client)
    found = interface.get_similar_concepts(
        session=filled, index_type=index_type, concept_ids=(201826, 4329847, 201826), k=2
    )
    assert [len(matches) for matches in found] == [2, 2, 2]
    assert found[0] == found[2]
    assert found[0][0].concept_id == 201254
    vectors = client.embeddings(list(CONCEPTS.values()), embedding_role=EmbeddingRole.DOCUMENT)
    cosine = float(vectors[1] @ vectors[2])
    assert found[0][0].similarity == pytest.approx(cosine, abs=2e-3)
    assert 4329847 not in {match.concept_id for match in found[1]}


def test_a_concept_with_a_twin_gets_its_twin_and_k_others(
    interface: EmbeddingInterface, session: Session
) -> None:
    interface.embed_and_upsert_concepts(
        session=session,
        index_type=IndexType.FLAT,
        concept_ids=(3, 2, 1, 4),
        concept_texts=("Fever", "Fever", "Fever", "Gout"),
    )
    [matches] = interface.get_similar_concepts(session=session, concept_ids=(2,), k=2)
    assert [match.concept_id for match in matches] == [1, 3]
    only = ConceptFilter(concept_ids=(4, 3))
    [matches] = interface.get_similar_concepts(session=session, concept_ids=(2,), k=2, concept_filter=only)
    assert [match.concept_id for match in matches] == [3, 4]


def test_a_concept_that_is_not_embedded_has_no_similar_ones(
    interface: EmbeddingInterface, filled: Session
) -> None:
    with pytest.raises(InputError, match=r"concepts 7, 8, 9, 10, 11 and 1 more are not embedded in space"):
        interface.get_similar_concepts(session=filled, concept_ids=(201826, 7, 8, 9, 10, 11, 12))
    with pytest.raises(InputError, match="k must be a whole number, at least 1; found 0"):
        interface.get_similar_concepts(session=filled, concept_ids=(201826,), k=0)


def test_no_model_is_loaded_where_vectors_are_given(
    client: EmbeddingClient, interface: EmbeddingInterface, filled: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = client.embeddings(["heart attack"], embedding_role=EmbeddingRole.QUERY)
    monkeypatch.setattr(EmbeddingClient, "for_fingerprint", lambda *_: pytest.fail("a client was made"))
    active = EmbeddingInterface()
    assert (
        active.get_nearest_concepts(session=filled, query_embeddings=query, k=1)[0][0].concept_id == 4329847
    )
    assert active.get_similar_concepts(session=filled, concept_ids=(201826,), k=1)[0][0].concept_id == 201254


def test_a_search_explains_its_method_and_what_the_server_read(
    interface: EmbeddingInterface, filled: Session
) -> None:
    found = interface.explain_search(
        session=filled, index_type=IndexType.FLAT, query_texts=["heart attack"], k=2
    )
    assert found.matches == interface.get_nearest_concepts_from_query_texts(
        session=filled, index_type=IndexType.FLAT, query_texts=["heart attack"], k=2
    )
    plan = found.plan
    assert (plan.method, plan.reason, plan.queries) == (
        SearchMethod.EXACT,
        "the space is FLAT, without a vector index",
        1,
    )
    assert plan.scanned == len(CONCEPTS)
    assert plan.scan == "Seq Scan"
    assert plan.milliseconds > 0
    assert found.embedding_milliseconds > 0
    assert found.space == "all-MiniLM-L6-v2-flat"


def test_the_callers_options_reach_the_planner(interface: EmbeddingInterface, filled: Session) -> None:
    def plan(**options: Any) -> Any:
        return interface.explain_search(
            session=filled, index_type=IndexType.HNSW, query_texts=["gout"], **options
        ).plan

    assert "the index is not built yet" in plan().reason
    interface.finish_loading(session=filled, index_type=IndexType.HNSW)
    assert (plan().method, "was not measured" in plan().reason) == (SearchMethod.EXACT, True)  # so few rows
    assert plan(exact=True).reason == "an exact search was requested"
    assert plan(recall=1.0).reason == "an exact search was requested"
    assert "recall 0.9 was requested" in plan(recall=0.9).reason
    assert "L1" in plan(metric_type=MetricType.L1).reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recall": 0.0}, "recall must be a number above 0 and at most 1; found 0.0"),
        ({"recall": 1.5}, "recall must be a number above 0"),
        ({"recall": "0.9"}, "recall must be a number above 0"),
        ({"recall": True}, "recall must be a number above 0"),
        ({"recall": float("nan")}, "recall must be a number above 0"),
        ({"k": 2.5}, "k must be a whole number, at least 1; found 2.5"),
        ({"k": "3"}, "k must be a whole number, at least 1; found '3'"),
        ({"k": None}, "k must be a whole number, at least 1; found None"),
        ({"k": 0}, "k must be a whole number, at least 1; found 0"),
        ({"exact": "no"}, "exact must be True or False; found 'no'"),
        ({"metric_type": "euclid"}, r"metric_type must be one of .*'cosine', 'l2'.*; found 'euclid'"),
        ({"metric_type": None}, "metric_type must be one of .*; found NoneType"),
        ({"index_type": "ivfflat"}, "index_type must be one of .*'flat', 'hnsw'; found 'ivfflat'"),
        ({"index_type": MetricType.L2}, "index_type must be one of .*; found MetricType"),
        ({"concept_filter": {"domains": "Condition"}}, "must be a ConceptFilter, .*; found dict"),
        ({"concept_filter": "Condition"}, "must be a ConceptFilter, .*; found str"),
        ({"concept_filter": ["Condition"]}, "must be a ConceptFilter, .*; found list"),
    ],
)
def test_an_impossible_argument_is_refused_in_one_line(
    interface: EmbeddingInterface, filled: Session, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        interface.get_nearest_concepts_from_query_texts(session=filled, query_texts=["gout"], **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("index_type", [IndexType.HNSW, "hnsw", "HNSW", " Hnsw "])
@pytest.mark.parametrize("metric_type", [MetricType.INNER_PRODUCT, "Inner Product", "INNER-PRODUCT"])
def test_index_types_and_metrics_may_be_written_as_text(
    interface: EmbeddingInterface, filled: Session, index_type: IndexType | str, metric_type: MetricType | str
) -> None:
    def found(index: IndexType | str, metric: MetricType | str) -> Any:
        return interface.get_nearest_concepts_from_query_texts(
            session=filled, query_texts=["gout"], index_type=index, metric_type=metric
        )

    assert found(index_type, metric_type) == found(IndexType.HNSW, MetricType.INNER_PRODUCT)


def test_a_search_leaves_the_callers_settings_and_rows_as_they_were(
    interface: EmbeddingInterface, engine: Engine, filled: Session
) -> None:
    def settings() -> list[Any]:
        return [
            filled.execute(text(f"select current_setting('{name}', true)")).scalar_one()
            for name in ("hnsw.ef_search", "hnsw.iterative_scan", "plan_cache_mode")
        ]

    interface.get_nearest_concepts_from_query_texts(session=filled, query_texts=["gout"])
    before = settings()
    interface.get_nearest_concepts_from_query_texts(session=filled, query_texts=["gout"], k=300)
    assert settings() == before == ["40", "off", "auto"]
    assert filled.execute(text("select count(*) from omop_emb.space_1")).scalar_one() == len(CONCEPTS)
