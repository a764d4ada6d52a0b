"""Codes: which spelling of a code finds its concept, and which would find another."""

from __future__ import annotations

import pytest

from tests.unit.mapping.small_index import small_index

CODES = (
    ("ICD10CM", "K35.80", 1),
    ("ICD9CM", "250.00", 2),
    ("UCUM", "mg", 3),
    ("UCUM", "10*2", 4),
    ("Local", "1.5", 5),
    ("HCPCS", "J1100", 6),
    ("Read", "C10E.", 7),
)
FOUND: tuple[tuple[str, str, list[int]], ...] = (
    ("ICD10CM", "K35.80", [1]),
    ("ICD10CM", "K3580", [1]),
    ("ICD10CM", "k35.80", [1]),
    ("ICD9CM", "25000", [2]),
    ("HCPCS", "j1100", [6]),
    ("UCUM", "mg", [3]),
    ("UCUM", "Mg", []),
    ("UCUM", "10*-2", []),
    ("UCUM", "102", []),
    ("Local", "15", []),
    ("Local", "1.5", [5]),
    ("Read", "C10e.", []),
)


@pytest.mark.parametrize(("vocabulary", "code", "ids"), FOUND)
def test_a_code_is_found_as_it_is_written(vocabulary: str, code: str, ids: list[int]) -> None:
    lexicon = small_index(
        [
            {"concept_id": number, "concept_name": own, "concept_code": own, "vocabulary_id": of}
            for of, own, number in CODES
        ]
    ).lexicon
    assert lexicon.ids_of_code(vocabulary, code) == ids
