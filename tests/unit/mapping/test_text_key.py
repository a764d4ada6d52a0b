"""The same text: what differs only in case, spaces and typography is, and nothing else."""

from __future__ import annotations

import pytest

from omop_emb.mapping.terms.text_key import text_key
from omop_emb.mapping.terms.words import normalise

SAME_TEXT = (
    ("Fever", "FEVER"),
    ("  heart   failure ", "Heart failure"),
    ("Rh -", "rh-"),
    ("mg / dL", "mg/dl"),
    ("Viral load <1000", "viral load < 1000"),
    ("10 * 3 / uL", "10*3/ul"),
    ("Pain ( left )", "pain (left)"),
    ("5 %", "5%"),
    ("HIV\u20111", "HIV-1"),  # a hyphen that does not break
    ("\u221280", "-80"),  # a minus sign
    ("\u22645", "<=5"),
    ("\u00b1 2", "+/-2"),
    ("\u00b5g", "\u03bcg"),  # micro sign, Greek mu
    ("Crohn\u2019s disease", "Crohn's disease"),
    ("soft\u00adhyphen", "softhyphen"),
    ("\uff21\uff22\uff23", "abc"),  # wide letters
    ("\ufb01brosis", "fibrosis"),  # a ligature
    ("zero\u200bwidth", "zerowidth"),
    ("no\u00a0break", "no break"),
    ("caf\u00e9", "cafe\u0301"),  # one letter, or a letter and its accent
)
OTHER_SIGN = (
    ("10*-3/dL", "10*3/dL"),
    ("10^-3/dL", "10^3/dL"),
    ("10\u207b\u00b3/L", "10\u00b3/L"),
    ("10\u00b3/L", "103/L"),
    ("10e-6", "10e6"),
    ("10*-2", "10*2"),
    ("Blood group B Rh -", "Blood group B Rh"),
    ("Rh+", "Rh-"),
    ("Viral load < 1000", "Viral load > 1000"),
    ("Viral load < 1000", "Viral load 1000"),
    (">= 30", "> 30"),
    ("\u2265 30", "\u2264 30"),
    ("\u2260 3", "= 3"),
    ("/fl", "fl"),
    ("A/B", "A B"),
    ("1.5 mg", "15 mg"),
    (".5 mg", "5 mg"),
    ("1,5 mg", "15 mg"),
    ("0,125 mg", "125 mg"),
    ("1:100", "1100"),
    ("HBsAg +", "HBsAg -"),
    ("HBsAg (+)", "HBsAg (-)"),
    ("HBsAg (+)", "HBsAg"),
    ("HIV +ve", "HIV -ve"),
    ("CD4+", "CD4-"),
    ("CD3+CD4-", "CD3+CD4+"),
    ("Na+", "Na"),
    ("ER+/PR-", "ER-/PR+"),
    ("+/-", "+"),
    ("Temperature -80", "Temperature 80"),
    ("Protein ++", "Protein +"),
    ("\u2191 TSH", "\u2193 TSH"),
    ("10*3", "10 3"),
    ("1\u00bd tablets", "11/2 tablets"),
    ("m\u207b\u00b2", "m\u00b2"),
    ("5 %", "5"),
)
SAME_WORDS = (
    ("T-cell", "T cell"),
    ("Heart-failure", "heart failure"),
    ("Fever, unspecified", "fever unspecified"),
    ("COVID-19", "covid 19"),
    ("M\u00e9ni\u00e8re's disease", "Meniere's disease"),
    ("Haemoglobin (Hb)", "hemoglobin hb"),
    ("pain - left", "pain left"),
    ("Glucose --2 hours", "glucose 2 hours"),
    ("*Aspirin*", "aspirin"),
)


@pytest.mark.parametrize(("one", "other"), SAME_TEXT)
def test_texts_that_differ_in_case_spaces_and_typography_are_the_same(one: str, other: str) -> None:
    assert text_key(one) == text_key(other)


@pytest.mark.parametrize(("one", "other"), OTHER_SIGN)
def test_texts_that_differ_in_a_sign_are_neither_the_same_nor_of_the_same_words(one: str, other: str) -> None:
    assert text_key(one) != text_key(other)
    assert normalise(one) != normalise(other)


@pytest.mark.parametrize(("one", "other"), SAME_WORDS)
def test_texts_that_differ_in_punctuation_have_the_same_words_but_are_not_the_same(
    one: str, other: str
) -> None:
    assert normalise(one) == normalise(other)
    assert text_key(one) != text_key(other)
