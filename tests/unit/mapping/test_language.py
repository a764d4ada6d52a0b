"""Which names look English."""

from __future__ import annotations

import pytest

from omop_emb.mapping.terms import language
from omop_emb.mapping.terms.language import looks_english

ENGLISH = [
    "Acute bronchitis",
    "Fracture of left wrist",
    "Meniere disease",
    "Chest pain",
    "Serum sodium",
] * 9 + ["Ménière"]
FINNISH = ["Akuutti keuhkoputkentulehdus", "Ranteen murtuma", "Rintakipu", "Seerumin natrium"] * 5
FINNISH_LETTERS = ["Köhä", "Päänsärky"]
DUTCH = ["Acute bronchitis links", "Gebroken pols rechts", "Pijn op de borst", "Natrium in bloed"] * 8
CODES = ["HB", "K+", "CRP", "Na"] * 20


@pytest.fixture(autouse=True)
def _any_vocabulary_is_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "_MIN_VOCABULARY_WORDS", 1)


KNOWN = set("acute bronchitis fracture left wrist meniere disease chest pain serum sodium natrium".split())


@pytest.mark.parametrize("names", [ENGLISH, CODES, [], ["Keuhkokuume"]])
def test_english_names_codes_and_few_words_look_english(names: list[str]) -> None:
    assert looks_english(names, KNOWN)


@pytest.mark.parametrize("names", [FINNISH, FINNISH_LETTERS, DUTCH, ["고혈압"]])
def test_names_in_other_languages_are_recognised_by_letters_or_words(names: list[str]) -> None:
    assert not looks_english(names, KNOWN)


def test_a_small_vocabulary_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "_MIN_VOCABULARY_WORDS", len(KNOWN) + 1)
    assert looks_english(FINNISH, KNOWN)
