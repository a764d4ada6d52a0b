"""Variants of source terms, unit keys and strengths, for texts as hospitals write them."""

from __future__ import annotations

import pytest

from omop_emb.mapping.terms.drugs import strengths
from omop_emb.mapping.terms.units import unit_key
from omop_emb.mapping.terms.variants import prefixed_specimen, query_variants
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
    ("written", "variant"),
    [
        ("P-CRP", "CRP in Serum or Plasma"),
        ("S-TSH", "TSH in Serum or Plasma"),
        ("fP-GLUC", "gluc in Serum or Plasma"),
        ("FP-GLUC", "gluc in Serum or Plasma"),
        ("fP-Gluk", "Gluk in Serum or Plasma"),
        ("B-HB", "HB in Blood"),
        ("B-HbA1c", "HbA1c in Blood"),
        ("U-ALB", "ALB in Urine"),
        ("U-ALBUMIN", "albumin in Urine"),
        ("DU-PROT", "prot in 24 hour Urine"),
        ("dU-Prot", "Prot in 24 hour Urine"),
        ("CSF-PROT", "prot in Cerebral spinal fluid"),
        ("LI-PROT", "prot in Cerebral spinal fluid"),
        ("PT-CREA", "crea in Serum or Plasma"),
        ("F-CALPRO", "calpro in Stool"),
        ("E-FOLATE", "folate in Red Blood Cells"),
        ("S-25-OH-D", "25-OH-D in Serum or Plasma"),
        ("P -K", "K in Serum or Plasma"),
        ("aB-pH", "pH in Arterial blood"),
        ("vB-Lakt", "Lakt in Venous blood"),
        ("B-LEUK", "leuk in Blood"),
        ("S-FERRITIN", "ferritin in Serum or Plasma"),
    ],
)
def test_a_specimen_prefix_is_read_in_capitals_too(written: str, variant: str) -> None:
    variants = query_variants(written, domain="Measurement")
    assert variant in [found.text for found in variants if found.rule == "specimen"]


@pytest.mark.parametrize(
    "written",
    """
    S-ICD implantation|S-ICD IMPLANTATION|B-CELL LYMPHOMA|B-cell lymphoma|P-WAVE|T-CELL|U-BAG|
    B-LYMPHOCYTES|P-ANCA|L-DOPA|L-SPINE|E-COLI|E-CIGARETTE USE|D-DIMER|C-PEPTIDE|S-100|
    U-100 insulin|B-12|F-18 FDG PET|PT-INR|PT-TIME|B-TYPE NATRIURETIC PEPTIDE|B-HCG|BETA-HCG|
    P-SELECTIN|EX-SMOKER|AS-NEEDED|DR-TB|BM-BIOPSY|SP-A|PF-4|AM-241|L-LACTATE|U-SHAPED|X-RAY|
    B-SYMPTOMS|E-CADHERIN|L-ARGININE|P-GLYCOPROTEIN|B-MODE ULTRASOUND|PU-LMONARY|FOLLOW-UP|
    NON-HODGKIN|ANTI-TPO|VITAMIN-D|F-ACTIN|S-ADENOSYLMETHIONINE|B-ALL|HLA-B27|B-27|P-53|E-
    """.replace("\n", " ")
    .replace("  ", "")
    .split("|"),
)
def test_other_letters_before_a_hyphen_are_no_specimen(written: str) -> None:
    assert prefixed_specimen(written.strip()) is None
    assert "specimen" not in {variant.rule for variant in query_variants(written.strip())}


@pytest.mark.parametrize(
    "written",
    """
    Aspirin 500 mg|Aspirin 500 MG|aspirin 500-mg|5 ml|10 mEq|20 u|100 mcg/h|5 g|2 x 500 mg|½ mg
    |Digoxin 0,125 mg|20 mg/kg|Heparin 10 000 IE|5-10 mg|12 hr|1 cap|2 tab|10 cc|3 mm|5 k|2 L
    """.replace("\n", " ")
    .replace("  ", "")
    .split("|"),
)
def test_a_unit_after_a_number_is_no_abbreviation(written: str) -> None:
    assert not [variant.text for variant in query_variants(written.strip()) if variant.rule == "abbreviation"]


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
