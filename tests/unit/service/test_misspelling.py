"""Misspelling: only words that the vocabulary lacks are replaced, by words that it has."""

from __future__ import annotations

import pytest

from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.service.misspelling import corrected, is_near
from tests.unit.mapping.small_index import small_index

NAMES = (
    *("Type 2 diabetes mellitus", "Hypertensive disorder", "Essential hypertension", "Myocardial infarction"),
    *("Infection of bladder", "Metformin 500 MG", "Bilirubin in Serum", "Ménière's disease", "Pneumonia"),
)


@pytest.fixture(scope="module")
def lexical() -> LexicalIndex:
    return small_index([{"concept_id": n, "concept_name": name} for n, name in enumerate(NAMES, 1)])


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("diabtes", "diabetes"),
        ("diabetis mellitus", "diabetes mellitus"),
        ("diabetse mellitsu", "diabetes mellitus"),
        ("hypertensn", "hypertension"),
        ("HYPERTENSOIN", "hypertension"),
        ("esential hypertension", "essential hypertension"),
        ("myocardial infraction", "myocardial infarction"),
        ("metfromin 500 mg", "metformin 500 mg"),
        ("bilirubn", "bilirubin"),
        ("meniere disease", None),  # found as it stands
        ("pnuemonia", "pneumonia"),
        ("pneumonai", "pneumonia"),
        ("type 2 diabetes", None),
        ("type 7 diabtes", None),  # 7 is no misspelling of 2
        ("qqqqqqq", None),
        ("xyz", None),
        ("E11.9", None),
        ("糖尿病", None),
        ("", None),
        ("hypertension qqqqqqq", None),
    ],
)
def test_a_word_that_the_vocabulary_lacks_becomes_the_nearest_that_it_has(
    lexical: LexicalIndex, text: str, first: str | None
) -> None:
    assert next(iter(corrected(text, lexical)), None) == first


@pytest.mark.parametrize(
    ("word", "others", "near"),
    [
        ("hypertensn", ["hypertension"], True),
        ("metfromin", ["metformin"], True),
        ("htn", ["hypertension"], False),
        ("cat", ["cut"], False),
        ("renal", ["adrenal"], True),
        ("fever", ["liver"], False),
    ],
)
def test_words_are_near_that_differ_in_few_letters(word: str, others: list[str], near: bool) -> None:
    assert is_near(word, others) is near
