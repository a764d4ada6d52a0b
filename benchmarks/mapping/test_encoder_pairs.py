"""Pairs of the encoder: what may be learned from, and what never is."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mapping.encoder_pairs import Pairs, is_withheld

CONCEPTS = [
    ("1", "Heart attack", "SNOMED", "Clinical Finding", "S", "22298006"),
    ("2", "Sodium [Moles/volume] in Serum or Plasma", "LOINC", "Lab Test", "S", "2951-2"),
    ("3", "aspirin", "RxNorm", "Ingredient", "S", "1191"),
    ("4", "Periodic oral evaluation", "HCPCS", "HCPCS", "S", "D0120"),
    ("5", "millimole per liter", "UCUM", "Unit", "S", "mmol/L"),
]
SYNONYMS = [("1", "Myocardial infarction"), ("2", "Natremia"), ("4", "Dental check")]
TERMS = {"mimic4_lab": [("Sodium", "2"), ("Sodium level", "2")], "finomop_lab": [("P-Na", "2")]}


def table(path: Path, columns: str, rows: list[tuple[str, ...]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join("\t".join(row) for row in [tuple(columns.split()), *rows]) + "\n")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    concept = "concept_id concept_name vocabulary_id concept_class_id standard_concept concept_code"
    table(tmp_path / "vocab" / "CONCEPT.csv", concept, CONCEPTS)
    table(tmp_path / "vocab" / "CONCEPT_SYNONYM.csv", "concept_id concept_synonym_name", SYNONYMS)
    table(tmp_path / "vocab" / "CONCEPT_RELATIONSHIP.csv", "concept_id_1 concept_id_2 relationship_id", [])
    hpo = [("HP:1", "Hyponatremia", "P-Na", "EXACT"), ("HP:2", "Fever", "Pyrexia", "EXACT")]
    table(tmp_path / "open" / "hpo.tsv", "id name synonym scope", hpo)
    table(tmp_path / "open" / "icd10cm_inclusion.tsv", "code name term kind", [])
    unii = [("U1", "ASPIRIN", "Acetylsalicylic acid", "cn"), ("U2", "OTHER", "Another", "cn")]
    table(tmp_path / "open" / "unii.tsv", "unii preferred name type", unii)
    for name, terms in TERMS.items():
        table(tmp_path / "gold" / f"{name}.tsv", "source_term target_concept_ids", terms)
    return tmp_path


def test_pairs_are_of_open_sources_alone(data: Path) -> None:
    names = {pair.name for pair in Pairs(data).pairs}
    assert {"Fever", "aspirin", "millimole per liter"} <= names
    assert not names & {"Heart attack", "Periodic oral evaluation", "Hyponatremia"}


def test_a_text_of_a_held_family_is_in_no_pair(data: Path) -> None:
    pairs = Pairs(data)
    assert "p na" not in {pair.term.lower().replace("-", " ") for pair in pairs.pairs}
    assert pairs.dropped == 1


def test_a_third_of_a_trained_family_is_withheld(data: Path) -> None:
    assert [is_withheld(term) for term, _ in TERMS["mimic4_lab"]] == [False, True]
    terms = {pair.term.lower() for pair in Pairs(data).pairs}
    assert "sodium level" not in terms
