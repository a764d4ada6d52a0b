"""Leakage: a measured term is found without its own source concept and its own approvals."""

from __future__ import annotations

import numpy as np
import pytest

from omop_emb.mapping.evaluation.leakage import LeakageGuard
from omop_emb.mapping.records import SourceTerm, Variant
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.queries import Query
from tests.unit.mapping.small_index import candidates_of, features_of, small_index


@pytest.fixture
def lexical() -> LexicalIndex:
    source = {"vocabulary_id": "ICD10CM", "standard_concept": ""}
    return small_index(
        [
            {"concept_id": 1, "concept_name": "Myocardial infarction"},
            {"concept_id": 2, "concept_name": "Fracture of bone"},
            {"concept_id": 11, "concept_name": "Stopped pump", "concept_code": "I21", **source},
            {"concept_id": 12, "concept_name": "Broken bones", "concept_code": "T14", **source},
        ],
        maps_to=[(11, 1), (12, 2)],
    )


def query_of(term: SourceTerm) -> Query:
    return Query.of((Variant(term.name),), term.domain)


def found_ids(query: Query, lexical: LexicalIndex, memory: MemoryIndex | None = None) -> set[int]:
    concepts = candidates_of(query, lexical, memory).concept
    return set(lexical.lexicon.concept_id[concepts].tolist())


def test_a_source_name_finds_its_target_only_for_other_terms(lexical: LexicalIndex) -> None:
    term = SourceTerm(name="STOPPED PUMP")
    query = query_of(term)
    assert found_ids(query, lexical) == {1}
    assert found_ids(LeakageGuard(lexical.lexicon).hide(query, term), lexical) == set()


def test_the_source_concept_is_recognised_by_the_code_too(lexical: LexicalIndex) -> None:
    own = LeakageGuard(lexical.lexicon)
    term = SourceTerm(name="broken bone", code="T14")
    hidden = own.hide(query_of(term), term).hidden_texts
    assert [lexical.lexicon.texts[row] for row in hidden] == ["Broken bones"]
    elsewhere = SourceTerm(name="broken bone", code="T14", source_vocabulary="LOCAL")
    assert own.hide(query_of(elsewhere), elsewhere).hidden_texts == frozenset()


def test_no_feature_reveals_the_own_source(lexical: LexicalIndex) -> None:
    term = SourceTerm(name="bone broken by fracture", code="T14")
    query = LeakageGuard(lexical.lexicon).hide(query_of(term), term)
    features = features_of(query, lexical).iloc[0]
    assert features["non-standard sources"] == 0
    assert features["matched non-standard"] == 0


def test_a_term_does_not_see_its_own_approval_but_those_of_others(lexical: LexicalIndex) -> None:
    names, rows = ["zq17", "zq18"], lexical.lexicon.rows(np.array([1, 2]))
    memory = MemoryIndex(lexical, names, rows, codes=["A", "B"])
    term = SourceTerm(name="ZQ17", code="A")
    query = query_of(term)
    assert found_ids(query, lexical, memory) == {1}
    hidden = LeakageGuard(lexical.lexicon, memory).hide(query, term)
    assert hidden.hidden_names == {0}
    assert found_ids(hidden, lexical, memory) == set()
    other = SourceTerm(name="zq17", code="B")
    assert LeakageGuard(lexical.lexicon, memory).hide(query, other).hidden_names == {0, 1}


@pytest.mark.parametrize("approved", ["10*3/dL", "zq17+", "zq17 /", "-zq17", "zq1.7"])
def test_an_approval_that_differs_in_a_sign_is_seen(lexical: LexicalIndex, approved: str) -> None:
    memory = MemoryIndex(lexical, [approved, "ZQ17"], lexical.lexicon.rows(np.array([1, 2])))
    term = SourceTerm(name="10*-3/dL" if approved == "10*3/dL" else "zq17")
    hidden = LeakageGuard(lexical.lexicon, memory).hide(query_of(term), term).hidden_names
    assert 0 not in hidden
