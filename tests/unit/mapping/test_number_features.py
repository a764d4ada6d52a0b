"""Number features: numbers are the same if their values are, however they are written."""

from __future__ import annotations

import pytest

from omop_emb.mapping.records import Variant
from omop_emb.mapping.retrieval.queries import Query
from omop_emb.mapping.terms.numbers import number_in
from tests.unit.mapping.small_index import features_of, small_index

NAMES = {
    1: "digoxin 0.125 MG Oral Tablet",
    2: "digoxin 125 MG Oral Tablet",
    3: "heparin 2500 UNT/ML",
    4: "digoxin",
}


@pytest.mark.parametrize(
    ("term", "same"),
    [
        ("digoxin 0,125 mg", {1}),
        ("digoxin .125 mg", {1}),
        ("digoxin 0.1250 mg", {1}),
        ("digoxin 125 mg", {2}),
        ("digoxin 125mg", {2}),
        ("heparin 2,500 units", {3}),
        ("heparin 2\u00a0500 units digoxin", {3}),
        ("digoxin 3 mg", set()),
    ],
)
def test_a_number_of_the_term_is_missing_unless_its_value_is_there(term: str, same: set[int]) -> None:
    index = small_index(
        [{"concept_id": key, "concept_name": name, "domain_id": "Drug"} for key, name in NAMES.items()]
    )
    features = features_of(Query.of((Variant(term),), "Drug"), index)
    missing = features["numbers of the term missing"]
    assert {int(concept) for concept in missing.index[missing == 0]} == same


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("500mg", 500),
        ("0,5", 0.5),
        ("2a", "2a"),
        ("1:1000", "1:1000"),
        ("-5", -5),
        ("mg", None),
        ("h2o", None),
    ],
)
def test_a_word_is_a_number_with_or_without_its_unit(word: str, number: float | str | None) -> None:
    assert number_in(word) == number
