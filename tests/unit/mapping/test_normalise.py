"""Forms of source terms, units and strengths: what hospitals write, and what it is brought to."""

from __future__ import annotations

import pytest

from omop_emb.mapping.terms.drugs import strengths
from omop_emb.mapping.terms.normalise import forms
from omop_emb.mapping.terms.units import unit_key
from omop_emb.mapping.terms.words import normal


def test_the_original_is_the_first_form_whatever_the_rules() -> None:
    assert forms("  Haemoglobin  F Est", rules=())[0].text == "Haemoglobin F Est"
    assert next(form.rule for form in forms("? MI; RTA")) == "original"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("mmol/L", "millimole per liter"),
        ("PMOLL", "picomole per liter"),
        ("10*12/l", "trillion per liter"),
        ("10^9/L", "billion per liter"),
        ("/mm3", "per microliter"),
        ("mls", "milliliter"),
    ],
)
def test_units_written_differently_have_one_key(written: str, name: str) -> None:
    assert unit_key(written) == unit_key(name)


def test_units_that_differ_have_different_keys() -> None:
    assert len({unit_key(unit) for unit in ("mg/dl", "mg/l", "g/l", "ug/l", "mmol/l")}) == 5


def test_a_specimen_prefix_becomes_the_specimen() -> None:
    assert "Aldosterone in 24 hour Urine" in [f.text for f in forms("dU-Aldosterone", domain="Measurement")]


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("Urea|Blood|Chemistry", ["Urea|Blood|Chemistry", "Urea in Blood", "Urea"]),
        ("Glucose (ascitic fluid)", ["Glucose (ascitic fluid)", "Glucose in ascitic fluid", "Glucose"]),
    ],
)
def test_a_specimen_beside_the_analyte_becomes_the_specimen_and_the_department_no_form(
    written: str, found: list[str]
) -> None:
    assert [form.text for form in forms(written, domain="Measurement")] == found
    assert "Calcium in total" not in [form.text for form in forms("Calcium (total)", domain="Measurement")]


def test_each_alternative_of_an_abbreviation_is_a_form() -> None:
    texts = [form.text for form in forms("RTA")]
    assert "road traffic accident" in texts
    assert "renal tubular acidosis" in texts


def test_british_and_american_words_read_alike() -> None:
    assert normal("Oesophageal tumour, anaemia") == normal("esophageal tumor anemia")


def test_strengths_agree_across_units_and_thousands() -> None:
    assert strengths("Paracetamol 1 g tab") == strengths("acetaminophen 1,000 MG Oral Tablet")
    assert strengths("Levothyroxine 50 mcg") == strengths("levothyroxine 0.05 MG")
