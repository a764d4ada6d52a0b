"""Names from packaged lists, and concepts that a term only mentions."""

from __future__ import annotations

import pytest

from omop_emb.mapping.records import Variant
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexicon import TEXT_KINDS
from omop_emb.mapping.retrieval.mention_retriever import phrases
from omop_emb.mapping.retrieval.queries import Query
from tests.unit.mapping.small_index import candidates_of, small_index

DRUG = {"domain_id": "Drug", "vocabulary_id": "RxNorm"}


@pytest.fixture(scope="module")
def lexical() -> LexicalIndex:
    return small_index(
        [
            {"concept_id": 1, "concept_name": "Strabismus"},
            {"concept_id": 2, "concept_name": "Epistaxis"},
            {"concept_id": 3, "concept_name": "Nosebleed"},
            {"concept_id": 4, "concept_name": "acetaminophen", **DRUG},
            {"concept_id": 5, "concept_name": "acetaminophen 500 MG Oral Tablet", **DRUG},
            {"concept_id": 8, "concept_name": "acetaminophen 325 MG Oral Tablet [Tylenol]", **DRUG},
            {"concept_id": 6, "concept_name": "Pain", "domain_id": "Observation"},
            {"concept_id": 7, "concept_name": "milligram", "domain_id": "Unit", "vocabulary_id": "UCUM"},
        ]
    )


def texts_of(lexical: LexicalIndex, concept_id: int) -> dict[str, str]:
    lexicon = lexical.lexicon
    rows = lexicon.text_rows(int(lexicon.rows([concept_id])[0]))
    return {lexicon.texts[row]: TEXT_KINDS[lexicon.text_kind[row]] for row in rows}


def found(lexical: LexicalIndex, text: str, domain: str | None, by: str) -> set[int]:
    candidates = candidates_of(Query.of((Variant(text),), domain), lexical)
    return set(lexical.lexicon.concept_id[candidates.concept[candidates.found_by[by]]].tolist())


def test_a_concept_is_found_by_a_name_that_the_vocabulary_lacks(lexical: LexicalIndex) -> None:
    assert texts_of(lexical, 1)["Squint"] == "HPO synonym"
    assert texts_of(lexical, 4)["paracetamol"] == "UNII name"
    assert found(lexical, "squint", "Condition", "exact") == {1}
    assert found(lexical, "Paracetamol", "Drug", "exact") == {4}


def test_a_name_that_a_concept_has_is_given_to_no_other(lexical: LexicalIndex) -> None:
    # HPO says that they are the same; the vocabulary has two concepts, and its names decide.
    assert "Nosebleed" not in texts_of(lexical, 2)
    assert found(lexical, "nosebleed", "Condition", "exact") == {3}


def test_a_brand_that_the_vocabulary_has_is_not_given_to_its_ingredient(lexical: LexicalIndex) -> None:
    assert "panadol" in texts_of(lexical, 4)
    assert "tylenol" not in texts_of(lexical, 4)


def test_only_the_concept_of_the_name_itself_gets_others(lexical: LexicalIndex) -> None:
    assert set(texts_of(lexical, 5).values()) == {"name"}


def test_a_drug_inside_an_order_is_a_candidate(lexical: LexicalIndex) -> None:
    term = "PARACETAMOL (CRITICAL MED) (CD) 8,000 units IV bolus over 3 h"
    assert found(lexical, term, "Drug", "mention") == {4}
    assert found(lexical, "severe pain, paracetamol", None, "mention") == {4, 6}
    assert found(lexical, "severe pain, paracetamol", "Drug", "mention") == {4}


def test_a_unit_mentions_none_of_its_parts(lexical: LexicalIndex) -> None:
    assert found(lexical, "milligram per hour", "Unit", "lexical") == {7}
    assert found(lexical, "milligram per hour", "Unit", "mention") == set()


def test_a_source_name_inside_a_term_is_no_mention() -> None:
    # A measured term must not be found by its own source concept, which LeakageGuard hides elsewhere.
    source = {"vocabulary_id": "ICD10CM", "standard_concept": ""}
    index = small_index(
        [
            {"concept_id": 1, "concept_name": "Epilepsy"},
            {"concept_id": 2, "concept_name": "Shaking fits", **source},
        ],
        maps_to=[(2, 1)],
    )
    assert found(index, "shaking fits at night", "Condition", "mention") == set()
    assert found(index, "epilepsy at night", "Condition", "mention") == {1}


def test_phrases_are_words_in_a_row_without_numbers_alone() -> None:
    assert set(phrases("iv 5 pain relief")) == {
        "5 pain",
        "5 pain relief",
        "iv 5 pain",
        "pain",
        "pain relief",
        "relief",
    }
    assert not list(phrases("pain"))
