"""Calls of the Python API with a wrong keyword or value: one line names the right one, before any work."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import omop_emb
from omop_emb import (
    ConceptFilter,
    EmbeddingClient,
    EmbeddingInterface,
    database_engine,
    find_concepts,
    map_terms,
    nearest_concepts_frame,
)
from omop_emb.errors import InputError, checked_keywords
from omop_emb.mapping import Settings
from omop_emb.search.options import SearchOptions
from omop_emb.service import ConceptFinder, find_similar

API: Any = omop_emb
SETTINGS: Any = Settings
OPTIONS: Any = SearchOptions
NOTHING: Any = None  # no call gets as far as to use its session, engine or frame
INTERFACE: Any = EmbeddingInterface()
SEARCH = INTERFACE.get_nearest_concepts_from_query_texts
FINDER: Any = ConceptFinder(NOTHING)

UNKNOWN_KEYWORDS: list[tuple[Any, str, str]] = [
    (SEARCH, "filter", "did you mean concept_filter?"),
    (SEARCH, "filters", "did you mean concept_filter?"),
    (SEARCH, "conceptFilter", "did you mean concept_filter?"),
    (SEARCH, "concept_filters", "did you mean concept_filter?"),
    (SEARCH, "domain", "did you mean concept_filter?"),
    (SEARCH, "standard_only", "did you mean concept_filter?"),
    (SEARCH, "top_k", "did you mean k?"),
    (SEARCH, "topK", "did you mean k?"),
    (SEARCH, "K", "did you mean k?"),
    (SEARCH, "n_results", "did you mean k?"),
    (SEARCH, "texts", "did you mean query_texts?"),
    (SEARCH, "query_text", "did you mean query_texts?"),
    (SEARCH, "metric", "did you mean metric_type?"),
    (SEARCH, "conn", "did you mean session?"),
    (
        SEARCH,
        "zzz",
        "it has session, index_type, query_texts, metric_type, k, concept_filter, recall, exact, combine",
    ),
    (INTERFACE.iter_nearest_concepts_from_query_texts, "filter", "did you mean concept_filter?"),
    (INTERFACE.explain_search, "filter", "did you mean concept_filter?"),
    (INTERFACE.get_nearest_concepts, "filter", "did you mean concept_filter?"),
    (INTERFACE.get_nearest_concepts, "vectors", "did you mean query_embeddings?"),
    (INTERFACE.get_similar_concepts, "filter", "did you mean concept_filter?"),
    (INTERFACE.get_similar_concepts, "ids", "did you mean concept_ids?"),
    (INTERFACE.embed_texts, "role", "did you mean embedding_role?"),
    (INTERFACE.embed_and_upsert_concepts, "ids", "did you mean concept_ids?"),
    (INTERFACE.embed_and_upsert_concepts, "texts", "did you mean concept_texts?"),
    (INTERFACE.upsert_concept_embeddings, "vectors", "did you mean embeddings?"),
    (INTERFACE.finish_loading, "index", "did you mean index_type?"),
    (EmbeddingInterface, "model", "did you mean client?"),
    (EmbeddingClient, "model_name", "did you mean model?"),
    (EmbeddingClient, "dimension", "did you mean dimensions?"),
    (find_concepts, "filter", "did you mean concept_filter?"),
    (find_concepts, "limit", "did you mean k?"),
    (FINDER.find, "filter", "did you mean concept_filter?"),
    (FINDER.complete, "top_k", "did you mean k?"),
    (find_similar, "filter", "did you mean concept_filter?"),
    (map_terms, "concept_filter", "did you mean settings?"),
    (map_terms, "filter", "did you mean settings?"),
    (map_terms, "setting", "did you mean settings?"),
    (nearest_concepts_frame, "filter", "did you mean concept_filter?"),
    (nearest_concepts_frame, "columns", "did you mean column?"),
    (database_engine, "dsn", "did you mean url?"),
    (ConceptFilter, "domain", "did you mean domains?"),
    (ConceptFilter, "vocabulary_id", "did you mean vocabularies?"),
    (ConceptFilter, "standard", "did you mean standard_only?"),
    (ConceptFilter, "ids", "did you mean concept_ids?"),
    (Settings, "filter", "did you mean concept_filter?"),
    (Settings, "k", "did you mean candidates?"),
]


@pytest.mark.parametrize(
    ("function", "keyword", "hint"),
    UNKNOWN_KEYWORDS,
    ids=[f"{f.__name__} {k}" if hasattr(f, "__name__") else k for f, k, _ in UNKNOWN_KEYWORDS],
)
def test_an_unknown_keyword_is_refused_with_the_one_that_was_meant(
    function: Any, keyword: str, hint: str
) -> None:
    with pytest.raises(TypeError) as caught:
        function(**{keyword: {"domains": "Condition"}})
    assert str(caught.value) == f"{function.__name__}() has no keyword {keyword!r}; {hint}"


def public_functions() -> list[Any]:
    found: list[Any] = []
    for public in (getattr(omop_emb, name) for name in omop_emb.__all__):
        if inspect.isfunction(public):
            found.append(public)
        elif public in (ConceptFilter, EmbeddingClient, EmbeddingInterface):
            found += [
                m for n, m in inspect.getmembers(public, inspect.isfunction) if n == "__init__" or n[0] != "_"
            ]
    return found


@pytest.mark.parametrize("function", public_functions(), ids=lambda function: function.__qualname__)
def test_every_public_function_names_its_keywords(function: Any) -> None:
    with pytest.raises(TypeError, match=r"\(\) has no keyword 'zzz'; it has ") as caught:
        function(*[INTERFACE] * ("." in function.__qualname__), zzz=1)
    assert "\n" not in str(caught.value)


def test_help_and_signatures_stay() -> None:
    assert list(inspect.signature(find_concepts).parameters)[:2] == ["session", "text"]
    assert "concept_filter" in inspect.signature(EmbeddingInterface.get_nearest_concepts).parameters
    assert next(iter(inspect.signature(ConceptFilter).parameters)) == "domains"
    assert (find_concepts.__doc__ or "").startswith("ConceptFinder.find() once")


def test_a_function_that_takes_any_keyword_is_left_alone() -> None:
    def anything(**keywords: int) -> int:
        return sum(keywords.values())

    assert checked_keywords(anything)(a=1, b=2) == 3


def test_a_missing_argument_is_named_as_before() -> None:
    with pytest.raises(
        TypeError, match="missing 2 required keyword-only arguments: 'session' and 'query_texts'"
    ):
        SEARCH()


WRONG_COUNTS = ["3", 2.0, True, False, None, 0, -1, [3], {"k": 3}, np.float32(3), np.True_, 10**5000 * -1, 3j]


@pytest.mark.parametrize("k", WRONG_COUNTS, ids=[str(n) for n in range(len(WRONG_COUNTS))])
@pytest.mark.parametrize(
    "search",
    [
        lambda k: SEARCH(session=NOTHING, query_texts=["fever"], k=k),
        lambda k: INTERFACE.iter_nearest_concepts_from_query_texts(
            session=NOTHING, query_texts=["fever"], k=k
        ),
        lambda k: INTERFACE.explain_search(session=NOTHING, query_texts=["fever"], k=k),
        lambda k: INTERFACE.get_nearest_concepts(session=NOTHING, query_embeddings=[[1]], k=k),
        lambda k: INTERFACE.get_similar_concepts(session=NOTHING, concept_ids=[1], k=k),
        lambda k: find_concepts(NOTHING, "fever", k=k),
        lambda k: FINDER.find("fever", k=k),
        lambda k: FINDER.complete("fever", k=k),
    ],
)
def test_what_is_no_count_is_refused_in_one_line(search: Any, k: Any) -> None:
    with pytest.raises(InputError, match=r"^k must be a whole number, at least 1; found ") as caught:
        search(k)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    "given", ["Condition", {"domains": "Condition"}, ["Condition"], ConceptFilter, 5, True]
)
@pytest.mark.parametrize(
    "search",
    [
        lambda f: SEARCH(session=NOTHING, query_texts=["fever"], concept_filter=f),
        lambda f: INTERFACE.get_similar_concepts(session=NOTHING, concept_ids=[1], concept_filter=f),
        lambda f: find_concepts(NOTHING, "fever", concept_filter=f),
        lambda f: FINDER.complete("fever", concept_filter=f),
        lambda f: map_terms(NOTHING, ["fever"], settings=Settings(concept_filter=f)),
    ],
)
def test_what_is_no_filter_is_refused_with_how_to_write_one(search: Any, given: Any) -> None:
    told = "^concept_filter must be a ConceptFilter, such as ConceptFilter.domains='Condition'.; found "
    with pytest.raises(InputError, match=told):
        search(given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: API.map_terms(NOTHING, ["fever"], settings={"k": 3}),
            "settings must be Settings, such as .*; found dict",
        ),
        (lambda: API.map_terms(NOTHING, ["fever"], settings=ConceptFilter()), "found ConceptFilter"),
        (lambda: FINDER.map([], settings="x"), "settings must be Settings, such as .*; found str"),
        (
            lambda: API.EmbeddingInterface("local:m"),
            "client must be an EmbeddingClient, such as .*; found str",
        ),
        (lambda: SETTINGS(candidates="10"), "candidates must be a whole number, at least 1; found '10'"),
        (lambda: SETTINGS(candidates=0), "candidates must be a whole number, at least 1; found 0"),
        (lambda: SETTINGS(retrieved=1.5), "retrieved must be a whole number, at least 0; found 1.5"),
        (lambda: SETTINGS(explain=True), "explain must be a whole number, at least 0; found True"),
        (lambda: SETTINGS(accept_codes="no"), "accept_codes must be True or False; found 'no'"),
        (lambda: SETTINGS(policy=0.95), "policy must be a Policy, such as .*; found float"),
        (
            lambda: API.find_concepts(NOTHING, "fever", explain="no"),
            "explain must be True or False; found 'no'",
        ),
        (lambda: FINDER.find("fever", offset="1"), "offset must be a whole number, at least 0; found '1'"),
        (
            lambda: FINDER.find("fever", k=999, offset=2),
            "k and offset together must be at most 1,000; found 1,001",
        ),
        (lambda: FINDER.complete(5), "prefix must be a text; found int"),
        (lambda: OPTIONS(exact="x" * 50), "exact must be True or False; found str"),
        (lambda: OPTIONS(recall="0.9"), "recall must be a number above 0 and at most 1; found '0.9'"),
    ],
)
def test_a_value_of_another_kind_is_refused_in_one_line(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("k", [3, np.int64(3), np.uint8(3)])
def test_numpys_integers_are_counts(k: int) -> None:
    assert SearchOptions(k=k).k == 3
    assert type(Settings(candidates=k).candidates) is int
