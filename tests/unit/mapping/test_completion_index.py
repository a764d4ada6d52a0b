"""Completion index: texts by the beginning of any of their words, however they are typed."""

from __future__ import annotations

import numpy as np
import pytest

from omop_emb.mapping.retrieval.completion_index import CompletionIndex, completion_key
from omop_emb.mapping.retrieval.lexicon import Lexicon
from tests.unit.mapping.small_index import small_index

NAMES = {
    1: "Heart attack",
    2: "Heart",
    3: "Acute heart failure",
    4: "Haemoglobin A1c",
    5: "Ménière's disease",
    6: "Type 2 diabetes mellitus",
    7: "T-cell lymphoma",
    8: "Hypertension",
    9: "Chronic kidney disease stage 3 due to hypertension",
    10: "Chronic kidney disease stage 3 due to diabetes",
    11: "β-blocker poisoning",
    12: "Болезнь сердца",
}


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    mapped = {"concept_id": 99, "concept_name": "Cardiac infarct NOS", "standard_concept": ""}
    concepts = [{"concept_id": key, "concept_name": name} for key, name in NAMES.items()]
    return small_index([*concepts, mapped], [(99, 1)]).lexicon


@pytest.fixture(scope="module")
def index(lexicon: Lexicon) -> CompletionIndex:
    return CompletionIndex(lexicon)


@pytest.mark.parametrize(
    ("prefix", "texts"),
    [
        ("heart", ["Heart", "Heart attack", "Acute heart failure"]),
        ("HEART A", ["Heart attack"]),
        ("heart  a", ["Heart attack"]),
        ("heart ", ["Heart attack", "Acute heart failure", "Heart"]),
        ("heart attack,", ["Heart attack"]),
        ("fail", ["Acute heart failure"]),
        ("haemo", ["Haemoglobin A1c"]),
        ("a1c", ["Haemoglobin A1c"]),
        ("meniere", ["Ménière's disease"]),
        ("MÉNIÈRE", ["Ménière's disease"]),
        ("ménière's d", ["Ménière's disease"]),
        ("2 dia", ["Type 2 diabetes mellitus"]),
        ("t-ce", ["T-cell lymphoma"]),
        ("t ce", ["T-cell lymphoma"]),
        ("htn", ["Hypertension", "Chronic kidney disease stage 3 due to hypertension"]),
        (
            "chronic kidney disease stage 3 due to h",
            ["Chronic kidney disease stage 3 due to hypertension"],
        ),
        ("kidney disease stage 3 due to d", ["Chronic kidney disease stage 3 due to diabetes"]),
        ("beta", ["β-blocker poisoning"]),
        ("β", ["β-blocker poisoning"]),
        ("болезнь", ["Болезнь сердца"]),
        ("СЕРДЦ", ["Болезнь сердца"]),
        ("cardiac inf", ["Cardiac infarct NOS"]),
        ("eart", []),
        ("heartx", []),
        ("", []),
        ("  ", []),
        ("%", []),
        ("\x00", []),
        ("heart\ud800", []),
        ("x" * 5000, []),
    ],
)
def test_texts_are_found_by_the_beginning_of_a_word(
    lexicon: Lexicon, index: CompletionIndex, prefix: str, texts: list[str]
) -> None:
    assert [lexicon.texts[row] for row in index.find(lexicon, prefix, 10)] == texts


def test_the_name_of_a_non_standard_concept_stands_for_what_it_maps_to(
    lexicon: Lexicon, index: CompletionIndex
) -> None:
    (row,) = index.find(lexicon, "cardiac", 10)
    assert lexicon.concept(int(lexicon.text_concept[row])).concept_id == 1


def test_a_concept_is_found_once_and_no_more_than_asked_for(lexicon: Lexicon, index: CompletionIndex) -> None:
    found = index.find(lexicon, "h", 3)
    assert len(found) == len({int(lexicon.text_concept[row]) for row in found}) == 3


def test_only_concepts_that_pass_are_found(lexicon: Lexicon, index: CompletionIndex) -> None:
    passing = np.isin(lexicon.concept_id, [3, 8])
    found = index.find(lexicon, "h", 10, passing)
    assert [lexicon.texts[row] for row in found] == ["Hypertension", "Acute heart failure"]
    assert index.find(lexicon, "h", 10, np.zeros(len(passing), bool)) == []


def test_many_texts_of_one_concept_do_not_hide_another() -> None:
    many = [{"concept_id": 1000 + n, "concept_name": f"Pain {n}", "standard_concept": ""} for n in range(500)]
    concepts = [
        {"concept_id": 1, "concept_name": "Pain"},
        {"concept_id": 2, "concept_name": "Painful micturition"},
    ]
    lexicon = small_index([*concepts, *many], [(1000 + n, 1) for n in range(500)]).lexicon
    found = CompletionIndex(lexicon).find(lexicon, "pai", 5)
    assert [int(lexicon.concept_id[lexicon.text_concept[row]]) for row in found] == [1, 2]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("  Heart   Attack ", "heart attack "),
        ("T-cell", "t cell"),
        ("naïve", "naive"),
        ("5.4 %", "5 4 "),
        ("()", ""),
    ],
)
def test_a_key_has_the_words_of_a_text_without_case_and_accents(text: str, key: str) -> None:
    assert completion_key(text) == key
