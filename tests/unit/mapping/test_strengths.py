"""Numbers and strengths, as hospitals, labels and RxNorm write them."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, strategies as st

from omop_emb.mapping.retrieval.queries import Query
from omop_emb.mapping.terms.drugs import ingredient, strengths
from omop_emb.mapping.terms.flags import flags
from omop_emb.mapping.terms.numbers import parse_number
from omop_emb.mapping.terms.variants import query_variants
from tests.unit.mapping.small_index import features_of, small_index


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0,125", 0.125),
        ("0.125", 0.125),
        ("2,5", 2.5),
        ("12,50", 12.5),
        ("2,500", 2500),
        ("12,500", 12500),
        ("1,000,000", 1_000_000),
        ("1.000.000", 1_000_000),
        ("1.000", 1),
        ("2.500", 2.5),
        ("1.000,5", 1000.5),
        ("1,234.5", 1234.5),
        ("0,0625", 0.0625),
        (".5", 0.5),
        ("5.0", 5),
        ("007", 7),
    ],
)
def test_a_number_means_what_its_signs_say(written: str, value: float) -> None:
    assert parse_number(written) == pytest.approx(value)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Digoxin 0,125 mg", (0.125,)),
        ("Digoxin 125 mcg", (0.125,)),
        ("Digoxin 125 MCG tab", (0.125,)),
        ("Digoxin 125 \u00b5g", (0.125,)),
        ("Digoxin 125 ug", (0.125,)),
        ("Digoxin 125 micrograms", (0.125,)),
        ("Digoxin 125microgram tablets", (0.125,)),
        ("Bisoprolol 2,5 mg", (2.5,)),
        ("Heparin 2,500 units", (2500,)),
        ("Heparin 5,000 units/mL", (5000,)),
        ("Penicillin 1,000,000 IU", (1e6,)),
        ("Heparin 10 000 IE", (10_000,)),
        ("Heparin 25\u00a0000 IE", (25_000,)),
        ("Dalteparin 2\u202f500 IE", (2500,)),
        ("Heparin 10'000 IE", (10_000,)),
        ("Factor 8 250 IU", (250,)),
        ("Colistin 2 MU", (2e6,)),
        ("Streptokinase 1.5 million units", (1.5e6,)),
        ("Interferon 6 MIU", (6e6,)),
        ("Oxycodone 5-10 mg", (5, 10)),
        ("Lorazepam 0.5\u20131 mg", (0.5, 1)),
        ("Morphine 2 to 4 mg", (2, 4)),
        ("Adrenaline 1:1000", (1,)),
        ("Adrenaline 1 in 10,000 injection", (0.1,)),
        ("Adrenaline 1:10 000", (0.1,)),
        ("Lidocaine 1:1", ()),
        ("Sodium chloride 0,9 %", (0.009, 9)),
        ("Sodium chloride 0.9% 500 ml", (0.009, 9)),
        ("Paracetamol 2 x 500 mg", (500,)),
        ("Paracetamol 2x500mg", (500,)),
        ("Insulin lispro 100 units/mL", (100,)),
        ("Insulin glargine 300 U/ml", (300,)),
        ("Amoxicillin 5 mg/5 ml", (1,)),
        ("Amoxicillin 250 mg per 5 mL", (50,)),
        ("Amoxicillin 250mg in 5ml", (50,)),
        ("Gentamicin 80 mg/2 mL", (40,)),
        ("Potassium chloride 40 mEq/L", (0.04,)),
        ("Fentanyl 25 mcg/hr patch", (0.025,)),
        ("Fentanyl 100 mcg/h", (0.1,)),
        ("Nitroglycerin 5 mg/24h patch", (0.2083,)),
        ("Levonorgestrel 24 mcg/day", (0.001, 0.024)),
        ("Budesonide/formoterol 160/4.5 mcg", (0.0045, 0.16)),
        ("Co-amoxiclav 875 mg/125 mg", (125, 875)),
        ("Augmentin 875/125 mg", (125, 875)),
        ("Hydrocodone/APAP 5/325", (5, 325)),
        ("Percocet 5-325 tab", (5, 325)),
        ("Paracetamol 1/2 tab", ()),
        ("Paracetamol \u00bd tab", ()),
        ("Warfarin 2\u00bd mg", (2.5,)),
        ("Warfarin \u00bd mg", (0.5,)),
        ("Clonazepam .5 mg", (0.5,)),
        ("Warfarin 5.0 mg", (5,)),
        ("Paracetamol 1 g", (1000,)),
        ("Paracetamol 1,5 g", (1500,)),
        ("Hydrocortisone cream 10 mg/1 g", (0.01,)),
        ("Hydrocortisone 50 mg/100 g", (0.0005,)),
        ("betamethasone 1 MG/ML Topical Cream", (1,)),
        ("12 HR metoprolol 50 MG Oral Tablet", (12, 50)),
        ("Vitamin B12 1000 mcg", (1,)),
        ("Vitamin D3 1.000 IE", (1000,)),
        ("Lixiana 1.000 mg", (1,)),
        ("Insulin 0.125 IE", (0.125,)),
        ("Penicillin 1.000.000 IE", (1e6,)),
        ("HbA1c", ()),
        ("Omega-3", ()),
        ("Rubella Virus Vaccine (Wistar RA 27-3 Strain)", ()),
        ("(1-6)-alpha-glucomannan Oral Tablet", ()),
        ("Influenza A/Switzerland/9715293/2013 H3N2", ()),
    ],
)
def test_strengths_are_read_as_they_are_meant(written: str, expected: tuple[float, ...]) -> None:
    assert strengths(written) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("riociguat 500 mcg tablet", "riociguat 0.5 MG Oral Tablet"),
        ("Paracetamol 1 g tab", "acetaminophen 1,000 MG Oral Tablet"),
        ("Levothyroxine 50 mcg", "levothyroxine 0.05 MG"),
        ("Symbicort 160/4.5 mcg", "budesonide 0.16 MG/ACTUAT / formoterol 0.0045 MG/ACTUAT"),
        ("insulin 100 IE/ml", "insulin 100 UNT/ML"),
        ("morphine 10mg/5ml", "morphine sulfate 2 MG/ML Oral Solution"),
        ("Fentanyl 25 mikrog/h", "72 HR fentanyl 0.025 MG/HR"),
    ],
)
def test_strengths_agree_across_ways_of_writing(one: str, other: str) -> None:
    assert set(strengths(one)) <= set(strengths(other))


@given(st.integers(1, 999_999_999))
def test_thousands_are_read_whatever_separates_them(value: int) -> None:
    english = f"{value:,}"
    for written in (english, english.replace(",", "\u00a0"), english.replace(",", "'"), str(value)):
        assert strengths(f"heparin {written} units") == (float(f"{value:.4g}"),)


@given(st.decimals(0, 999, places=2, allow_nan=False))
def test_a_decimal_comma_is_a_decimal_dot(value: object) -> None:
    assert strengths(f"drug {value} mg") == strengths(f"drug {value} mg".replace(".", ","))


@pytest.mark.parametrize(
    "written", ["Digoxin 0,125 mg", "Clonazepam .5 mg", "Digoxin \u00bd mg", "Heparin 10 000 IE"]
)
def test_an_ingredient_ends_before_its_strength(written: str) -> None:
    assert ingredient(written) == written.split()[0].lower()


DRUGS = [
    (1, "riociguat"),
    (2, "riociguat 0.5 MG Oral Tablet"),
    (3, "riociguat 1 MG Oral Tablet"),
    (4, "riociguat Oral Tablet"),
    (5, "digoxin"),
    (6, "digoxin 0.125 MG Oral Tablet"),
    (7, "acetaminophen / hydrocodone"),
    (8, "acetaminophen 325 MG / hydrocodone bitartrate 5 MG Oral Tablet"),
    (9, "acetaminophen 500 MG / hydrocodone bitartrate 5 MG Oral Tablet"),
    (10, "nadolol"),
    (11, "bisoprolol"),
    (12, "bisoprolol fumarate 2.5 MG / hydrochlorothiazide 6.25 MG Oral Tablet"),
]


def described(term: str) -> pd.DataFrame:
    """The features of all candidates of a term, by concept id."""
    index = small_index(
        [
            {"concept_id": concept_id, "concept_name": name, "domain_id": "Drug", "vocabulary_id": "RxNorm"}
            for concept_id, name in DRUGS
        ]
    )
    return features_of(Query.of(query_variants(term, domain="Drug"), "Drug"), index)


@pytest.mark.parametrize(
    ("term", "feature", "concepts"),
    [
        ("riociguat 500 mcg tablet", "strengths agree", {2}),
        ("riociguat 500 mcg tablet", "strengths differ", {3}),
        ("riociguat 500 mcg tablet", "strength left out", {1, 4}),
        ("riociguat 500 mcg tablet", "strength only in the term", set()),
        ("riociguat 500 mcg tablet", "drug: ingredient, term has a strength", set()),
        ("riociguat 2.5 mg tablet", "strength only in the term", {1, 4}),
        ("riociguat 2.5 mg tablet", "drug: ingredient, term has a strength", {1}),
        ("riociguat 2.5 mg tablet", "strengths agree", set()),
        ("riociguat 2.5 mg tablet", "strengths differ", {2, 3}),
        ("riociguat 2.5 mg tablet", "strength left out", set()),
        ("riociguat tablet", "strength left out", set()),
        ("Digoxin 0,125 mg", "strengths agree", {6}),
        ("Digoxin 0,125 mg", "strength left out", {5}),
        ("hydrocodone / acetaminophen 5/325", "strengths agree", {8}),
        ("hydrocodone / acetaminophen 5/325", "strengths differ", {9}),
        ("acetaminophen / hydrocodone 325 mg", "strengths agree", {8}),
        ("nadolol 40 mg", "strength left out", set()),
        ("Bisoprolol 2,5 mg", "strengths agree", {12}),
        ("Bisoprolol 2,5 mg", "strength left out", set()),
    ],
)
def test_a_stated_strength_is_the_same_another_or_left_out(
    term: str, feature: str, concepts: set[int]
) -> None:
    features = described(term)
    names = dict(DRUGS)
    drug = term.split()[0].lower()
    found = {int(row) for row in features.index[features[feature] == 1] if drug in names[int(row)]}
    assert found == concepts


@pytest.mark.parametrize(
    ("term", "concept", "flagged"),
    [
        ("riociguat 500 mcg tablet", "riociguat", True),
        ("levothyroxine 50 mcg tablet", "levothyroxine Oral Tablet", True),
        ("levothyroxine 50 mcg tablet", "Levothyroxine Sodium 0.05 MG Oral Tablet", False),
        ("levothyroxine 50 mcg tablet", "levothyroxine sodium 0.075 MG Oral Tablet", True),
        ("Digoxin 0,125 mg", "digoxin 125 MG Oral Tablet", True),
        ("Digoxin 0,125 mg", "digoxin 0.125 MG Oral Tablet", False),
        ("oxycodone 5/325 mg", "acetaminophen 500 MG / oxycodone 5 MG Oral Tablet", True),
        ("oxycodone/apap 5 mg", "acetaminophen 325 MG / oxycodone 5 MG Oral Tablet", False),
        ("NaCl 0,9 %", "sodium chloride 9 MG/ML Injection", False),
        ("aspirin", "aspirin 81 MG Oral Tablet", False),
        ("aspirin tablet", "aspirin", False),
    ],
)
def test_a_strength_that_the_concept_lacks_or_contradicts_is_flagged(
    term: str, concept: str, flagged: bool
) -> None:
    assert any(flag.startswith("strength") for flag in flags(term, term, concept, "Drug")) is flagged
