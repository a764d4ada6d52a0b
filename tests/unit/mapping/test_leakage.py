"""What is measured on a term is found without the term's own source and approvals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from omop_emb.mapping.evaluation.leakage import OwnSource
from omop_emb.mapping.features.features import Features
from omop_emb.mapping.features.names import NAMES
from omop_emb.mapping.records import Variant, SourceTerm
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.candidates import Found, Query, find
from omop_emb.mapping.retrieval.concept_attributes import Facts, gather
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexicon import build

COLUMNS = [
    "concept_id",
    "concept_name",
    "domain_id",
    "vocabulary_id",
    "concept_class_id",
    "standard_concept",
    "concept_code",
    "invalid_reason",
]


@pytest.fixture
def lexical() -> LexicalIndex:
    concepts = [
        (1, "Myocardial infarction", "Condition", "SNOMED", "Disorder", "S", "22298006", ""),
        (2, "Fracture of bone", "Condition", "SNOMED", "Disorder", "S", "125605004", ""),
        (11, "Heart attack", "Condition", "ICD10CM", "code", "", "I21", ""),
        (12, "Broken bones", "Condition", "ICD10CM", "code", "", "T14", ""),
    ]
    relationship = [(11, 1, "Maps to"), (12, 2, "Maps to")]
    return LexicalIndex(
        build(
            pd.DataFrame(concepts, columns=COLUMNS),
            pd.DataFrame({"concept_id": [], "concept_synonym_name": []}),
            pd.DataFrame(relationship, columns=["concept_id_1", "concept_id_2", "relationship_id"]),
        )
    )


def query_of(term: SourceTerm) -> Query:
    return Query.of((Variant(term.name),), term.domain)


def look_up(
    query: Query, lexical: LexicalIndex, memory: MemoryIndex | None = None
) -> tuple[set[int], Found, Facts]:
    facts = gather(lexical.lexicon, lexical)
    found = find([query], lexical, facts, None, None, memory)
    return set(lexical.lexicon.concept_id[found.concept].tolist()), found, facts


def test_a_name_that_maps_to_the_target_finds_it_only_for_others(lexical: LexicalIndex) -> None:
    term = SourceTerm(name="HEART ATTACK")
    query = query_of(term)
    assert look_up(query, lexical)[0] == {1}
    assert look_up(OwnSource(lexical.lexicon).hide(query, term), lexical)[0] == set()


def test_the_source_concept_is_known_by_the_terms_code_too(lexical: LexicalIndex) -> None:
    own = OwnSource(lexical.lexicon)
    term = SourceTerm(name="broken bone", code="T14")
    hidden = own.hide(query_of(term), term).hidden
    assert [lexical.lexicon.texts[row] for row in hidden] == ["Broken bones"]
    elsewhere = SourceTerm(name="broken bone", code="T14", source_vocabulary="LOCAL")
    assert own.hide(query_of(elsewhere), elsewhere).hidden == frozenset()


def test_no_feature_betrays_the_own_source(lexical: LexicalIndex) -> None:
    term = SourceTerm(name="bone broken by fracture", code="T14")
    query = OwnSource(lexical.lexicon).hide(query_of(term), term)
    _, found, facts = look_up(query, lexical)
    features = Features(lexical, facts, None)
    row = features.score([query], found).features[0]
    assert row[NAMES.index("non-standard sources")] == 0
    assert row[NAMES.index("matched non-standard")] == 0


def test_a_term_does_not_remember_its_own_approval_but_those_of_others(lexical: LexicalIndex) -> None:
    names, rows = ["zq17", "zq18"], lexical.lexicon.rows(np.array([1, 2]))
    memory = MemoryIndex(lexical, names, rows, codes=["A", "B"])
    term = SourceTerm(name="ZQ17", code="A")
    query = query_of(term)
    assert look_up(query, lexical, memory)[0] == {1}
    hidden = OwnSource(lexical.lexicon, memory).hide(query, term)
    assert hidden.hidden_memory == {0}
    assert look_up(hidden, lexical, memory)[0] == set()
    other = SourceTerm(name="zq17", code="B")
    assert OwnSource(lexical.lexicon, memory).hide(query, other).hidden_memory == {0, 1}
