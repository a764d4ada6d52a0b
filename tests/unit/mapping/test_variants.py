"""Variants of source terms, unit keys and strengths, for texts as hospitals write them."""

from __future__ import annotations

import pytest

from omop_emb.mapping.terms.drugs import strengths
from omop_emb.mapping.terms.units import unit_key
from omop_emb.mapping.terms.variants import query_variants
from omop_emb.mapping.terms.words import normalise


def test_the_original_is_the_first_variant_whatever_the_rules() -> None:
    assert query_variants("  Haemoglobin  F Est", rules=())[0].text == "Haemoglobin F Est"
    assert next(variant.rule for variant in query_variants("? MI; RTA")) == "original"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("mmol/L", "millimole per liter"),
        ("PMOLL", "picomole per liter"),
        ("10*12/l", "trillion per liter"),
        ("10^9/L", "billion per liter"),
        ("/mm3", "per cubic millimeter"),
        ("mls", "milliliter"),
    ],
)
def test_units_written_differently_have_one_key(written: str, name: str) -> None:
    assert unit_key(written) == unit_key(name)


def test_units_that_differ_have_different_keys() -> None:
    assert len({unit_key(unit) for unit in ("mg/dl", "mg/l", "g/l", "ug/l", "mmol/l")}) == 5


def test_a_specimen_prefix_becomes_the_specimen() -> None:
    assert "Aldosterone in 24 hour Urine" in [
        variant.text for variant in query_variants("dU-Aldosterone", domain="Measurement")
    ]


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("Urea|Blood|Chemistry", ["Urea|Blood|Chemistry", "Urea in Blood", "Urea"]),
        ("Glucose (ascitic fluid)", ["Glucose (ascitic fluid)", "Glucose in ascitic fluid", "Glucose"]),
    ],
)
def test_a_specimen_beside_the_analyte_is_used_and_the_department_is_not(
    written: str, found: list[str]
) -> None:
    assert [variant.text for variant in query_variants(written, domain="Measurement")] == found
    assert "Calcium in total" not in [
        variant.text for variant in query_variants("Calcium (total)", domain="Measurement")
    ]


def test_each_meaning_of_an_abbreviation_is_a_variant() -> None:
    texts = [variant.text for variant in query_variants("RTA")]
    assert "road traffic accident" in texts
    assert "renal tubular acidosis" in texts


def test_british_and_american_words_are_normalised_equal() -> None:
    assert normalise("Oesophageal tumour, anaemia") == normalise("esophageal tumor anemia")


def test_strengths_agree_across_units_and_thousands() -> None:
    assert strengths("Paracetamol 1 g tab") == strengths("acetaminophen 1,000 MG Oral Tablet")
    assert strengths("Levothyroxine 50 mcg") == strengths("levothyroxine 0.05 MG")
