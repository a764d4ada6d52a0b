"""Translations keep the numbers, strengths, units and codes of their original, or are dropped."""

from __future__ import annotations

import pytest

from omop_emb.mapping.terms.faithfulness import changed_facts


@pytest.mark.parametrize(
    ("original", "translation"),
    [
        ("Diabetes mellitus tipo 2", "Type 2 diabetes mellitus"),
        ("Diabetes tipo II", "Type 2 diabetes"),
        ("estadio IV", "stage 4"),
        ("Röntgen thorax", "Thorax X-ray"),
        ("inyección intravenosa", "IV injection"),
        ("Parasetamoli 500 mg tabletti", "Paracetamol 500 mg tablet"),
        ("Paracetamol 500 miligramos", "Paracetamol 500 mg"),
        ("insuliini 0,5 mg", "insulin 0.5 mg"),
        ("insuliini 100 IE/ml", "insulin 100 units/mL"),
        ("hepariini 10 000 IE", "heparin 10,000 IU"),
        ("vitamiini-B12", "vitamin B12"),
        ("COVID19-infektio", "COVID-19 infection"),
        ("S-Na mmol/l", "Serum sodium mmol/L"),
        ("µg/g", "microgram per gram"),
        ("mmol/mol", "millimole per mole"),
        ("Thoraxdrain3", "Chest drain3"),
        ("dolor y/o fiebre", "pain and/or fever"),
        ("1er trimestre", "1st trimester"),
        ("HbA1c", "HbA1c"),
        ("삼차신경통", "trigeminal neuralgia"),
    ],
)
def test_a_translation_with_the_same_facts_is_kept(original: str, translation: str) -> None:
    assert changed_facts(original, translation) == ""


@pytest.mark.parametrize(
    ("original", "translation", "kind"),
    [
        ("Diabetes tipo 1", "Type 2 diabetes", "numbers"),
        ("Diabetes", "Type 2 diabetes", "numbers"),
        ("estadio II", "stage III", "numbers"),
        ("insuliini 2,5 mg", "insulin 25 mg", "numbers"),
        ("Parasetamoli 500 mg", "Paracetamol 500 mcg", "strengths"),
        ("Parasetamoli 500", "Paracetamol 500 mg", "strengths"),
        ("S-Na mmol/l", "Serum sodium", "units"),
        ("S-Na", "Serum sodium mmol/L", "units"),
        ("ikä < 5 v", "age > 5 y", "comparisons"),
        ("vitamiini B12", "vitamin D12", "codes"),
        ("K35 umpilisäke", "35 appendix", "codes"),
    ],
)
def test_a_translation_with_other_facts_is_refused_with_their_kind(
    original: str, translation: str, kind: str
) -> None:
    assert changed_facts(original, translation) == kind
