"""Code look-up in one vocabulary or several."""

from __future__ import annotations

import pytest

from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.retrieval.code_lookup import look_up_code
from tests.unit.mapping.small_index import small_index

CRASH, CANCER, EYE = 1, 2, 3
LEXICON = small_index(
    [
        {"concept_id": CRASH, "concept_name": "Cyclist injured"},
        {"concept_id": CANCER, "concept_name": "History of cancer"},
        {"concept_id": EYE, "concept_name": "Eye disorder"},
        *(
            {"concept_id": number, "concept_name": name, "vocabulary_id": vocabulary,
             "concept_code": code, "standard_concept": ""}
            for number, name, vocabulary, code in (
                (11, "Pedal cycle rider injured", "ICD10CM", "V10.1"),
                (12, "Personal history of neoplasm", "ICD9CM", "V10.1"),
                (13, "Eye", "ICD10CM", "H57"),
                (14, "Eye", "ICD9CM", "H57"),
                (15, "Nothing", "ICD10CM", "Z99"),
                (16, "Amyloidosis", "ICD10CM", "E85.0"),
                (17, "Poisoning", "ICD9CM", "E850"),
            )
        ),
    ],
    [(11, CRASH), (12, CANCER), (13, EYE), (14, EYE), (16, EYE), (17, CRASH)],
).lexicon  # fmt: skip


@pytest.mark.parametrize(
    ("vocabulary", "code", "named", "targets", "found_in", "others"),
    [
        ("ICD10CM", "V10.1", None, [CRASH], "ICD10CM", ()),
        ("ICD10CM|ICD9CM", "V10.1", None, [CRASH], "ICD10CM", ("ICD9CM",)),
        ("ICD10CM|ICD9CM", "V10.1", CANCER, [CANCER], "ICD9CM", ("ICD10CM",)),
        ("ICD9CM|ICD10CM", "V10.1", None, [CANCER], "ICD9CM", ("ICD10CM",)),
        ("ICD10CM|ICD9CM", "H57", None, [EYE], "ICD10CM", ()),
        ("ICD10CM|ICD9CM", "E850", None, [CRASH], "ICD9CM", ()),
        ("ICD10CM", "E850", None, [EYE], "ICD10CM", ()),
        ("NONE|ICD9CM", "V101", None, [CANCER], "ICD9CM", ()),
    ],
)
def test_a_code_of_several_vocabularies_is_never_certain(
    vocabulary: str, code: str, named: int | None, targets: list[int], found_in: str, others: tuple[str, ...]
) -> None:
    found = look_up_code(LEXICON, SourceTerm(name="", code=code, source_vocabulary=vocabulary), named)
    assert LEXICON.concept_id[[row for row, *_ in found.targets]].tolist() == targets
    assert (found.vocabulary, found.others, found.problem) == (found_in, others, "")


@pytest.mark.parametrize(
    ("vocabulary", "code", "problem", "is_unknown"),
    [
        ("ICD10CM", "A00", "does not exist in ICD10CM", True),
        ("ICD10CM|ICD9CM", "A00", "does not exist in ICD10CM or ICD9CM", True),
        ("LAB|ICD9CM", "A00", "does not exist in ICD9CM", True),
        ("LAB", "A00", "vocabulary LAB is not loaded", False),
        ("ICD10CM", "Z99", "maps to no concept in ICD10CM", False),
        (None, "Z99", "", False),
        ("ICD10CM", "", "", False),
    ],
)
def test_a_code_without_targets_says_why(
    vocabulary: str | None, code: str, problem: str, is_unknown: bool
) -> None:
    found = look_up_code(LEXICON, SourceTerm(name="x", code=code, source_vocabulary=vocabulary))
    assert (found.targets, found.is_unknown) == ([], is_unknown)
    assert problem in found.problem
